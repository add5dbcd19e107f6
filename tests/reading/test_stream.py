"""A file of a version as an open file: every way to read it gives what a file on disk gives."""

import gc
import io
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from dataver.reading.stream import FarReader

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


@pytest.fixture(params=[False, True], ids=["far", "fetched"])
def data(request: pytest.FixtureRequest, world: World) -> bytes:
    """What `large.bin` holds; the version is fetched, or is not."""
    if request.param:
        world.repo.fetch("some/data@1.0.0")
        assert world.files.fetched
    return (world.source / "large.bin").read_bytes()


@pytest.fixture
def thread() -> Iterator[Callable[..., Any]]:
    """Calls something on a thread: `thread("a", file.read, 10)`; each name is one thread."""
    with ExitStack() as ends:
        pools: dict[str, ThreadPoolExecutor] = {}

        def call(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
            pool = pools.get(name) or pools.setdefault(name, ends.enter_context(ThreadPoolExecutor(1)))
            return pool.submit(function, *arguments).result()

        yield call


def test_each_thread_that_seeks_has_its_position(
    world: World, data: bytes, thread: Callable[..., Any]
) -> None:
    """Whatever others seek and read in between, by any way to read."""
    with world.files.open("large.bin") as file:
        places = {"a": 10, "b": 7_000_000, "c": 300_000, "d": 4}
        for name, place in places.items():
            assert thread(name, file.seek, place) == place
        for size in (5, 400_000, 70_000):
            for name, place in places.items():
                assert thread(name, file.read, size) == data[place : place + size]
                places[name] = place + size
        buffer = bytearray(100)
        for name, place in places.items():
            assert thread(name, file.tell) == place
            assert thread(name, file.seek, -5, io.SEEK_CUR) == place - 5
            assert thread(name, file.readinto, buffer) == 100
            assert buffer == data[place - 5 : place + 95]
            line = data.index(b"\n", place + 95) + 1
            assert thread(name, file.readline) == data[place + 95 : line]


def test_a_file_is_passed_from_thread_to_thread(
    world: World, data: bytes, thread: Callable[..., Any]
) -> None:
    """As thread pools do it: one seeks, another reads, and each goes on where the last one ended."""
    with world.files.open("large.bin") as file:
        expected = 0
        for name, size in (("a", 10), ("b", 300_000), ("a", 7), ("c", 9)):
            assert thread(name, file.read, size) == data[expected : expected + size]
            expected += size
        for sought, (first, second) in enumerate([("a", "b"), ("c", "a"), ("b", "b"), ("a", "c")]):
            assert thread(first, file.seek, sought * 1_000_000) == sought * 1_000_000
            expected = sought * 1_000_000
            for name in (second, first, "b"):
                assert thread(name, file.read, 50_000) == data[expected : expected + 50_000]
                expected += 50_000
        assert file.tell() == expected


def test_threads_that_read_on_without_a_lock_share_the_bytes(world: World, data: bytes) -> None:
    """None is read twice, and none is left out."""
    with world.files.open("large.bin") as file, ThreadPoolExecutor(8) as pool:
        parts = pool.map(lambda _: file.read(50_000), range(-(-len(data) // 50_000)))
        found = list(parts)
    assert sorted(found) == sorted(data[at : at + 50_000] for at in range(0, len(data), 50_000))


def test_twenty_threads_seek_and_read_one_file(world: World, data: bytes) -> None:
    """Each gets the bytes of the place it sought; threads that ended leave nothing behind."""

    def some(seed: int) -> bool:
        noise = random.Random(seed)
        for _ in range(30):
            place, size = noise.randrange(len(data)), noise.choice([1, 4_000, 200_000])
            file.seek(place)
            if file.read(size) != data[place : place + size]:
                return False
        return True

    with world.files.open("large.bin") as file:
        for _ in range(2):
            with ThreadPoolExecutor(20) as pool:
                assert all(pool.map(some, range(20)))
        gc.collect()
        assert sum(isinstance(each, FarReader | io.BufferedReader) for each in gc.get_objects()) < 10
