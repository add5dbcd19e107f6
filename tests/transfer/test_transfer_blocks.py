"""Blocks that are stored against others: as they are where their base serves, plainly elsewhere."""

import pytest

from dataver.errors import IntegrityError
from dataver.formats.block_object import unpack_block


def rename(world, number):
    (world.folder / f"folder/{number:04d}").write_bytes(b"changed %d" % number)


@pytest.fixture
def many(world):
    """A leaf of 1,500 files, and a second version that differs in one of them."""
    for number in range(1500):
        path = world.folder / f"folder/{number:04d}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"%d" % number)
    world.first = world.publish("d")
    rename(world, 700)
    world.second = world.publish("d")
    return world


def base_of(end, version):
    """Return the base of a version's root, or None where it is stored plainly."""
    digest = end.open()._core.records.get(version.dataset, version.label).record.tree
    key = f"trees/{digest.hex()[:2]}/{digest.hex()}"
    try:
        unpack_block(end.inner.objects[key], digest, None)
    except IntegrityError:
        return end.inner.objects[key][16:48]
    return None


def test_a_delta_moves_as_it_is_with_its_base(many):
    """Both versions: every block is copied byte by byte; and so where the base came earlier."""
    assert base_of(many.source, many.second) == many.first.tree.digest
    many.source.open().push(many.target.open(), "d@1.0.0")
    report = many.source.open().push(many.target.open(), verify=True)
    assert report.problems == []
    assert many.target.objects("trees/") == many.source.objects("trees/")


def test_a_delta_without_its_base_is_stored_plainly(many):
    """The second version alone: it is whole, and no block of the first comes along."""
    report = many.source.open().push(many.target.open(), "d@1.0.1", verify=True)
    assert (report.problems, report.blocks) == ([], 1)
    assert base_of(many.target, many.second) is None
    assert len(many.target.keys("trees/")) == 1
    assert many.target.open().version("d").read("folder/0700") == b"changed 700"


def test_a_base_that_is_a_delta_in_the_target_does_not_serve(many):
    """A base is never a delta itself, whoever wrote it: what needs one is stored plainly."""
    target = many.target.open()
    for number in (700, 100):
        rename(many, number)
    (many.folder / "folder/0700").write_bytes(b"700")
    (many.folder / "folder/0100").write_bytes(b"other")
    earlier = many.publish("e", target)
    (many.folder / "folder/0100").write_bytes(b"100")
    theirs = many.publish("e", target)
    assert theirs.tree.digest == many.first.tree.digest
    assert base_of(many.target, theirs) == earlier.tree.digest
    report = many.source.open().push(many.target.open(), "d@1.0.1", verify=True)
    assert report.problems == []
    assert base_of(many.target, many.second) is None
