"""ZenML with its local stack: real pipelines of two steps, run again and again."""

from pathlib import Path

import pytest

import dataver

from .conftest import Script, linked

PIPELINE = """
import os
from typing import Annotated
import dataver, dataver.integrations.zenml
from zenml import pipeline, step
from zenml.client import Client

@step(enable_cache=False)
def choose() -> Annotated[dataver.Version, "cats"]:
    return dataver.open().version(os.environ["WANTED"])

@step
def train(cats: dataver.Version) -> int:
    folder = dataver.fetch(cats.ref)
    return len(list((folder / "train").iterdir()))

@pipeline
def training():
    train(choose())

run = training()
run = Client().get_pipeline_run(run.id)
step_run = run.steps["train"]
artifact = run.steps["choose"].outputs["cats"][0]
result = {
    "run": str(run.id),
    "status": str(step_run.status),
    "files": step_run.output.load(),
    "hash": artifact.content_hash,
    "shown": {name: str(value) for name, value in artifact.run_metadata.items()},
    "metadata": {name: value for name, value in step_run.run_metadata.items()},
    "loaded": artifact.load().ref,
    "uri": artifact.uri,
}
"""


@pytest.fixture(autouse=True)
def zenml(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A local stack of the test's own."""
    monkeypatch.setenv("ZENML_CONFIG_PATH", str(tmp_path / "zenml"))
    monkeypatch.setenv("ZENML_LOCAL_STORES_PATH", str(tmp_path / "stores"))
    monkeypatch.setenv("ZENML_ANALYTICS_OPT_IN", "false")
    monkeypatch.setenv("ZENML_DEFAULT_ANALYTICS_OPT_IN", "false")
    monkeypatch.setenv("ZENML_LOGGING_VERBOSITY", "WARN")


def test_a_step_is_cached_by_content(repo: dataver.Repository, program: Script, tmp_path: Path) -> None:
    """The second run of the same content is cached, by whatever name it comes; a changed version is not."""
    first = program(PIPELINE, WANTED="vision/cats@production")
    version = repo.version("vision/cats@1.1.0")
    assert (first["status"], first["files"]) == ("completed", 5)
    assert first["hash"] == version.digest.removeprefix("dv1:")
    assert first["loaded"] == "vision/cats@1.1.0"
    assert first["shown"]["digest"] == version.digest
    assert [each.name for each in Path(first["uri"]).iterdir()] == ["version.json"]

    second = program(PIPELINE, WANTED="vision/cats@1.1.0")
    assert (second["status"], second["files"]) == ("cached", 5)

    changed = program(PIPELINE, WANTED="vision/cats@1.0.0")
    assert (changed["status"], changed["files"]) == ("completed", 4)

    (tmp_path / "photos" / "train" / "4.txt").write_text("another cat\n")
    same = repo.sync(tmp_path / "photos", "other/cats", workspace=tmp_path / "work").version
    assert same.digest == version.digest
    renamed = program(PIPELINE, WANTED=same.ref)
    assert (renamed["status"], renamed["files"]) == ("cached", 5)

    links = linked(repo)
    assert links == {
        f"zenml:{first['run']}/train": {("input", "1.1.0")},
        f"zenml:{changed['run']}/train": {("input", "1.0.0")},
    }
    told = first["metadata"]["dataver.input.vision/cats@1.1.0"]
    assert (told["digest"], told["files"]) == (version.digest, 5)


def test_a_version_that_is_not_uploaded_does_not_leave_its_step(
    repo: dataver.Repository, program: Script
) -> None:
    """What no other step could open is refused with a sentence that says so, and never pickled."""
    code = PIPELINE.replace(
        'return dataver.open().version(os.environ["WANTED"])',
        'draft = dataver.open().create("vision/new"); draft.add(__file__); return draft.finalize("new")',
    )
    ran = program(code, check=False, WANTED="")
    assert ran["code"] != 0
    assert "is not uploaded" in ran["stderr"] + ran["stdout"]


def test_outside_of_a_step_there_is_no_run(repo: dataver.Repository, program: Script) -> None:
    """A process that imports ZenML and runs no step is linked to nothing of ZenML's."""
    program('import zenml, dataver; dataver.fetch("vision/cats@1.0.0")')
    assert [key.partition(":")[0] for key in linked(repo)] == ["dataver"]


def test_outcomes_are_those_of_the_steps(repo: dataver.Repository, program: Script) -> None:
    """A step that completed finished, though a later one and the script failed."""
    ran = program(
        """
import dataver
from zenml import pipeline, step
@step(enable_cache=False)
def good() -> int:
    return len(list(dataver.fetch("vision/cats@1.0.0").path.rglob("*.txt")))
@step(enable_cache=False)
def bad(count: int) -> None:
    dataver.fetch("vision/cats@1.1.0")
    raise ValueError("boom")
@pipeline
def pipe():
    bad(good())
pipe()
""",
        check=False,
    )
    assert ran["code"] != 0
    outcomes = {run.key.rpartition("/")[2]: run.outcome for run in repo.lineage.runs()}
    assert outcomes == {"good": "finished", "bad": "failed"}
