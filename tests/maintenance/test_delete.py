"""Deleting: names go at once, children and lineage stay, a label is never used again."""

import itertools
from datetime import timedelta

import pytest

from dataver.errors import Conflict, DataverError, InvalidInput, NotFound
from dataver.repository.layout import record_key, tombstone_key
from dataver.testing.faulty import Crash, Fault, FaultyStore

from .conftest import NOW


def test_a_deleted_version_is_gone_by_name_and_its_child_is_whole(world):
    """The tombstone says who, when and why; the record in it is the record that was."""
    first, second = world.publish(), world.publish()
    (tombstone,) = world.repo.delete(first.ref, reason="wrong labels")
    assert tombstone.record == first.record_id
    assert world.repo._core.records.tombstone("d", "1.0.0") == tombstone
    assert tombstone.was.message == first.message
    with pytest.raises(NotFound, match=r"was deleted on .* wrong labels"):
        world.repo.version(first.ref)
    assert world.all_right() == [second.ref]
    assert [each.ref for each in world.repo.versions("d")] == [second.ref]


def test_the_plan_tells_of_tags_and_children(world):
    """What depends on a version is shown before anything happens."""
    first = world.publish()
    child = world.publish()
    world.repo.tag(first.ref, "production")
    plan = world.repo.plan_delete(first.ref)
    (doomed,) = plan.versions
    assert (doomed.ref, doomed.tags, doomed.children) == ("d@1.0.0", ["production"], [child.ref])
    assert plan.tagged == ["d@production"]
    assert world.repo.version(first.ref) == first


def test_a_tagged_version_goes_by_force_only(world):
    """Nothing was deleted before; afterwards the tag points to nothing and its history stays."""
    version = world.publish()
    world.repo.tag(version.ref, "production")
    with pytest.raises(Conflict, match="production"):
        world.repo.delete(version.ref)
    assert world.all_right() == [version.ref]
    world.repo.delete(version.ref, force=True)
    assert world.repo.tagged("d") == {}
    assert [move.label for move in world.repo.tag_history("d", "production")] == ["1.0.0", None]


def test_several_versions_go_at_once(world):
    """Versions of several datasets are deleted together, each once; a bad name deletes nothing."""
    first, second, other = world.publish(), world.publish(), world.publish("e")
    with pytest.raises(NotFound):
        world.repo.delete([first, "d@9.9.9"])
    gone = world.repo.delete([first, "d@1.0.0", other])
    assert [each.ref for each in gone] == [first.ref, other.ref]
    assert world.all_right() == [second.ref]
    with pytest.raises(InvalidInput):
        world.repo.delete([])


def test_a_rule_deletes_all_but_the_newest_versions(world):
    """A tagged version is kept and named; what only the rule's number keeps is not named."""
    refs = [world.publish().ref for _ in range(5)]
    world.repo.tag(refs[1], "production")
    plan = world.repo.plan_delete("d", keep_last=2)
    assert [each.ref for each in plan.versions] == [refs[0], refs[2]]
    assert plan.kept == {refs[1]: "tagged production"}
    world.repo.delete("d", keep_last=2, force=True)
    assert world.all_right() == [refs[1], *refs[3:]]
    assert world.repo.delete("d", keep_last=2) == []
    with pytest.raises(InvalidInput):
        world.repo.delete("d", keep_last=0)


def test_a_rule_deletes_old_versions_but_never_the_latest(world):
    """Ages are measured by the store's clock, and both rules together delete what both choose."""
    refs = [world.publish().ref for _ in range(4)]
    assert world.repo.plan_delete("d", older_than=timedelta(days=30)).versions == []
    world.later(days=31)
    both = world.repo.plan_delete("d", older_than=timedelta(days=30), keep_last=3)
    assert [each.ref for each in both.versions] == refs[:1]
    old = world.repo.plan_delete("d", older_than=timedelta(days=30))
    assert [each.ref for each in old.versions] == refs[:3]
    assert old.kept == {refs[3]: "the latest version"}
    world.repo.delete("d", older_than=timedelta(days=30))
    assert world.all_right() == refs[3:]


def test_a_label_is_never_used_again(world):
    """Neither by counting on nor by choice: other machines may remember what it meant."""
    world.publish()
    world.publish()
    world.repo.delete("d@1.0.1")
    assert world.publish().ref == "d@1.0.2"
    with pytest.raises(Conflict, match=r"1\.0\.1 was deleted"):
        world.publish(label="1.0.1")


def test_a_whole_dataset_goes_and_others_stay(world):
    """With all its versions; asking for it again says that it is not there."""
    world.publish()
    world.publish()
    other = world.publish("other")
    assert [each.ref for each in world.repo.plan_delete("d", entire_dataset=True).versions] == [
        "d@1.0.0",
        "d@1.0.1",
    ]
    assert len(world.repo.delete("d", entire_dataset=True)) == 2
    assert [each.name for each in world.repo.datasets()] == ["other"]
    assert world.all_right() == [other.ref]
    with pytest.raises(NotFound):
        world.repo.delete("d", entire_dataset=True)


def test_a_version_is_deleted_with_its_tombstone_whatever_becomes_of_the_record(world):
    """A crash between the two leaves a record that counts for nothing; gc removes it."""
    version = world.publish()
    crashing = FaultyStore(world.store, {2: Fault.CRASH_BEFORE})
    with pytest.raises(Crash):
        world.open(crashing).delete(version.ref)
    assert world.keys(record_key("d", "1.0.0"), tombstone_key("d", "1.0.0")) != []
    assert world.repo.datasets() == []
    assert world.publish().ref == "d@1.0.1"
    assert world.repo.gc(grace=NOW, delete_most=True).leftovers == 1
    assert world.keys("datasets/d/versions/1.0.0.json") == []
    assert world.all_right() == ["d@1.0.1"]


@pytest.mark.slow
@pytest.mark.parametrize("fault", list(Fault), ids=lambda fault: fault.name.lower())
def test_a_fault_at_any_write_leaves_the_version_whole_or_deleted_and_a_repeat_finishes(world, fault):
    """Invariant 4, for every write of a deletion."""
    kept = world.publish("kept")
    for number in itertools.count(1):
        version = world.publish()
        world.repo.tag(version.ref, "production")
        store = FaultyStore(world.store, {number: fault})
        try:
            world.open(store).delete(version.ref, force=True)
        except (DataverError, Crash):
            assert kept.ref in world.all_right()
        if version.label in world.repo._core.records.labels("d"):
            world.repo.delete(version.ref, force=True)
        assert world.all_right() == [kept.ref]
        if len(store.writes) < number:
            assert number > 3
            return


def test_two_deletions_at_once_leave_one_tombstone(world):
    """The second finds that it is done."""
    version = world.publish()
    plan = world.repo.plan_delete(version.ref)
    first = world.repo.delete(version.ref, reason="first")
    from dataver.maintenance.delete import execute_delete

    assert execute_delete(world.repo._core, plan, author="b", reason="second") == first
