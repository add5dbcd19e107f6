"""Real tools whose history is imported (`make importers`): a test file is collected where its tool is."""

import os
from pathlib import Path

import pytest

import dataver

FILE = os.environ.get("DATAVER_TEST_IMPORTER")
collect_ignore = [path.name for path in Path(__file__).parent.glob("test_*.py") if path.name != FILE]


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dataver.Repository:
    """An empty repository in a folder, on a machine without a cache."""
    for name in ("cache", "state"):
        monkeypatch.setenv(f"DATAVER_{name.upper()}", str(tmp_path / name))
    url = str(tmp_path / "repository")
    monkeypatch.setenv("DATAVER_REPO", url)
    return dataver.init(url)
