"""Dagster: a real job, run in its own process and in child processes."""

import pytest

import dataver

from .conftest import Script, linked


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """An instance of the test's own."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "1")


def test_what_ops_and_assets_fetch_is_their_steps(repo: dataver.Repository, program: Script) -> None:
    """A fetch in an op and one in an asset are linked with the run and the step."""
    ran = program("""
import dagster, dataver

@dagster.op
def load():
    dataver.fetch("vision/cats@1.0.0")

@dagster.job
def training():
    load()

@dagster.asset
def cats():
    dataver.fetch("vision/cats@1.1.0")

first = training.execute_in_process()
second = dagster.materialize([cats])
assert first.success and second.success
result = {"job": first.run_id, "asset": second.run_id}
""")
    assert linked(repo) == {
        f"dagster:{ran['job']}/load": {("input", "1.0.0")},
        f"dagster:{ran['asset']}/cats": {("input", "1.1.0")},
    }
