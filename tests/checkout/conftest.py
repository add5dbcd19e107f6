"""A real repository with two versions of a dataset, and what they hold."""

import os
import random
import shutil
from pathlib import Path

import pytest

import dataver
from dataver.cache.version_cache import VersionCache
from dataver.checkout import fetch
from dataver.tree import Selection


def write(path, content, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    if mode is not None:
        path.chmod(mode)


def contents(folder):
    """Return what a folder holds: path -> bytes, ("link", target) or None for an empty folder."""
    found = {}
    for at, folders, files in os.walk(folder):
        here = Path(at)
        if not folders and not files and here != Path(folder):
            found[here.relative_to(folder).as_posix()] = None
        for name in (*files, *(n for n in folders if (here / n).is_symlink())):
            path = here / name
            key = path.relative_to(folder).as_posix()
            found[key] = ("link", str(path.readlink())) if path.is_symlink() else path.read_bytes()
    return found


class World:
    """A repository, its cache, a source folder, and short ways to make and fetch versions.

    Args:
        root: the folder of all.
        like: a world to copy the source folder and the repository of.
    """

    def __init__(self, root, like=None):
        self.root = root
        self.source = root / "source"
        if like:
            for name in ("source", "repo"):
                shutil.copytree(like.root / name, root / name, symlinks=True)
            self.repo = dataver.open(root / "repo")
        else:
            self.source.mkdir()
            self.repo = dataver.init(root / "repo")
        self.cache = VersionCache(root / "cache")

    def version(self, parents=()):
        """Make and upload a version that mirrors the source folder."""
        draft = self.repo.create("some/data", parents=parents, workspace=self.root)
        draft.sync(self.source, allow_shrink=True)
        version = draft.finalize(message="test")
        version.upload()
        return version

    def fetch(self, version, **options):
        options.setdefault("cache", self.cache)
        selection = Selection.of(
            version.tree,
            options.pop("patterns", None),
            options.pop("exclude", ()),
            options.pop("shard", None),
        )
        return fetch(self.repo._core, version.tree.digest, selection=selection, **options)

    def packs(self):
        """Return the pack files of the repository."""
        return sorted(path for path in (self.root / "repo" / "packs").rglob("*") if path.is_file())


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "machine"))
    made = World(tmp_path)
    yield made
    for path in (tmp_path / "cache").rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A world for the fixtures of a module to fill, which its tests then copy."""
    root = tmp_path_factory.mktemp("template")
    with pytest.MonkeyPatch.context() as patched:
        for variable, value in (
            ("DATAVER_CACHE", root / "machine"),
            ("HOME", root),
            ("DATAVER_LINEAGE", "off"),
        ):
            patched.setenv(variable, str(value))
        yield World(root)


@pytest.fixture
def filled(world):
    """The world with a source folder of every kind of thing."""
    fill(world)
    return world


def fill(world):
    """Put a thing of every kind into a source folder."""
    noise = random.Random(1)
    for number in range(120):
        write(world.source / "tiny" / f"{number:03d}.txt", f"line {number}\n" * number)
    for number in range(4):
        write(world.source / "middle" / f"{number}.bin", noise.randbytes(200_000 + number))
    write(world.source / "large.bin", noise.randbytes(12_000_000))
    write(world.source / "run.sh", "#!/bin/sh\n", 0o755)
    write(world.source / "deep/er/and/deeper/file", "x")
    (world.source / "empty folder").mkdir()
    (world.source / "tiny" / "link").symlink_to("../middle/0.bin")
