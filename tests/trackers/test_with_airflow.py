"""Airflow: a real DAG, run as `dag.test()` runs it, on a SQLite database."""

import subprocess
import sys
from pathlib import Path

import pytest

import dataver

from .conftest import Script, linked

DAG = """
import dataver
from airflow.sdk import dag, task

@task
def load():
    dataver.fetch("vision/cats@1.0.0")

@task.bash
def child():
    import sys
    return sys.executable + " -c 'import dataver; dataver.fetch(\\"vision/cats@1.1.0\\")'"

@dag(schedule=None, catchup=False)
def training():
    load() >> child()

made = training()
if __name__ == "__main__":  # Airflow imports this file, too
    run = made.test()
    result = {"run": run.run_id, "state": str(run.state)}
"""


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A database and settings of the test's own."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    monkeypatch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "false")
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(tmp_path / "program"))
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", f"sqlite:///{tmp_path}/airflow.db")
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_tasks_fetch_is_theirs(repo: dataver.Repository, program: Script) -> None:
    """A fetch in a task, and one in a program that a task starts, are linked to the task of the DAG run."""
    ran = program(DAG)
    assert ran["state"].endswith("success")
    run = ran["run"]
    assert linked(repo) == {
        f"airflow:training/{run}/load": {("input", "1.0.0")},
        f"airflow:training/{run}/child": {("input", "1.1.0")},
    }
