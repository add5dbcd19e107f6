"""Repositories whose store has a clock of its own, and the processes that work on them."""

import itertools
import os
import secrets
from datetime import UTC, datetime, timedelta

import pytest

import dataver
from dataver.formats.config import RepositoryConfig
from dataver.maintenance import gc
from dataver.repository import RepositoryCore as Core
from dataver.storage import MemoryStore
from dataver.storage.base import ObjectInfo

NOW = timedelta(0)


class ClockedStore(MemoryStore):
    """A store in memory whose clock a test sets: it runs `ahead` of the machine's."""

    def __init__(self):
        super().__init__()
        self.ahead = timedelta(0)
        self.written = {}

    def stat(self, key):
        return self._dated(super().stat(key))

    def list(self, prefix="", after=None):
        yield from map(self._dated, super().list(prefix, after))

    def put(self, key, data):
        super().put(key, data)
        self.written[key] = datetime.now(UTC) + self.ahead

    def replace(self, key, data):
        super().replace(key, data)
        self.written[key] = datetime.now(UTC) + self.ahead

    def create(self, key, data):
        super().create(key, data)
        self.written[key] = datetime.now(UTC) + self.ahead

    def _dated(self, info):
        return ObjectInfo(info.key, info.size, self.written.get(info.key))


class World:
    """A repository, a folder to publish from, and what its store holds."""

    def __init__(self, root, store):
        self.root, self.store = root, store
        self.config = RepositoryConfig(
            id=secrets.token_hex(16),
            created=datetime.now(UTC),
            write_id=secrets.token_hex(16),
            create_if_absent=True,
            pack_size=1 << 20,
        )
        self.source = root / "source"
        self.source.mkdir()
        self.repo = self.open()

    def open(self, store=None):
        """Open the repository anew, through another store if given."""
        return dataver.Repository(Core(store or self.store, self.config), "memory:test")

    def publish(self, name="d", files=None, repo=None, **options):
        """Publish a version of these files; of one new random one if none are given."""
        for path in self.source.iterdir():
            path.unlink()
        for path, content in (files or {"file": os.urandom(50_000)}).items():
            (self.source / path).write_bytes(content)
        options = {"workspace": self.root, "allow_shrink": True} | options
        return (repo or self.repo).sync(self.source, name, **options).version

    def keys(self, *prefixes):
        """Return the keys that begin so."""
        return sorted(info.key for info in self.store.list() if info.key.startswith(prefixes or ("",)))

    def size(self, *prefixes):
        """Return their bytes."""
        return sum(info.size for info in self.store.list() if info.key.startswith(prefixes))

    def all_right(self):
        """Check every version there is, byte by byte, with a fresh eye."""
        repo = self.open()
        refs = [
            f"{name}@{label}" for name, labels in repo._core.records.datasets().items() for label in labels
        ]
        for ref in refs:
            report = repo.verify(ref)
            assert report.ok, (ref, report.findings)
        return refs

    def later(self, **period):
        """Let the store's clock go on."""
        self.store.ahead += timedelta(**period)


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """A cache and a working folder of the test's own."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DATAVER_STATE", str(tmp_path / "state"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def world(tmp_path):
    (tmp_path / "world").mkdir()
    return World(tmp_path / "world", ClockedStore())


@pytest.fixture
def worlds(tmp_path):
    """Repositories of which each is new."""

    def made():
        for number in itertools.count():
            (tmp_path / f"world-{number}").mkdir()
            yield World(tmp_path / f"world-{number}", ClockedStore())

    return made()


GRACE = gc.GRACE
