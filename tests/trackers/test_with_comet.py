"""Comet offline: the experiment's archive is read back, as `comet upload` would send it."""

import json
import zipfile
from pathlib import Path

import pytest

import dataver

from .conftest import Script, linked

TRAIN = """
import comet_ml, dataver
experiment = comet_ml.OfflineExperiment(
    project_name="cats", offline_directory={folder!r}, log_code=False, log_env_details=False
)
folder = dataver.fetch("vision/cats@production")
{more}
from dataver.lineage.record.recorder import flush
flush(60)
key = experiment.get_key()
experiment.end()
result = {{"key": key}}
"""


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server, and no settings of the user's."""
    monkeypatch.setenv("COMET_INI", "/dev/null")
    monkeypatch.setenv("COMET_DISABLE_ANNOUNCEMENT", "1")


def others(folder: Path) -> dict[str, str]:
    """Return what the archive logs as "other", the last word for each name."""
    (archive,) = folder.glob("*.zip")
    found = {}
    with zipfile.ZipFile(archive) as packed:
        for line in packed.read("messages.json").decode().splitlines():
            message = json.loads(line)
            if message["type"] == "log_other":
                found[message["payload"]["key"]] = message["payload"]["value"]
    return found


def test_a_fetch_is_the_experiments_dataset(
    repo: dataver.Repository, program: Script, tmp_path: Path
) -> None:
    """The dataset info names the version and its content; the details stand under a name of their own."""
    folder = tmp_path / "comet"
    ran = program(TRAIN.format(folder=str(folder), more=""))
    found = others(folder)
    version = repo.version("vision/cats@1.1.0")
    assert found["dataset_info"] == f"vision/cats-1.1.0, dataver://vision/cats@{version.digest}"
    told = json.loads(found["dataver.input.vision/cats"])
    assert (told["asked"], told["record"]) == ("vision/cats@production", version.record_id)
    assert linked(repo) == {f"comet:{ran['key']}": {("input", "1.1.0")}}


def test_several_versions_stand_side_by_side(
    repo: dataver.Repository, program: Script, tmp_path: Path
) -> None:
    """A second version does not replace the details of the first."""
    folder = tmp_path / "comet"
    program(TRAIN.format(folder=str(folder), more='dataver.fetch("vision/cats@1.0.0")'))
    found = others(folder)
    assert json.loads(found["dataver.input.vision/cats"])["version"] == "1.1.0"
    assert json.loads(found["dataver.input.vision/cats@1.0.0"])["version"] == "1.0.0"


def test_what_is_read_is_told_before_the_experiment_is_ended(
    repo: dataver.Repository, program: Script, tmp_path: Path
) -> None:
    """Two parts of a version, one fetched and one read, though Comet takes nothing later."""
    folder = tmp_path / "comet"
    program(f"""
import comet_ml, dataver
experiment = comet_ml.OfflineExperiment(
    project_name="cats", offline_directory={str(folder)!r}, log_code=False, log_env_details=False
)
dataver.fetch("vision/cats@1.0.0", include="train/0.txt")
dataver.open().files("vision/cats@1.0.0").read("train/1.txt")
experiment.end()
""")
    told = json.loads(others(folder)["dataver.input.vision/cats"])
    assert json.loads(told["subset"]) == {"patterns": ["train/0.txt"], "paths": ["train/1.txt"]}
    assert told["files"] == "2"
