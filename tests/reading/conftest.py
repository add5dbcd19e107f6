"""A repository with one version of everything that a version can hold, and the folder it was made from."""

import random
from pathlib import Path
from typing import NamedTuple

import pytest

import dataver
from copies import Copy
from dataver.reading import Files


class World(NamedTuple):
    """A repository, the folder a version of it was made from, and the files of that version."""

    repo: dataver.Repository
    source: Path
    files: Files


def write(path: Path, content: bytes, mode: int | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    if mode is not None:
        path.chmod(mode)


def publish(folder: Path) -> None:
    """Publish a source folder of every kind of thing."""
    source = folder / "source"
    source.mkdir()
    noise = random.Random(6)
    for number in range(60):
        write(source / "tiny" / f"{number:03d}.txt", f"line {number}\n".encode() * number)
    write(source / "large.bin", noise.randbytes(9_000_000))
    write(source / "text.csv", b"".join(b"%d,%d\n" % (n, n * n) for n in range(300_000)))
    write(source / "run.sh", b"#!/bin/sh\n", 0o755)
    write(source / "a/b/c/deep.bin", noise.randbytes(200_000))
    write(source / "a-b", b"sorts before what is in a")
    write(source / "nothing", b"")
    (source / "empty folder").mkdir()
    (source / "links").mkdir()
    (source / "links" / "file").symlink_to("../large.bin")
    (source / "links" / "folder").symlink_to("../a/b")
    (source / "links" / "twice").symlink_to("folder/c/deep.bin")
    (source / "links" / "nowhere").symlink_to("gone")
    dataver.init(folder / "repo").sync(source, "some/data", workspace=folder / "work")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for this test, which is also the machine's: its cache and state."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DATAVER_STATE", str(tmp_path / "state"))
    return tmp_path


@pytest.fixture
def world(machine: Path, copy_of: Copy) -> World:
    """The version `some/data@1.0.0` in a local repository."""
    copy_of(publish, machine)
    repo = dataver.open(machine / "repo")
    return World(repo, machine / "source", repo.files("some/data@1.0.0"))
