"""A power cut after each write of a publication, on an ext4 file system: what was written is there, whole.

Repository, draft and cache lie on the disk. Another program flushes right before the cut, which writes the
names of all files and the bytes of none that was not flushed.
"""

import os
import posix
import subprocess

import pytest

import dataver
from dataver.errors import DataverError
from dataver.repository import RepositoryCore as Core
from dataver.repository import open_repository
from dataver.repository.layout import record_key
from dataver.storage import durable
from dataver.testing.faulty import Crash, Fault, FaultyStore
from servers.disk import Disk


@pytest.fixture
def disk(tmp_path, monkeypatch):
    try:
        found = Disk(tmp_path)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root can attach a file system, and only where there are loop devices")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "fsync", posix.fsync)  # `tests/conftest.py` leaves it out
    monkeypatch.setenv("DATAVER_CACHE", str(found.mount / "cache"))
    yield found
    found.detach()


@pytest.fixture
def source(tmp_path):
    (tmp_path / "source").mkdir()
    for number in range(20):
        (tmp_path / "source" / f"{number}").write_bytes(os.urandom(3000))
    return tmp_path / "source"


def cut_after(disk, source, number):
    """Publish a second version, with a power cut after the N-th write; return what was written."""
    place = disk.mount / f"repo{number}"
    repo = dataver.init(place)
    repo.sync(source, "d", workspace=disk.mount / f"work{number}")
    (source / "0").write_bytes(os.urandom(3000))
    plain = open_repository(str(place))
    store = FaultyStore(plain.store, {number: Fault.CRASH_AFTER})
    core = Core(store, plain.config)
    try:
        dataver.Repository(core, str(place)).sync(source, "d", workspace=disk.mount / f"work{number}")
    except Crash:
        pass
    disk.cut()
    return place, store.writes


def problems(place, writes):
    """Return what is wrong with a repository after the cut."""
    try:
        repo = dataver.open(place)
        found = [f"{name}: {what}" for name, what in repo.verify().findings]
        published = record_key("d", "1.0.1") in writes
        there = [version.label for version in repo.versions("d")]
    except DataverError as error:
        return [error.message]
    if there != ["1.0.0", "1.0.1"][: 1 + published]:
        found.append(f"the versions are {there}")
    return found


def test_a_publication_survives_a_power_cut_after_any_write(disk, source, tmp_path):
    """What was there verifies, a version whose record was written is there, and a repetition publishes it."""
    for number in range(1, 100):
        place, writes = cut_after(disk, source, number)
        assert problems(place, writes) == [], writes
        dataver.open(place).sync(source, "d", workspace=tmp_path)
        assert dataver.open(place).version("d").read("0") == (source / "0").read_bytes()
        if len(writes) < number:
            assert number > 5
            return
    raise AssertionError("the publication does not end")


def test_without_flushes_a_publication_does_not_survive(disk, source, monkeypatch):
    """What makes the test above pass is that dataver flushes."""
    monkeypatch.setattr(durable, "_fsync", lambda _descriptor, _absent: None)
    assert problems(*cut_after(disk, source, 99))


def test_what_was_added_survives_a_power_cut(disk, source):
    """A draft whose `add` has returned is uploaded with the bytes of that moment (invariant 6)."""
    repo = dataver.init(disk.mount / "repo")
    draft = repo.create("d", workspace=disk.mount / "work")
    draft.add(source)
    content = {path.name: path.read_bytes() for path in source.iterdir()}
    for path in source.iterdir():
        path.write_bytes(b"other")
    del draft, repo
    disk.cut()
    draft = dataver.open(disk.mount / "repo").draft(workspace=disk.mount / "work")
    version = draft.finalize().upload().version
    assert {name: version.read(name) for name in content} == content
