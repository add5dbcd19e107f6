"""Reading one file: whole, in part, and never wrong."""

import random

import pytest

from dataver.checkout import read_file
from dataver.errors import IntegrityError, InvalidInput

from .conftest import write


@pytest.fixture(params=[0, 1, 70_000, 1_000_000, 20_000_000])
def file(request, world):
    data = random.Random(3).randbytes(request.param)
    write(world.source / "f", data)
    return world.repo, world.version().entry("f"), data


def test_a_file_reads_as_it_was(file):
    """All pieces together are the file."""
    repo, entry, data = file
    assert b"".join(read_file(repo._core, entry)) == data


def test_any_part_reads_as_a_slice(file):
    """A part is the slice of the file, and reads little more than that."""
    repo, entry, data = file
    noise = random.Random(4)
    for _ in range(10):
        start = noise.randrange(len(data) + 1)
        length = noise.randrange(len(data) - start + 1)
        assert b"".join(read_file(repo._core, entry, start, length)) == data[start : start + length]


def test_a_part_beyond_the_end_is_refused(file):
    """There are no bytes behind the last one."""
    repo, entry, data = file
    for start, length in ((0, len(data) + 1), (len(data) + 1, 0), (-1, 1)):
        with pytest.raises(InvalidInput):
            read_file(repo, entry, start, length)


def test_a_wrong_file_never_ends_well(file):
    """With another digest, a small file gives no byte at all, and a large one not all."""
    repo, entry, data = file
    got = []
    with pytest.raises(IntegrityError, match="'f'"):
        got.extend(len(piece) for piece in read_file(repo._core, entry._replace(digest=bytes(32))))
    assert not got or (len(data) > 16_000_000 and sum(got) < len(data))
