"""What du says is what the store counts, and what deleting frees."""

import os

from .conftest import NOW

STORED = ("packs/", "trees/")


def test_everything_in_the_store_is_accounted_for(world):
    """Needed, unneeded and other bytes add up to the size of the store."""
    for _ in range(3):
        world.publish()
    world.publish("e/f")
    world.repo.delete("d@1.0.1")
    report = world.repo.du()
    assert report.needed + report.unneeded == world.size(*STORED)
    assert report.stored == world.size("")
    assert report.stored == report.needed + report.unneeded + report.other
    assert report.unneeded > 50_000


def test_unique_bytes_are_what_deleting_frees(world):
    """Of a version, and of a whole dataset; to the byte."""
    files = {f"{number}": os.urandom(30_000) for number in range(9)}
    for _ in range(3):
        world.publish(files=files | {"changing": os.urandom(100_000)})
    world.publish("other", files={"changing": os.urandom(10), "0": files["0"]})
    for ref, least in (("d@1.0.1", 90_000), ("d@1.0.0", 0)):
        (usage,) = world.repo.du(ref).versions
        before = world.size(*STORED)
        world.repo.delete(ref)
        world.repo.gc(grace=NOW, delete_most=True)
        assert before - world.size(*STORED) == usage.unique >= least
        assert usage.shared > 100_000
    (usage,) = world.repo.du("d").datasets
    before = world.size(*STORED)
    world.repo.delete("d", entire_dataset=True)
    world.repo.gc(grace=NOW, delete_most=True)
    assert before - world.size(*STORED) == usage.unique
    assert world.all_right() == ["other@1.0.0"]


def test_logical_and_compressed_sizes(world):
    """A version of compressible bytes; its copy under another name shares all of it."""
    files = {"text": b"all work and no play " * 20_000}
    world.publish(files=files)
    world.publish("copy", files=files)
    first, second = world.repo.du().versions
    assert first.logical == second.logical == 420_000
    assert first.compressed == second.compressed < 20_000
    assert first.unique == second.unique == 0
    assert first.shared == first.total > first.compressed


def test_added_bytes_are_what_a_version_brought(world):
    """Of all versions they add up to what is needed; the same content again adds nothing but its tree."""
    files = {f"{number}": os.urandom(30_000) for number in range(9)}
    for number in range(3):
        world.publish(files=files | {"changing": os.urandom(100_000 * number + 1)})
    world.publish("other", files=files)
    report = world.repo.du()
    added = [each.added for each in report.versions]
    assert sum(added) == report.needed == sum(each.added for each in report.datasets)
    assert 270_000 < added[0] < 290_000
    assert 100_000 < added[1] < 110_000
    assert added[3] < 2_000
