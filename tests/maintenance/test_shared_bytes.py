"""Which bytes of a file are stored once for it and another file."""

import os

import pytest

from dataver.maintenance.shared_bytes import shared_bytes


def _pair(world, old, new, beside=()):
    files = {f"{number}": data for number, data in enumerate(beside)}
    before = world.publish(files={**files, "x": old})
    after = world.publish(files={**files, "x": new})
    return world.repo._core.packs, before.tree.get("x"), after.tree.get("x")


def test_ranges_are_those_of_equal_bytes(world):
    """An insertion in the middle: both ends are shared, and nothing that differs."""
    data, added = os.urandom(3_000_000), os.urandom(100_000)
    new = data[:1_000_000] + added + data[1_000_000:]
    (begin, middle), (rest, end) = shared_bytes(*_pair(world, data, new))
    assert (begin, end) == (0, len(new))
    assert 900_000 < middle <= 1_000_000
    assert 1_100_000 <= rest < 1_200_000


def test_small_files_in_one_frame_share_only_equal_bytes(world):
    """A frame holds many small files; another file's place in it is not shared."""
    packs, old, new = _pair(world, b"one" * 50, b"two" * 50, [os.urandom(300) for _ in range(5)])
    assert shared_bytes(packs, old, new) == []
    assert shared_bytes(packs, new, new) == [(0, 150)]


@pytest.mark.parametrize(("old", "new"), [(b"", b"x"), (b"x", b"")])
def test_empty_files_share_nothing(world, old, new):
    """Files without bytes have no extents."""
    assert shared_bytes(*_pair(world, old, new)) == []
