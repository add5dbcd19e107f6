"""Reading files of a version where they are: names, bytes, links."""

import os
import pickle
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dataver.errors import InvalidInput, PathNotFound
from dataver.formats.block import parse_block
from dataver.formats.entry import Entry, Kind
from dataver.hashing import digest
from dataver.reading.directory_view import Folders
from dataver.tree import Tree, build

from .conftest import World

PATHS = ("large.bin", "text.csv", "tiny/059.txt", "tiny/000.txt", "nothing", "run.sh", "links/twice")


def test_the_version_says_which_it_is(world: World) -> None:
    """Name, digest and record are the version's."""
    version = world.repo.version("some/data@1.0.0")
    assert (world.files.ref, world.files.digest) == (version.ref, version.digest)
    assert world.files.published.record_id == version.record_id


@pytest.mark.parametrize("path", PATHS)
def test_a_file_reads_as_it_was(world: World, path: str) -> None:
    """Whole, and any part of it as a slice; what lies behind the end is nothing."""
    data = (world.source / path).read_bytes()
    assert world.files.read(path) == data
    noise = random.Random(1)
    for _ in range(20):
        start, stop = noise.randrange(len(data) + 2), noise.randrange(len(data) + 10)
        assert world.files.read(path, start, stop) == data[start:stop]


def test_many_parts_come_in_the_order_they_were_asked_for(world: World) -> None:
    """Of several files, overlapping, repeated, empty."""
    noise = random.Random(2)
    wanted = []
    for _ in range(200):
        path = noise.choice(PATHS)
        start = noise.randrange(200_000)
        wanted.append((path, start, noise.choice([None, start, start + noise.randrange(300_000)])))
    whole = {path: (world.source / path).read_bytes() for path in PATHS}
    expected = [whole[path][start:stop] for path, start, stop in wanted]
    assert world.files.read_many(wanted) == expected
    assert world.files.read_many([]) == []


def test_a_part_before_the_beginning_is_refused(world: World) -> None:
    """Negative positions mean nothing here."""
    for start, stop in ((-1, None), (0, -1)):
        with pytest.raises(InvalidInput):
            world.files.read("large.bin", start, stop)


def test_names_are_those_of_the_folder(world: World) -> None:
    """Every folder lists what it held, and every path says what it was."""
    for folder, folders, files in os.walk(world.source):
        here = Path(folder).relative_to(world.source).as_posix().removeprefix(".")
        listed = {info.path: info for info in world.files.list(here)}
        assert set(listed) == {f"{here}/{name}".lstrip("/") for name in (*folders, *files)}
        assert list(listed) == sorted(listed)
        for path, info in listed.items():
            original = world.source / path
            assert info == world.files.info(path)
            assert info.type == (
                "link" if original.is_symlink() else "directory" if original.is_dir() else "file"
            )
            if info.type == "file":
                assert info.size == original.stat().st_size
                assert info.digest == digest(original.read_bytes()).hex()
                assert info.executable == bool(original.stat().st_mode & 0o100)


def test_a_walk_yields_every_file_and_link_below(world: World) -> None:
    """In path order; empty folders where they are asked for."""
    every = [
        path.relative_to(world.source).as_posix()
        for path in world.source.rglob("*")
        if path.is_symlink() or path.is_file()
    ]
    assert [info.path for info in world.files.walk()] == sorted(every)
    assert [info.path for info in world.files.walk("a")] == ["a/b/c/deep.bin"]
    assert [info.path for info in world.files.walk("links/folder")] == ["links/folder/c/deep.bin"]
    assert "empty folder" in [info.path for info in world.files.walk(empty=True)]


def test_links_are_followed_inside_the_version(world: World) -> None:
    """As a file, as a folder on the way, and through another link."""
    deep = (world.source / "a/b/c/deep.bin").read_bytes()
    for path in ("links/twice", "links/folder/c/deep.bin", "/a//b/./c/deep.bin", "tiny/../a/b/c/deep.bin"):
        assert world.files.read(path) == deep
    assert world.files.info("links/folder").target == "../a/b"
    assert world.files.info("links/folder", follow=True).type == "directory"
    assert world.files.info("links/twice", follow=True).size == len(deep)
    assert [info.path for info in world.files.list("links/folder")] == ["links/folder/c"]


@pytest.mark.parametrize(
    "path",
    ["", "gone", "tiny/gone", "tiny/000.txt/below", "links/nowhere", "../source/run.sh", "/etc/passwd"],
)
def test_what_is_not_there_is_not_found(world: World, path: str) -> None:
    """A path that no file has, a link to nothing, a way out of the version."""
    with pytest.raises((PathNotFound, IsADirectoryError)):
        world.files.read(path)
    with pytest.raises((PathNotFound, IsADirectoryError)):
        world.files.open(path)


def test_links_never_lead_out_or_in_circles() -> None:
    """An absolute target, one above the root and a ring of links are not there (invariant 9)."""
    blocks: dict[bytes, bytes] = {}
    links = {
        "above": "../secret",
        "absolute": "/etc/passwd",
        "one": "two",
        "self": "self/x",
        "sub/far": "../../secret",
        "sub/further": "far/../../../secret",
        "two": "one",
    }
    root = build(
        [Entry(path, Kind.SYMLINK, target=target) for path, target in sorted(links.items())],
        lambda block: blocks.setdefault(block.digest, block.data),
    )
    tree = Tree(root.digest, lambda name: parse_block(blocks[name], name, blocks.__getitem__))
    folders = Folders(tree, "bad/links@1.0.0")
    for path in links:
        assert folders.info(path).type == "link"
        for look in (folders.entry, folders.list, lambda name: folders.info(name, follow=True)):
            with pytest.raises(PathNotFound):
                look(path)
            with pytest.raises(PathNotFound):
                look(f"{path}/x")


def test_a_folder_is_no_file_and_a_file_no_folder(world: World) -> None:
    """Each is refused as the other, as on a disk."""
    with pytest.raises(IsADirectoryError):
        world.files.read("tiny")
    for listing in (world.files.list, world.files.walk):
        with pytest.raises(NotADirectoryError):
            listing("run.sh")
        with pytest.raises(PathNotFound):
            listing("gone")
    assert world.files.list("empty folder") == []
    assert list(world.files.walk("empty folder")) == []


def test_many_threads_read_at_once(world: World) -> None:
    """One object serves them all."""
    whole = {path: (world.source / path).read_bytes() for path in PATHS}

    def read(number: int) -> bool:
        noise = random.Random(number)
        path = noise.choice(PATHS)
        start = noise.randrange(100_000)
        return world.files.read(path, start, start + 150_000) == whole[path][start : start + 150_000]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(200)))


def test_a_forked_child_reads_by_itself(world: World) -> None:
    """With what the parent has open, and with what it opens anew."""
    data = (world.source / "large.bin").read_bytes()
    assert world.files.read("large.bin", 0, 1_000_000) == data[:1_000_000]
    child = os.fork()
    if not child:
        os._exit(0 if world.files.read("large.bin", 500_000, 8_000_000) == data[500_000:8_000_000] else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_copy_reads_the_same_version(world: World) -> None:
    """Pickled before and after it was used, and after its dataset went on."""
    copy = pickle.loads(pickle.dumps(world.files))
    assert copy.ref == "some/data@1.0.0"
    assert copy.read("run.sh") == b"#!/bin/sh\n"
    assert pickle.loads(pickle.dumps(copy)).read("run.sh") == b"#!/bin/sh\n"
