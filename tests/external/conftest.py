"""A repository in a folder, and a folder of files elsewhere that it only knows of."""

import random
from pathlib import Path

import pytest

import dataver
import dataver.formats.external


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


def fill(folder):
    """Make `raw`: small files, one of several external packs, an empty one, a link, a program, a folder."""
    raw = folder / "raw"
    (raw / "small").mkdir(parents=True)
    noise = random.Random(7)
    for number in range(40):
        (raw / "small" / f"{number:02d}").write_bytes(noise.randbytes(1000 + number))
    (raw / "large").write_bytes(noise.randbytes(11_000_000))
    (raw / "empty").touch()
    (raw / "run.sh").write_bytes(noise.randbytes(10))
    (raw / "run.sh").chmod(0o755)
    (raw / "link").symlink_to("large")
    (raw / "hollow").mkdir()


@pytest.fixture
def filled(world, copy_of, monkeypatch):
    """The world with files of every kind, and external packs that are full with eight megabytes."""
    monkeypatch.setattr(dataver.formats.external, "FULL", 8 << 20)
    copy_of(fill, world.root)
    return world


def contents(folder):
    """Return what files a folder holds, links not followed."""
    return {
        path.relative_to(folder).as_posix(): path.readlink() if path.is_symlink() else path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file() or path.is_symlink()
    }
