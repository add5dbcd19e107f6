"""A repository in a folder, and a folder of files elsewhere that it only knows of."""

import random
from pathlib import Path

import pytest

import dataver


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """A cache and a working folder of the test's own."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


class World:
    """Files outside, and short ways to record and fetch them."""

    def __init__(self, root):
        self.root = root
        self.raw = root / "raw"
        self.raw.mkdir()
        self.repo = dataver.init(root / "repo")
        self.noise = random.Random(7)

    def write(self, name, size):
        path = self.raw / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.noise.randbytes(size))
        return path

    def record(self, url=None, name="ext", parents=(), repo=None, **options):
        """Publish a version of what is at a URL, left where it is."""
        draft = (repo or self.repo).create(name, parents=parents, workspace=self.root)
        self.report = draft.add_external(self.raw if url is None else url, **options)
        version = draft.finalize()
        version.upload()
        return version

    def fresh(self, url=None):
        """Open the repository as a process that has read nothing of it."""
        return dataver.open(self.root / "repo" if url is None else url)

    def objects(self, folder, repo="repo"):
        return sorted(path for path in (self.root / repo / folder).rglob("*") if path.is_file())


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.fixture
def filled(world):
    """Small files, one of several external packs, an empty one, a link, a program, an empty folder."""
    for number in range(40):
        world.write(f"small/{number:02d}", 1000 + number)
    world.write("large", 70_000_000)
    world.write("empty", 0)
    world.write("run.sh", 10).chmod(0o755)
    (world.raw / "link").symlink_to("large")
    (world.raw / "hollow").mkdir()
    return world


def contents(folder):
    """Return what files a folder holds, links not followed."""
    return {
        path.relative_to(folder).as_posix(): path.readlink() if path.is_symlink() else path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file() or path.is_symlink()
    }
