"""Sparse files are stored without their holes, and fetched with them."""

import os
import random
import shutil

import pytest

import dataver
from dataver.checkout.cached_source import clone
from dataver.checkout.selection import FetchRequest, written_size
from dataver.hashing import digest
from dataver.storage.holes import LEAST, ZEROS, data_spans, is_zero, nonzero_spans

MB = 1 << 20
LAYOUTS = {
    "only a hole": (24 * MB, []),
    "data in the middle": (24 * MB, [(9 * MB + 17, 100_000)]),
    "data at both ends": (24 * MB, [(0, 70_000), (24 * MB - 5, 5)]),
    "holes of any length": (24 * MB, [(at, 30_000) for at in range(0, 8 * MB, 200_000)]),
    "holes at odd places": (24 * MB - 333, [(5 * MB - 4095, 2 * MB), (11 * MB + 1, 3 * MB + 3)]),
}


def make(path, layout):
    """Write a sparse file, and return what it holds."""
    size, pieces = layout
    dice = random.Random(size)
    content = bytearray(size)
    with path.open("wb") as file:
        for at, length in pieces:
            content[at : at + length] = data = dice.randbytes(length)
            file.seek(at)
            file.write(data)
        file.truncate(size)
    return bytes(content)


def space(path):
    return 512 * path.stat().st_blocks


@pytest.fixture
def repo(tmp_path, monkeypatch):
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    (tmp_path / "source").mkdir()
    return dataver.init(tmp_path / "repo")


def publish(repo, tmp_path):
    return repo.sync(tmp_path / "source", "d", workspace=tmp_path).version


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_holes_are_kept_and_the_digest_is_that_of_the_bytes(repo, tmp_path, layout):
    """In the cache, in a copy from there and in a copy from the repository."""
    source = tmp_path / "source" / "x"
    content = make(source, layout)
    version = publish(repo, tmp_path)
    (entry,) = version.entries()
    assert entry.digest == digest(content)
    for dest in ("from the repository", None, "from the cache"):
        copy = repo.fetch(version.ref, dest=dest and tmp_path / dest).path / "x"
        assert copy.read_bytes() == content
        assert space(copy) <= space(source) + 2 * LEAST + 8192 * len(layout[1])


def test_a_changed_sparse_file_stores_and_fetches_what_changed(repo, tmp_path):
    """Data in a hole, a hole in data, a longer end."""
    source = tmp_path / "source" / "x"
    make(source, (24 * MB, [(0, 2 * MB), (10 * MB, 2 * MB)]))
    repo.fetch(publish(repo, tmp_path).ref)
    with source.open("r+b") as file:
        file.seek(5 * MB + 3)
        file.write(b"more")
        file.truncate(40 * MB)
    version = publish(repo, tmp_path)
    own = repo.fetch(version.ref, dest=tmp_path / "own").path / "x"
    assert own.read_bytes() == source.read_bytes()
    assert space(own) < 6 * MB
    assert repo.fetch(version.ref).path.joinpath("x").read_bytes() == source.read_bytes()


def test_holes_are_one_chunk_in_every_file_and_draft(repo, tmp_path):
    """The repository grows by little, whatever their number and length."""
    for number in range(4):
        make(tmp_path / "source" / f"{number}", ((20 + number) * MB, [(number * MB, 5)]))
    first = repo.sync(tmp_path / "source", "a", workspace=tmp_path)
    assert first.add.new_size < 5 * MB
    make(tmp_path / "source" / "one more", (33 * MB, [(7, 5)]))
    again = repo.sync(tmp_path / "source", "b", workspace=tmp_path)
    assert again.add.new_size < LEAST
    assert sum(path.stat().st_size for path in (tmp_path / "repo").rglob("*") if path.is_file()) < LEAST


def test_written_zeros_become_holes(repo, tmp_path):
    """A file that is full of them takes no space where it is fetched."""
    (tmp_path / "source" / "x").write_bytes(b"begin" + bytes(16 * MB) + b"end")
    fetched = repo.fetch(publish(repo, tmp_path).ref).path / "x"
    assert fetched.read_bytes() == (tmp_path / "source" / "x").read_bytes()
    assert space(fetched) < MB


class Stop:
    """Ends a fetch when the first bytes have come."""

    def start(self, *_totals):
        pass

    def advance(self, *_counts, **_more):
        raise KeyboardInterrupt


def test_an_interrupted_fetch_of_a_sparse_file_is_continued(repo, tmp_path):
    """What is verified in the end is all of it, holes too."""
    content = make(tmp_path / "source" / "x", (64 * MB, [(3 * MB, 12 * MB), (22 * MB, 12 * MB)]))
    version = publish(repo, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        repo.fetch(version.ref, progress=Stop())
    fetched = repo.fetch(version.ref).path / "x"
    assert fetched.read_bytes() == content
    assert space(fetched) < 26 * MB


@pytest.mark.parametrize("share", [True, False])
def test_a_clone_keeps_holes(tmp_path, share):
    """At the beginning, in the middle and at the end."""
    content = make(tmp_path / "x", (24 * MB, [(6 * MB, MB), (12 * MB, MB)]))
    source, target = os.open(tmp_path / "x", os.O_RDONLY), os.open(tmp_path / "y", os.O_RDWR | os.O_CREAT)
    clone(source, target, len(content), share=share)
    os.close(source)
    os.close(target)
    assert (tmp_path / "y").read_bytes() == content
    assert space(tmp_path / "y") <= space(tmp_path / "x") + LEAST


def test_data_spans_leave_out_holes_that_are_long_enough(tmp_path):
    """A shorter one joins its neighbours."""
    make(tmp_path / "x", (24 * MB, [(MB, MB), (2 * MB + LEAST // 2, LEAST), (8 * MB, MB)]))
    with (tmp_path / "x").open("rb") as file:
        spans = list(data_spans(file.fileno(), 24 * MB))
    assert spans == [(MB, 2 * MB + LEAST // 2 + LEAST), (8 * MB, 9 * MB)]
    shutil.rmtree(tmp_path)


def test_only_long_runs_of_nothing_but_zeros_are_holes():
    """Any other byte, anywhere, counts; so does the length."""
    assert is_zero(ZEROS)
    assert is_zero(ZEROS[:LEAST])
    assert not is_zero(ZEROS[: LEAST - 1])
    for at in (0, 1, LEAST - 1, MB, 2 * MB, 3 * MB + 5, 4 * MB - 1):
        data = bytearray(4 * MB)
        data[at] = 1
        assert not is_zero(memoryview(data))


@pytest.mark.parametrize("size", [1, LEAST, LEAST + 1, 5 * LEAST])
def test_what_is_written_ends_with_the_last_byte_and_leaves_out_long_runs_of_zeros(size):
    """A file that is made of it has its length, and everything that is not zero."""
    assert list(nonzero_spans(ZEROS[:size])) == [(max(0, (size - 1) // LEAST * LEAST), size)]
    data = bytearray(size)
    data[0] = data[size // 2] = 1
    written = bytearray(size)
    for start, end in nonzero_spans(memoryview(data)):
        written[start:end] = data[start:end]
    assert written == data


def test_the_space_that_a_fetch_takes_is_that_of_the_data(repo, tmp_path):
    """Of a sparse file in a large version, holes are not counted; of other files, every byte."""
    source = tmp_path / "source"
    make(source / "sparse", (64 * MB, [(9 * MB, MB)]))
    (source / "dense").write_bytes(random.Random(1).randbytes(12 * MB))
    version = publish(repo, tmp_path)
    wish = FetchRequest(repo._core, repo._core.resolve(version).record.tree)
    gigabyte = 1 << 30
    assert written_size(wish, version.size) == version.size == 76 * MB  # too little to be looked at
    spared = gigabyte - written_size(wish, gigabyte)
    assert 48 * MB <= spared <= 60 * MB
