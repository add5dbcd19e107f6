"""Real trackers and orchestrators, each in an environment of its own (`make trackers`).

A test file is collected where its package is installed. In the ordinary suite none is; `make trackers` names
the one that must be there, so that nothing is left out silently.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

import dataver
from dataver.formats.event import Event

PACKAGES = {
    "mlflow": "mlflow",
    "clearml": "clearml",
    "zenml": "zenml",
    "wandb": "wandb",
    "trackio": "trackio",
    "comet": "comet_ml",
    "prefect": "prefect",
    "dagster": "dagster",
    "airflow": "airflow",
    "notebook": "papermill",
    "tutorial": "",  # MLflow and scikit-learn
    "workers": "ray",
    "datasets": "datasets",
    "hal": "",  # installed by its own test
}
_wanted = os.environ.get("DATAVER_TEST_TRACKER")
_here = {name for name, package in PACKAGES.items() if name == _wanted or (package and find_spec(package))}
collect_ignore = [f"test_with_{name}.py" for name in PACKAGES if name not in _here]

Script = Callable[..., dict]


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dataver.Repository:
    """The configured repository, with vision/cats 1.0.0 and 1.1.0, the latter tagged production."""
    monkeypatch.setenv("DATAVER_REPO", str(tmp_path / "repo"))
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DATAVER_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("DATAVER_LINEAGE", "off")  # the tests' own process is no run
    repo = dataver.init(tmp_path / "repo")
    photos = tmp_path / "photos"
    (photos / "train").mkdir(parents=True)
    for number in range(4):
        (photos / "train" / f"{number}.txt").write_text(f"cat {number}\n")
    repo.sync(photos, "vision/cats", workspace=tmp_path / "work")
    (photos / "train" / "4.txt").write_text("another cat\n")
    repo.sync(photos, "vision/cats", workspace=tmp_path / "work", label="1.1.0")
    repo.tag("vision/cats@1.1.0", "production")
    return repo


@pytest.fixture
def program(tmp_path: Path) -> Script:
    """Runs a program in a process of its own; what it assigns to `result` comes back as JSON values."""

    def run(code: str, *, check: bool = True, timeout: float = 140, **variables: str) -> dict:
        folder = tmp_path / "program"
        folder.mkdir(exist_ok=True)
        script, out = folder / "train.py", folder / "result.json"
        out.unlink(missing_ok=True)
        tail = f"\nimport json\nopen({str(out)!r}, 'w').write(json.dumps(result))\n"
        watch = f"import faulthandler; faulthandler.dump_traceback_later({timeout - 20}, exit=True)\n"
        script.write_text(watch + "result = {}\n" + code + tail)
        done = subprocess.run(
            [sys.executable, str(script)],
            cwd=folder,
            env={**os.environ, "DATAVER_LINEAGE": "on", **variables},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        values = json.loads(out.read_text()) if out.exists() else {}
        return {**values, "stderr": done.stderr, "stdout": done.stdout, "code": done.returncode}

    return run


def events(repo: dataver.Repository) -> list[Event]:
    """Return all events in the repository."""
    keys = list(repo._core.events.keys())
    return [event for key in keys for event in repo._core.events.get(key)]


def linked(repo: dataver.Repository) -> dict[str, set[tuple[str, str | None]]]:
    """Return what the repository's events link, as run key → (role, label)."""
    found: dict[str, set[tuple[str, str | None]]] = {}
    for event in events(repo):
        found.setdefault(event.run.key, set()).update((link.role, link.label) for link in event.links)
    return {key: links for key, links in found.items() if links}
