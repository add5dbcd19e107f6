"""Repositories to move between: in memory, where every request is counted, and in folders."""

import random
import secrets
from datetime import UTC, datetime
from pathlib import Path

import pytest

import dataver
from dataver.formats.config import RepositoryConfig
from dataver.hashing import ChunkingParameters
from dataver.repository import RepositoryCore as Core
from dataver.storage import MemoryStore
from dataver.testing.faulty import FaultyStore


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """A cache and a working folder of the test's own."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DATAVER_AUTHOR", "ana")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


class End:
    """A repository in memory; each opening counts its own requests, through a cache that starts empty."""

    def __init__(self, root, name, *, chunk_size=16384, strict=True):
        self.root, self.name = root, name
        self.inner = MemoryStore(name, strict=strict)
        self.config = RepositoryConfig(
            id=secrets.token_hex(16),
            created=datetime.now(UTC),
            write_id=secrets.token_hex(16),
            create_if_absent=True,
            chunking=ChunkingParameters.for_average(chunk_size),
        )

    def open(self, plan=None):
        """Open it as another machine would; `store` counts, and fails where `plan` says so."""
        self.store = FaultyStore(self.inner, plan)
        repository = dataver.Repository(Core(self.store, self.config), self.inner.url)
        repository._core.cache.root = self.root / "caches" / secrets.token_hex(4)
        return repository

    def keys(self, prefix=""):
        return sorted(key for key in self.inner.objects if key.startswith(prefix))

    def objects(self, prefix=""):
        return {key: self.inner.objects[key] for key in self.keys(prefix)}

    def asked(self, method, prefix=""):
        return sum(each.method == method and each.key.startswith(prefix) for each in self.store.requests)


class World:
    """Two ends and a folder to publish from."""

    def __init__(self, root):
        self.root = root
        self.folder = root / "data"
        self.folder.mkdir()
        self.source = End(root, "source")
        self.target = End(root, "target", chunk_size=65536)
        self.noise = random.Random(5)

    def write(self, name, size, text=False):
        """Write a file of random bytes."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.noise.randbytes(size))

    def publish(self, dataset, repository=None, **options):
        """Publish what the folder holds now."""
        return (repository or self.source.open()).sync(self.folder, dataset, **options).version


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.fixture
def filled(world):
    """Three versions of `vision/cats`, the second tagged, and one of `text`, which shares most of it."""
    for number in range(30):
        world.write(f"train/{number:02d}", 3000)
    world.write("large", 400_000)
    world.publish("vision/cats", message="first")
    world.write("train/05", 3000)
    world.publish("vision/cats", message="second")
    world.write("new", 50_000)
    world.publish("vision/cats", message="third")
    (world.folder / "large").unlink()
    world.publish("text", message="other")
    repository = world.source.open()
    repository.tag("vision/cats@1.0.0", "production")
    repository.tag("vision/cats@1.0.1", "production")
    return world


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }
