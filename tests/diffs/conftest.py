"""Two versions of one file, and the difference between them."""

from pathlib import Path

import pytest
from differ import Differ, Write

import dataver


@pytest.fixture
def differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Differ:
    """Publish two versions of a file that are written by functions, and return the difference."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def differ(name: str, old: Write, new: Write) -> dataver.Diff:
        repo, source = dataver.init(tmp_path / "repo"), tmp_path / "source"
        source.mkdir()
        for write in (old, new):
            write(source / name)
            repo.sync(source, "d")
        return repo.version("d").diff()

    return differ
