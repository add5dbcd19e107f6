"""A file of a version as an open file: every way to read it gives what a file on disk gives."""

import io
import random

import pytest

from .conftest import World


def test_reading_on_and_on_gives_the_file(world: World) -> None:
    """With steps of any size, so that windows begin and end anywhere."""
    data = (world.source / "large.bin").read_bytes()
    for step in (1_000, 70_001, 262_144, 5_000_000):
        with world.files.open("large.bin") as file:
            assert b"".join(iter(lambda: file.read(step), b"")) == data  # noqa: B023


def test_it_does_what_a_file_on_disk_does(world: World) -> None:
    """A thousand random operations give the same on both."""
    noise = random.Random(3)
    for path in ("large.bin", "text.csv", "nothing"):
        size = (world.source / path).stat().st_size
        with world.files.open(path) as one, (world.source / path).open("rb") as other:
            for _ in range(300):
                kind = noise.randrange(7)
                count = noise.choice([0, 1, 100, 5_000, 300_000, size])
                if kind == 0:
                    place = noise.randrange(size + 10)
                    assert one.seek(place) == other.seek(place)
                elif kind == 1:
                    assert one.seek(-min(count, size), io.SEEK_END) == other.seek(
                        -min(count, size), io.SEEK_END
                    )
                elif kind == 2:
                    assert one.read(count) == other.read(count)
                elif kind == 3:
                    here, there = bytearray(count), bytearray(count)
                    assert one.readinto(here) == other.readinto(there)
                    assert here == there
                elif kind == 4:
                    assert one.readline() == other.readline()
                elif kind == 5:
                    got = one.read1(count)
                    assert got == other.read(len(got))
                    assert got or count == 0 or one.tell() >= size
                else:
                    got = one.peek(10)
                    assert other.peek(10)[: len(got)] == got[: len(other.peek(10))]
                assert one.tell() == other.tell()


def test_text_reads_line_by_line(world: World) -> None:
    """Wrapped as text, as `open` does it."""
    with io.TextIOWrapper(world.files.open("text.csv")) as one, (world.source / "text.csv").open() as other:
        assert list(one) == list(other)


def test_a_closed_file_reads_no_more(world: World) -> None:
    """And there is nothing to be written, ever."""
    file = world.files.open("run.sh")
    assert (file.readable(), file.seekable(), file.writable()) == (True, True, False)
    with pytest.raises(io.UnsupportedOperation):
        file.write(b"x")
    with pytest.raises(ValueError, match="no position"):
        file.seek(-1)
    file.close()
    for use in (file.read, file.tell, file.peek, lambda: file.seek(0)):
        with pytest.raises(ValueError, match="closed"):
            use()
