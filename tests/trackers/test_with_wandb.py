"""Weights & Biases offline: the run's own file is read back, as `wandb sync` would send it."""

import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from wandb.proto import wandb_internal_pb2

import dataver
from dataver.formats.event import Subset
from dataver.lineage.trackers.base import Use
from dataver.lineage.trackers.wandb import artifact_of

from .conftest import Script, linked


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No server, and no settings of the user's."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")


TRAIN = """
import wandb, dataver
run = wandb.init(project="cats", entity="team", {init})
folder = dataver.fetch("vision/cats@production")
{more}
from dataver.lineage.record.recorder import flush
flush(60)
run.finish()
result = {{"run": run.id}}
"""


def records(path: Path) -> Iterator[bytes]:
    """Yield the records of a run's file: after 7 bytes, blocks of 32 KiB as LevelDB's log has them.

    A piece of a record: checksum (4), length (2), kind (1: whole, 2: first, 3: middle, 4: last), bytes.
    """
    data, at, record = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        length, kind = struct.unpack_from("<HB", data, at + 4) if left >= 7 else (left - 7, 0)
        record += data[at + 7 : at + 7 + length] if kind else b""
        at += 7 + length
        if kind in (1, 4):
            yield record
            record = b""


def config(folder: Path) -> dict:
    """Return the run's config as the run's file tells it, the last update of a key holding."""
    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    found = {}
    for data in records(path):
        record = wandb_internal_pb2.Record.FromString(data)
        updates = [*record.config.update, *record.run.config.update]
        found |= {update.key or update.nested_key[0]: json.loads(update.value_json) for update in updates}
    return found


def test_a_fetch_is_in_the_runs_config(repo: dataver.Repository, program: Script, tmp_path: Path) -> None:
    """The version and what was asked stand in the config, beside what the training put there."""
    ran = program(TRAIN.format(init='config={"rate": 0.1}', more=""))
    found = config(tmp_path)
    version = repo.version("vision/cats@1.1.0")
    told = found["dataver"]["input"]["vision/cats"]
    assert (told["version"], told["digest"], told["asked"]) == (
        "1.1.0",
        version.digest,
        "vision/cats@production",
    )
    assert (told["files"], told["size"]) == (5, version.size)
    assert found["rate"] == 0.1
    assert linked(repo) == {f"wandb:team/cats/{ran['run']}": {("input", "1.1.0")}}


def test_several_versions_and_outputs_stand_side_by_side(
    repo: dataver.Repository, program: Script, tmp_path: Path
) -> None:
    """Nothing that is noted later replaces what was noted before."""
    more = """
dataver.fetch("vision/cats@1.0.0")
repo = dataver.open()
draft = repo.create("vision/clean")
draft.add(folder / "train")
draft.finalize("clean")
draft.upload()
"""
    program(TRAIN.format(init="", more=more))
    noted = config(tmp_path)["dataver"]
    assert set(noted["input"]) == {"vision/cats", "vision/cats@1.0.0"}
    assert noted["output"]["vision/clean"]["digest"] == repo.version("vision/clean").digest


def test_a_run_that_is_no_global_is_found(repo: dataver.Repository, program: Script, tmp_path: Path) -> None:
    """With `reinit="create_new"` W&B sets no global run; the youngest is taken."""
    ran = program(TRAIN.format(init='reinit="create_new"', more=""))
    assert "vision/cats" in config(tmp_path)["dataver"]["input"]
    assert list(linked(repo)) == [f"wandb:team/cats/{ran['run']}"]


def test_a_finished_run_does_not_stop_training(repo: dataver.Repository, program: Script) -> None:
    """A fetch after `finish` is nobody's in W&B, and works."""
    ran = program("""
import wandb, dataver
wandb.init(project="cats").finish()
result = {"folder": str(dataver.fetch("vision/cats@1.0.0"))}
""")
    assert Path(ran["folder"]).is_dir()
    assert ran["stderr"] == ""


def use(**changes: object) -> Use:
    """Return a use of a version."""
    values = {
        "role": "input",
        "repository_id": "b" * 32,
        "repository_url": "s3://bucket/repo",
        "dataset": "vision/cats",
        "label": "1.0.0",
        "ref": "vision/cats@1.0.0",
        "tree": "a" * 64,
        "record": "c" * 64,
        "subset": Subset(),
        "files": 3,
        "size": 5,
    }
    return Use(**{**values, **changes})


def test_an_artifact_is_a_reference_that_follows_from_the_content() -> None:
    """What goes online is one reference; equal content is one artifact version, whatever its label."""
    one, same, other = artifact_of(use()), artifact_of(use(label="2.0.0")), artifact_of(use(tree="d" * 64))
    assert one.digest == same.digest != other.digest
    (entry,) = one.manifest.entries.values()
    assert entry.ref == f"dataver://vision/cats@dv1:{'a' * 64}"
    assert (one.type, one.size) == ("dataset", 0)
    assert artifact_of(use(dataset="a/" + "b" * 200)).name.startswith("a--bbb")


def test_what_is_read_is_told_before_the_run_is_finished(repo: dataver.Repository, program: Script) -> None:
    """Two parts of a version, one fetched and one read, are in the config, though W&B takes nothing later."""
    program("""
import wandb, dataver
with wandb.init(project="cats", entity="team") as run:
    dataver.fetch("vision/cats@1.0.0", include="train/0.txt")
    dataver.open().files("vision/cats@1.0.0").read("train/1.txt")
result = {"run": run.id}
""")
    told = config(Path(os.environ["WANDB_DIR"]))["dataver"]["input"]["vision/cats"]
    assert json.loads(told["subset"]) == {"patterns": ["train/0.txt"], "paths": ["train/1.txt"]}
    assert told["files"] == 2
