"""Restoring: old content becomes the latest version, in one step and without data."""

import itertools
import sys

import pytest

from dataver.errors import Conflict, DataverError, InvalidInput, NotFound
from dataver.repository.layout import HOLDS
from dataver.repository.publish import publish
from dataver.testing.faulty import Crash, Fault, FaultyStore


class Interrupted(FaultyStore):
    """Calls a function before the writer's hold is put."""

    def __init__(self, inner, meanwhile):
        super().__init__(inner)
        self.meanwhile = meanwhile

    def put(self, key, data):
        if key.startswith(HOLDS):
            self.meanwhile()
        super().put(key, data)


def test_the_content_of_an_old_version_becomes_the_latest(world):
    """The parent is the latest version, the message names the old one, and no pack or block is written."""
    old = world.publish("cats", message="first", metadata={"camera": 7})
    last = world.publish("cats")
    before = set(world.inner.objects)
    report = world.repo.version("cats@1.0.0").restore()
    new = report.version
    assert (new.ref, new.digest, report.already) == ("cats@1.0.2", old.digest, False)
    assert [each.record for each in new.parents] == [last.record_id]
    assert (new.message, new.metadata, new.file_count, new.size) == (
        "Restore cats@1.0.0",
        {"camera": 7},
        1,
        old.size,
    )
    assert world.repo.version("cats") == new
    assert not [key for key in set(world.inner.objects) - before if key.startswith(("packs", "trees"))]
    assert new.diff().summary()["modified"] == 1


def test_restoring_what_is_there_makes_no_version(world):
    """A repeated call, as after a lost reply, changes nothing."""
    old, _ = world.publish("cats"), world.publish("cats")
    first = old.restore("again")
    assert first.version.message == "again (restores cats@1.0.0)"
    again = old.restore()
    assert (again.version, again.already) == (first.version, True)
    assert len(world.repo.versions("cats")) == 3


def test_labels_and_metadata_are_the_callers(world):
    """A chosen label is used, and one that is taken is refused before anything is written."""
    old, _ = world.publish("cats"), world.publish("cats")
    world.repo.tag("cats", "best")
    for label in ("1.0.1", "best"):
        with pytest.raises(Conflict):
            old.restore(label=label)
    with pytest.raises(InvalidInput):
        old.restore(metadata={"when": object()})
    with pytest.raises(InvalidInput):
        old.restore(bump="all")
    assert len(world.repo.versions("cats")) == 2
    new = old.restore(bump="major", metadata={}).version
    assert (new.label, new.metadata) == ("2.0.0", {})
    assert not [key for key in world.inner.objects if key.startswith(HOLDS)]


def test_a_version_published_meanwhile_is_the_parent(world):
    """The restored version follows the version that another writer published."""
    old, _ = world.publish("cats"), world.publish("cats")
    repo = world.open(Interrupted(world.inner, lambda: world.publish("cats")))
    new = repo.version(old.ref).restore().version
    assert (new.ref, new.parents[0].label) == ("cats@1.0.3", "1.0.2")


def test_a_version_deleted_meanwhile_is_not_restored(world):
    """Its objects may be deleted, so nothing is published."""
    old, _ = world.publish("cats"), world.publish("cats")
    repo = world.open(Interrupted(world.inner, old.delete))
    with pytest.raises(NotFound, match=r"cats@1\.0\.0 was deleted"):
        repo.version(old.ref).restore()
    assert [each.ref for each in world.repo.versions("cats")] == ["cats@1.0.1"]


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.REPLY_LOST, Fault.CRASH_BEFORE, Fault.CRASH_AFTER])
def test_an_interrupted_restore_is_completed_by_repeating_it(world, fault, monkeypatch):
    """At every write: afterwards there is exactly one version more."""
    monkeypatch.setattr(sys.modules[publish.__module__], "PATIENCE", 0.0)  # of who meets its own old turn
    old = world.publish("cats")
    for number in itertools.count(1):
        last = world.publish("cats")
        store = FaultyStore(world.inner, {number: fault})
        try:
            world.open(store).version(old.ref).restore()
        except (Crash, DataverError):
            world.open(world.inner).version(old.ref).restore()
        after = world.repo.version("cats")
        assert (after.digest, after.parents[0].record) == (old.digest, last.record_id)
        if number > len(store.writes):
            break
    assert number > 3
