"""Fetching beside a version that is there: unchanged files are linked, changed ones give what they share."""

import os
import random

import pytest

from dataver.cache.stat_manifest import read_rows
from dataver.errors import NotFound
from dataver.formats.entry import Kind

from .conftest import contents, write


@pytest.fixture
def versions(filled):
    """Two versions: a renamed file, a few bytes changed in a large one, a removed and a new one."""
    first = filled.version()
    source = filled.source
    data = bytearray((source / "large.bin").read_bytes())
    for position in (100, 3_000_000, 9_000_000):
        data[position : position + 10] = b"changed!!!"
    del data[6_000_000:6_000_100]
    write(source / "large.bin", bytes(data))
    (source / "middle/0.bin").rename(source / "middle/renamed.bin")
    (source / "middle/1.bin").unlink()
    (source / "tiny/005.txt").chmod(0o755)
    write(source / "new.txt", "new")
    return first, filled.version(parents=[first.ref])


def test_only_what_changed_is_transferred(filled, versions):
    """Unchanged and renamed files are hard links, and of a changed file only changed frames move."""
    first, second = versions
    old = filled.fetch(first)
    new = filled.fetch(second, near=[first.tree.digest])
    assert contents(new.path) == contents(filled.source)
    assert new.transferred < 1_000_000
    assert new.reused > 11_000_000
    assert (new.path / "middle/renamed.bin").samefile(old.path / "middle/0.bin")
    assert (new.path / "tiny/100.txt").samefile(old.path / "tiny/100.txt")
    assert not (new.path / "tiny/005.txt").samefile(old.path / "tiny/005.txt")
    assert os.access(new.path / "tiny/005.txt", os.X_OK)
    assert not (old.path / "tiny/005.txt").stat().st_mode & 0o111


def test_a_copy_of_an_unchanged_file_moves_nothing(filled):
    """A file that is new, but whose bytes an unchanged file of the old version has, is linked or copied."""
    first = filled.version()
    old = filled.fetch(first)
    source = filled.source
    for name in ("middle/2.bin", "tiny/100.txt", "large.bin"):
        (source / "copies" / name).parent.mkdir(parents=True, exist_ok=True)
        (source / "copies" / name).write_bytes((source / name).read_bytes())
    write(source / "new.txt", "x" * (source / "tiny/100.txt").stat().st_size)  # the size alone proves nothing
    second = filled.version(parents=[first.ref])
    new = filled.fetch(second, near=[first.tree.digest])
    assert contents(new.path) == contents(source)
    assert new.transferred < 1_000
    assert (new.path / "copies/large.bin").samefile(old.path / "large.bin")
    own = filled.fetch(second, near=[first.tree.digest], dest=filled.root / "own")
    assert contents(own.path) == contents(source)
    assert own.transferred == 0


def test_an_own_copy_never_shares_an_inode_with_the_cache(filled, versions):
    """What the user may write to is a copy, so that writing never reaches the cache."""
    first, second = versions
    old = filled.fetch(first)
    own = filled.fetch(second, near=[first.tree.digest], dest=filled.root / "own")
    assert contents(own.path) == contents(filled.source)
    assert own.transferred < 1_000_000
    assert {path.stat().st_nlink for path in own.path.rglob("*") if path.is_file()} == {1}
    (own.path / "tiny/100.txt").write_text("mine")
    assert contents(old.path)["tiny/100.txt"] != b"mine"


def test_a_damaged_old_version_does_not_spoil_the_new_one(filled, versions):
    """Old files that look changed are not used; where only hashing tells, the digest sends for all of it."""
    first, second = versions
    old = filled.fetch(first)
    for name, hide in (("middle/2.bin", False), ("large.bin", True)):
        victim = old.path / name
        before = victim.stat()
        victim.chmod(0o644)
        victim.write_bytes(b"?" * before.st_size)
        if hide:
            os.utime(victim, ns=(before.st_atime_ns, before.st_mtime_ns))
    new = filled.fetch(second, near=[first.tree.digest])
    assert contents(new.path) == contents(filled.source)
    assert new.transferred > 12_000_000


def test_with_full_verification_linked_files_are_hashed(filled, versions):
    """Bytes changed behind size and mtime are not carried over when everything is to be hashed."""
    first, second = versions
    victim = filled.fetch(first).path / "middle/3.bin"
    before = victim.stat()
    victim.chmod(0o644)
    victim.write_bytes(b"?" * before.st_size)
    os.utime(victim, ns=(before.st_atime_ns, before.st_mtime_ns))
    new = filled.fetch(second, near=[first.tree.digest], verify="full")
    assert contents(new.path) == contents(filled.source)


def test_a_near_version_that_is_not_cached_or_unknown_changes_nothing(filled, versions):
    """Near trees are hints."""
    first, second = versions
    new = filled.fetch(second, near=[first.tree.digest, bytes(32)])
    assert contents(new.path) == contents(filled.source)
    with pytest.raises(NotFound):
        filled.repo._core.resolve("unknown")


@pytest.mark.parametrize("seed", range(6))
def test_any_edit_comes_back_byte_for_byte(world, seed):
    """Random cuts, moves and insertions in one file: what is shared and what is fetched fit together."""
    noise = random.Random(seed)
    data = noise.randbytes(1_500_000) + b"text " * 40_000
    write(world.source / "f", data)
    first = world.version()
    world.fetch(first)
    for _ in range(noise.randrange(1, 8)):
        at, length = noise.randrange(len(data)), noise.randrange(300_000)
        cut = data[at : at + length]
        data = data[:at] + data[at + length :]
        where = noise.randrange(len(data) + 1)
        data = data[:where] + (cut if noise.random() < 0.5 else noise.randbytes(length // 4)) + data[where:]
    write(world.source / "f", data)
    second = world.version(parents=[first.ref])
    assert contents(world.fetch(second, near=[first.tree.digest]).path) == {"f": data}


def test_old_files_that_look_changed_are_not_copied_either(filled, versions):
    """Small and large files are taken from the cache only where they look as they did when verified."""
    first, second = versions
    old = filled.fetch(first)
    for name in ("middle/2.bin", "tiny/100.txt"):
        (old.path / name).chmod(0o644)
        (old.path / name).write_bytes(b"?" * (old.path / name).stat().st_size)
    own = filled.fetch(second, near=[first.tree.digest], dest=filled.root / "own")
    assert contents(own.path) == contents(filled.source)


def test_the_manifest_of_a_linked_version_is_what_lstat_shows(filled, versions):
    """Linked files are not looked at again to write the manifest, and every row is right all the same."""
    first, second = versions
    old = filled.fetch(first)
    new = filled.fetch(second, near=[first.tree.digest])
    rows = {row.path: row for row in read_rows(filled.cache.lookup(second.tree.digest).manifest)}
    assert rows.keys() == {entry.path for entry in filled.repo._core.tree(second.tree.digest).iterate()}
    for path, row in rows.items():
        status = (new.path / path).lstat()
        assert row.kind == Kind.DIRECTORY or (status.st_size, status.st_mtime_ns) == row[2:4]
    assert sum((new.path / path).lstat().st_nlink > 1 for path in rows) > 100
    for folder in (old.path, new.path):
        writable = [at for at, _, _ in os.walk(folder) if os.stat(at).st_mode & 0o222]
        assert writable == []


def test_many_files_too_large_for_memory_are_copied_whole(world):
    """Files are copied in batches by several threads; executable bits and renames are kept."""
    noise = random.Random(3)
    for number in range(200):
        write(world.source / f"{number % 7}" / f"{number}.bin", noise.randbytes(40_000 + number))
    first = world.version()
    world.fetch(first)
    (world.source / "0/0.bin").rename(world.source / "6/renamed.bin")
    (world.source / "1/1.bin").chmod(0o755)
    second = world.version(parents=[first.ref])
    own = world.fetch(second, near=[first.tree.digest], dest=world.root / "own")
    assert contents(own.path) == contents(world.source)
    assert os.access(own.path / "1/1.bin", os.X_OK)
    assert (own.transferred, own.reused) == (0, own.size)
