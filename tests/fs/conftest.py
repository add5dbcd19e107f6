"""A folder, published as a version, and the file system that shows it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import dataver
from dataver.fs import DataverFileSystem

Publish = Callable[[Path], str]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for this test, which is also the machine's: its cache and state."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DATAVER_STATE", str(tmp_path / "state"))
    return tmp_path


@pytest.fixture
def repo(machine: Path) -> dataver.Repository:
    """An empty repository in a folder."""
    return dataver.init(machine / "repo")


@pytest.fixture
def fs(repo: dataver.Repository) -> Iterator[DataverFileSystem]:
    """Its versions as a file system."""
    DataverFileSystem.clear_instance_cache()
    yield DataverFileSystem(repo=repo.url)
    DataverFileSystem.clear_instance_cache()


@pytest.fixture
def publish(repo: dataver.Repository, machine: Path) -> Publish:
    """Publishes a folder as the next version of `some/data`; returns the version's name."""

    def published(folder: Path) -> str:
        report = repo.sync(folder, "some/data", workspace=machine / "work")
        assert report.version is not None
        return report.version.ref

    return published
