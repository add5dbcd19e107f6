"""Taking files from cached versions that are no parents: what a user, damage or an eviction did to them."""

import os
import random

import pytest

from dataver.cache.eviction import remove
from dataver.checkout import cached_files
from dataver.machine.deep_folders import remove_folder
from dataver.progress import Counters

from .conftest import contents, write


@pytest.fixture
def others(filled):
    """Two versions of no relation that share most; the second has a renamed and an edited file."""
    first = filled.version()
    data = bytearray((filled.source / "large.bin").read_bytes())
    data[5_000_000:5_000_010] = b"changed!!!"
    write(filled.source / "large.bin", bytes(data))
    (filled.source / "middle/0.bin").rename(filled.source / "middle/renamed.bin")
    second = filled.version()
    return first, second


class Meanwhile(Counters):
    """Does something when the first file is there."""

    def __init__(self, work):
        super().__init__()
        self._work = work

    def advance(self, files, size, *, new=0):
        super().advance(files, size, new=new)
        work, self._work = self._work, None
        if work is not None:
            work()


def test_a_later_version_serves_a_rollback(filled, others):
    """The newer version is cached, the older one wanted: only the edited place moves."""
    first, second = others
    new = filled.fetch(second)
    old = filled.fetch(first)
    assert old.transferred < 1_000_000
    assert (old.path / "middle/0.bin").samefile(new.path / "middle/renamed.bin")
    assert contents(filled.fetch(first, dest=filled.root / "own").path) == contents(old.path)


def test_an_edited_file_that_moved_shares_its_chunks(filled):
    """Chunks are found in any file of any cached version, by two of them together."""
    noise = random.Random(2)
    data = noise.randbytes(3_000_000)
    for name, part in (("a", data[:2_000_000]), ("b", data[1_000_000:])):
        write(filled.source / "large.bin", part)
        version = filled.version()
        filled.fetch(version)
        (filled.source / "large.bin").rename(filled.source / f"{name}.bin")
    for name in ("a.bin", "b.bin"):
        (filled.source / name).unlink()
    write(filled.source / "joined.bin", data)
    report = filled.fetch(filled.version())
    assert contents(report.path) == contents(filled.source)
    assert report.transferred < 600_000


def test_files_that_a_user_altered_are_not_taken(filled, others):
    """They are noticed by size and time, or by the digest of the file that is made of them."""
    first, second = others
    old = filled.fetch(first)
    for name, hide in (("middle/2.bin", False), ("tiny/100.txt", False), ("large.bin", True)):
        victim = old.path / name
        before = victim.stat()
        victim.chmod(0o644)
        victim.write_bytes(b"?" * before.st_size)
        if hide:
            os.utime(victim, ns=(before.st_atime_ns, before.st_mtime_ns))
    for options in ({}, {"dest": filled.root / "own"}, {"dest": filled.root / "again", "verify": "full"}):
        report = filled.fetch(second, **options)
        assert contents(report.path) == contents(filled.source)


def test_a_folder_in_use_by_a_fetch_is_not_removed(filled, others):
    """A fetch has a lease for each folder that it takes files from, and releases it."""
    first, second = others
    filled.fetch(first)
    cached = filled.cache.lookup(first.tree.digest)
    filled.cache.done(cached.path.name)
    removed = []
    report = filled.fetch(second, progress=Meanwhile(lambda: removed.append(remove(filled.cache, cached))))
    assert removed == [False]
    assert contents(report.path) == contents(filled.source)
    assert remove(filled.cache, cached)


def test_a_folder_that_disappears_costs_only_bytes(filled, others):
    """Somebody deletes the cached version while its files are taken: the others come from the repository."""
    first, second = others
    old = filled.fetch(first)
    report = filled.fetch(
        second, dest=filled.root / "own", progress=Meanwhile(lambda: remove_folder(old.path))
    )
    assert contents(report.path) == contents(filled.source)
    assert report.transferred > 1_000_000


@pytest.mark.parametrize("damage", ["flipped", "short", "empty", "gone", "foreign"])
def test_a_version_with_a_damaged_manifest_is_not_used(filled, others, damage):
    """The manifest is a hint: without it all is read from the repository."""
    first, second = others
    filled.fetch(first)
    manifest = filled.cache.lookup(first.tree.digest).manifest
    data = manifest.read_bytes()
    if damage == "gone":
        manifest.unlink()
    else:
        middle = len(data) // 2
        flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        changed = {"flipped": flipped, "short": data[:middle], "empty": b"", "foreign": b"x" * 5_000}
        manifest.write_bytes(changed[damage])
    report = filled.fetch(second)
    assert contents(report.path) == contents(filled.source)
    assert report.transferred > 12_000_000


def test_files_of_one_content_keep_their_own_inodes(world):
    """Each of several equal files is linked to the one at its path, so links do not pile up at one inode."""
    for number in range(5):
        write(world.source / f"{number}", b"the same")
    first = world.version()
    old = world.fetch(first)
    write(world.source / "new", b"another")
    new = world.fetch(world.version())
    assert all((new.path / f"{number}").samefile(old.path / f"{number}") for number in range(5))


def test_a_search_ends_at_its_limit(filled, others, monkeypatch):
    """Beyond the limit of rows, files are read from the repository."""
    monkeypatch.setattr(cached_files, "_MOST_ROWS", 1)
    monkeypatch.setattr(cached_files, "_ROWS_A_FILE", 0)
    for number in range(3):
        write(filled.source / "strange", os.urandom(1000 + number))
        only = filled.version()
        filled.fetch(only, patterns=["strange"])
    report = filled.fetch(others[0])
    assert report.reused == 0
    assert report.files == 127


def test_many_files_are_looked_up_in_turns(filled, others, monkeypatch):
    """A version larger than a turn is found as one that is smaller."""
    monkeypatch.setattr(cached_files, "_AT_ONCE", 1)
    first, second = others
    filled.fetch(first)
    report = filled.fetch(second)
    assert contents(report.path) == contents(filled.source)
    assert report.transferred < 1_000_000
