"""An own copy after a power cut, on an ext4 file system that is shut down as a cut would do it."""

import os
import posix
import subprocess

import pytest

import dataver
from servers.disk import Disk


@pytest.fixture
def disk(tmp_path, monkeypatch):
    try:
        found = Disk(tmp_path)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root can attach a file system, and only where there are loop devices")
    monkeypatch.setattr(os, "fsync", posix.fsync)  # `tests/conftest.py` leaves it out
    yield found
    found.detach()


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_own_copy_survives_a_power_cut(disk, tmp_path):
    """When a fetch has ended, a new folder and files added to one are wholly there (invariant 1)."""
    repo = dataver.init(tmp_path / "repo")
    source = tmp_path / "source"
    source.mkdir()
    (source / "large").write_bytes(os.urandom(300_000))
    for number in range(20):
        (source / f"{number}").write_bytes(os.urandom(1000))
    repo.sync(source, "d", workspace=tmp_path)
    repo.fetch("d", dest=disk.mount / "own")
    disk.cut()
    assert contents(disk.mount / "own") == contents(source)

    (source / "added").write_bytes(os.urandom(50_000))
    repo.sync(source, "d", workspace=tmp_path)
    repo.fetch("d", dest=disk.mount / "own")
    disk.cut()
    assert contents(disk.mount / "own") == contents(source)
    assert not repo.fetch("d", dest=disk.mount / "own").transferred


def test_the_disk_of_this_test_loses_what_is_not_flushed(disk):
    """Without flushes a renamed file is empty after the cut: what the test above rules out."""
    (disk.mount / "new").write_bytes(b"x" * 10_000)
    (disk.mount / "new").rename(disk.mount / "named")
    disk.cut()
    assert (disk.mount / "named").read_bytes() == b""
