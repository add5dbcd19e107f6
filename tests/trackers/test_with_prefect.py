"""Prefect: a real flow with its tasks, on the server that Prefect starts for itself."""

import pytest

import dataver

from .conftest import Script, events, linked


@pytest.fixture(autouse=True)
def prefect(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """A server of the test's own."""
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    monkeypatch.setenv("PREFECT_LOGGING_LEVEL", "ERROR")
    monkeypatch.setenv("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")


def test_what_flows_and_tasks_fetch_is_the_flow_runs(repo: dataver.Repository, program: Script) -> None:
    """A fetch in the flow and one in a task of it are links of the flow run; the task is a context of it."""
    ran = program("""
import dataver
from prefect import flow, task
from prefect.runtime import flow_run, task_run
seen = {}

@task
def load():
    seen["task"] = str(task_run.id)
    return str(dataver.fetch("vision/cats@1.0.0"))

@flow
def training():
    seen["flow"] = str(flow_run.id)
    load()
    dataver.fetch("vision/cats@1.1.0")

training()
result = seen
""")
    assert linked(repo) == {f"prefect:{ran['flow']}": {("input", "1.0.0"), ("input", "1.1.0")}}
    contexts = {context.key: context for event in events(repo) for context in event.run.contexts}
    assert contexts[f"prefect:{ran['flow']}"].facts["flow"] == "training"
    assert f"prefect:{ran['task']}" in contexts
