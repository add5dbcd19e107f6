"""A repository that `dataver.compat.clearml` finds, and a folder to work in."""

from pathlib import Path

import pytest

import dataver


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dataver.Repository:
    """An empty repository, named by the environment."""
    for name in ("cache", "state"):
        monkeypatch.setenv(f"DATAVER_{name.upper()}", str(tmp_path / name))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("DATAVER_REPO", str(tmp_path / "repository"))
    return dataver.init(tmp_path / "repository")


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """A folder with TRAIN and TEST, as in ClearML's examples."""
    for name in ("TRAIN/0/1.png", "TRAIN/1/2.png", "TEST/0/3.png"):
        path = tmp_path / "digits" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "digits"
