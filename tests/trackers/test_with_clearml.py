"""ClearML in offline mode: the session's files are read back, as a server would import them."""

import json
import zipfile
from pathlib import Path

import pytest

import dataver

from .conftest import Script, linked


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server, and no settings of the user's."""
    monkeypatch.setenv("CLEARML_OFFLINE_MODE", "1")
    monkeypatch.setenv("CLEARML_CONFIG_FILE", "/dev/null")


TRAIN = """
import clearml, dataver
from clearml.backend_api import Session
Session._offline_default_version = "{api}"  # of the server that the session is for; alone it is one of 2020
task = clearml.Task.init("project", "train", auto_connect_frameworks=False, auto_resource_monitoring=False)
folder = dataver.fetch("vision/cats@production")
{more}
from dataver.lineage.record.recorder import flush
flush(60)
result = {{"task": task.id, "session": str(task.get_offline_mode_folder())}}
"""


def session(folder: str) -> dict:
    """Return the task as the session's archive has it."""
    archive = Path(folder).with_suffix(".zip") if not folder.endswith(".zip") else Path(folder)
    if archive.is_file():
        with zipfile.ZipFile(archive) as packed:
            return json.loads(packed.read("task.json"))
    return json.loads((Path(folder) / "task.json").read_text())


def parameters(task: dict, section: str) -> dict[str, str]:
    """Return the parameters of a section, as the web page shows them."""
    return {name: each["value"] for name, each in task.get("hyperparams", {}).get(section, {}).items()}


def test_a_fetch_is_a_parameter_of_the_task(repo: dataver.Repository, program: Script) -> None:
    """The version stands in the section Datasets with its content; runtime properties have the details."""
    ran = program(TRAIN.format(more="", api="2.23"))
    version = repo.version("vision/cats@1.1.0")
    task = session(ran["session"])
    assert parameters(task, "Datasets") == {"vision/cats": f"vision/cats@1.1.0 {version.digest}"}
    told = json.loads(task["runtime"]["dataver.input.vision/cats/1.1.0"])
    assert told["asked"] == "vision/cats@production"
    assert told["record"] == version.record_id
    assert "datasets" not in task["runtime"]
    assert linked(repo) == {f"clearml:{ran['task']}": {("input", "1.1.0")}}


def test_two_versions_and_an_output_stand_side_by_side(repo: dataver.Repository, program: Script) -> None:
    """A second version of a dataset does not replace the first, and outputs have a section of their own."""
    more = """
dataver.fetch("vision/cats@1.0.0")
dataver.fetch("vision/cats@1.0.0", include="train/1.txt")
repo = dataver.open()
draft = repo.create("vision/clean")
draft.add(folder / "train")
version = draft.finalize("clean")
draft.upload()
"""
    task = session(program(TRAIN.format(more=more, api="2.23"))["session"])
    first, second = (repo.version(f"vision/cats@{label}") for label in ("1.1.0", "1.0.0"))
    assert parameters(task, "Datasets") == {
        "vision/cats": f"vision/cats@1.1.0 {first.digest}",
        "vision/cats@1.0.0": f"vision/cats@1.0.0 {second.digest}",
    }
    (output,) = parameters(task, "Output datasets").values()
    assert output.endswith(repo.version("vision/clean").digest)


def test_the_users_own_parameters_stay(repo: dataver.Repository, program: Script) -> None:
    """What the training connected to the task is there afterwards."""
    more = 'task.connect({"rate": 0.1}); dataver.fetch("vision/cats@1.0.0")'
    task = session(program(TRAIN.format(more=more, api="2.23"))["session"])
    assert parameters(task, "General") == {"rate": "0.1"}
    assert len(parameters(task, "Datasets")) == 2


def test_a_fetch_before_the_task_is_linked_to_it(repo: dataver.Repository, program: Script) -> None:
    """Data that was fetched before `Task.init` belongs to the task."""
    code = 'import dataver; dataver.fetch("vision/cats@1.0.0")\n' + TRAIN.format(more="", api="2.23")
    ran = program(code)
    assert linked(repo) == {f"clearml:{ran['task']}": {("input", "1.0.0"), ("input", "1.1.0")}}


def test_an_offline_session_of_the_oldest_api_has_the_parameters(
    repo: dataver.Repository, program: Script
) -> None:
    """API 2.9, the oldest that ClearML speaks, has no runtime properties; the parameters are there."""
    task = session(program(TRAIN.format(more="", api="2.9"))["session"])
    assert list(parameters(task, "Datasets")) == ["vision/cats"]
    assert "runtime" not in task


def test_what_is_read_is_told_before_the_task_is_closed(repo: dataver.Repository, program: Script) -> None:
    """Two parts of a version, one fetched and one read, though ClearML takes nothing later."""
    ran = program("""
import clearml, dataver
from clearml.backend_api import Session
Session._offline_default_version = "2.23"
task = clearml.Task.init("project", "train", auto_connect_frameworks=False, auto_resource_monitoring=False)
result = {"session": str(task.get_offline_mode_folder())}
dataver.fetch("vision/cats@1.0.0", include="train/0.txt")
dataver.open().files("vision/cats@1.0.0").read("train/1.txt")
task.close()
""")
    told = json.loads(session(ran["session"])["runtime"]["dataver.input.vision/cats/1.0.0"])
    assert json.loads(told["subset"]) == {"patterns": ["train/0.txt"], "paths": ["train/1.txt"]}
    assert told["files"] == "2"


def test_no_task_is_started(repo: dataver.Repository, program: Script) -> None:
    """A fetch in a process that imports ClearML and has no task makes none."""
    ran = program("""
import clearml, dataver
dataver.fetch("vision/cats@1.0.0")
from dataver.lineage.record.recorder import flush
flush(60)
result = {"task": getattr(clearml.Task, "_Task__main_task") is not None}
""")
    assert ran["task"] is False
    assert [key.partition(":")[0] for key in linked(repo)] == ["dataver"]


def test_a_child_process_is_linked_to_its_parents_task(repo: dataver.Repository, program: Script) -> None:
    """A child that only inherits the environment is part of the task and starts none."""
    more = """
import subprocess, sys
subprocess.run([sys.executable, "-c", "import dataver; dataver.fetch('vision/cats@1.0.0')"], check=True)
"""
    ran = program(TRAIN.format(more=more, api="2.23"))
    assert linked(repo) == {f"clearml:{ran['task']}": {("input", "1.0.0"), ("input", "1.1.0")}}
