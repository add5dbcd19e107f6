"""Trackio on this machine: the config of a run is read back through Trackio's own API."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import dataver

from .conftest import Script, linked

TRAIN = """
import time, trackio, dataver
run = trackio.init(project="cats", name="resnet", config={"rate": 0.1}, embed=False)
dataver.fetch("vision/cats@production", include="train/*.txt")
trackio.log({"loss": 1.0})
trackio.log({"loss": 0.5})
while STORED and (run._queued_logs or run._sending_batch):
    time.sleep(0.01)
dataver.open().files("vision/cats@1.0.0").read("train/0.txt")
trackio.finish()
dataver.open().files("vision/cats@1.0.0").read("train/1.txt")  # after the run
result = {"run": run.id}
"""
READ = """
import json, trackio
(run,) = trackio.Api().runs("cats")
logs = trackio.sqlite_storage.SQLiteStorage.get_logs("cats", run.name)
metrics = [each["loss"] for each in logs if "loss" in each]
print("told", json.dumps([run.config, metrics]))
"""


@pytest.fixture(autouse=True)
def local(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder of its own, and no network."""
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.mark.parametrize("stored", [False, True])
def test_what_a_run_reads_is_in_its_config(repo: dataver.Repository, program: Script, stored: bool) -> None:
    """Beside what the training put there, also after it was stored; and the metrics are unchanged."""
    ran = program(f"STORED = {stored}\n{TRAIN}")
    told = subprocess.run(
        [sys.executable, "-c", READ], capture_output=True, text=True, timeout=140, check=True, env=os.environ
    ).stdout
    config, metrics = json.loads(told.partition("told ")[2])
    inputs = config["dataver"]["input"]
    assert set(inputs) == {"vision/cats", "vision/cats@1.0.0"}
    assert inputs["vision/cats"]["digest"] == repo.version("vision/cats@1.1.0").digest
    assert inputs["vision/cats"]["asked"] == "vision/cats@production"
    assert json.loads(inputs["vision/cats@1.0.0"]["subset"]) == {"paths": ["train/0.txt"]}
    assert config["rate"] == 0.1
    assert metrics == [1.0, 0.5]
    key = f"trackio:cats/{ran['run']}"
    assert linked(repo)[key] == {("input", "1.1.0"), ("input", "1.0.0")}
    answer = repo.lineage.run(key)
    assert (answer.run.name, answer.run.outcome) == ("resnet", "finished")
    assert [each.subset.paths for each in answer.inputs if each.label == "1.0.0"] == [("train/0.txt",)]


def test_runs_in_a_row_and_in_threads_have_their_own_reads(repo: dataver.Repository, program: Script) -> None:
    """Trackio keeps the run of each context; a thread of a run reads for it."""
    ran = program("""
import threading, trackio, dataver
files, result = dataver.open().files("vision/cats@1.0.0"), {}

def read(number):
    files.read(f"train/{number}.txt")

def train(number):
    run = trackio.init(project="cats", embed=False)
    read(number)
    within = threading.Thread(target=read, args=(number + 2,))
    within.start()
    within.join()
    trackio.finish()
    result[run.id] = [f"train/{number}.txt", f"train/{number + 2}.txt"]

train(0)
other = threading.Thread(target=train, args=(1,))
other.start()
other.join()
""")
    for run in [name for name in ran if len(name) == 32]:
        (link,) = repo.lineage.run(f"trackio:cats/{run}").inputs
        assert list(link.subset.paths) == ran[run]
