"""Repositories that keep their objects in memory, so that what is read goes through the machine's cache."""

import secrets
from datetime import UTC, datetime

import pytest

import dataver
from dataver.formats.config import RepositoryConfig
from dataver.repository import RepositoryCore as Core
from dataver.storage import MemoryStore


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """A cache and a working folder of the test's own."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


class World:
    """One repository in memory, a folder to publish from, and other machines that open the same store."""

    def __init__(self, root):
        self.root = root
        self.source = root / "source"
        self.source.mkdir()
        self.inner = MemoryStore()
        self.config = RepositoryConfig(
            id=secrets.token_hex(16),
            created=datetime.now(UTC),
            write_id=secrets.token_hex(16),
            create_if_absent=True,
        )
        self.repo = self.open(self.inner)

    def open(self, store):
        """Open the same repository through another store."""
        return dataver.Repository(Core(store, self.config), "memory:test")

    def publish(self, name, label=None, content=None, **options):
        """Publish a version of one file."""
        text = content if content is not None else f"{name} {label} {secrets.token_hex(4)}"
        (self.source / "file").write_text(text)
        return self.repo.sync(self.source, name, label=label, **options).version

    def cached(self):
        """Return the files that the machine keeps of this repository."""
        return sorted(path for path in self.repo._core.cache.root.rglob("*") if path.is_file())


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)
