"""A note that cannot be read says the most it could: it costs waiting and space, and ends by itself."""

import sys

import pytest

from dataver.errors import Conflict
from dataver.formats.keeping import Retired, Sweep, Turn
from dataver.repository import holds
from dataver.repository.layout import parse_object_key, retired_key, sweep_key, turn_key
from dataver.repository.publish import publish
from dataver.testing.faulty import FaultyStore

from .conftest import NOW


def damaged(note):
    """Return the bytes of a note whose end was lost."""
    return note.encode()[:-1]


def test_a_sweep_that_cannot_be_read_may_delete_anything(world, monkeypatch):
    """Writers wait for it; gc goes on beside it, and removes it when no sweep can be that old."""
    monkeypatch.setattr(holds, "PATIENCE", 0.0)
    kept = world.publish()
    world.store.put(sweep_key("1" * 32), damaged(Sweep(keys=(), owner={})))
    with pytest.raises(Conflict, match="gc"):
        world.publish()
    assert world.repo.gc(grace=NOW, delete_most=True).problems == []
    world.later(days=2)
    world.repo.gc(grace=NOW, delete_most=True)
    assert world.all_right() == [kept.ref]
    world.publish()
    assert len(world.all_right()) == 2


def test_a_list_of_retired_packs_that_cannot_be_read_names_them_all(world):
    """Until it is as old as the grace period."""
    kept, gone = world.publish(), world.publish("e")
    world.repo.delete(gone.ref)
    world.later(days=10)
    pack = next(parse_object_key(key) for key in world.keys("packs/"))
    world.store.put(retired_key("1" * 32), damaged(Retired(packs=(pack,))))
    world.later(days=10)
    plan = world.repo.plan_gc()
    assert not plan.packs and plan.waiting
    world.later(days=10)
    assert len(world.repo.plan_gc().packs) == 1
    world.repo.gc(delete_most=True)
    assert world.all_right() == [kept.ref]


def test_a_turn_that_cannot_be_read_lapses(world, monkeypatch):
    """Its owner is unknown: the next writer waits as long as for any, and publishes."""
    monkeypatch.setattr(sys.modules[publish.__module__], "PATIENCE", 0.0)
    world.publish()
    store = FaultyStore(world.store)
    world.store.put(
        turn_key(world.repo._core.records.names("d").state, 0),
        damaged(Turn(owner={}, record="1" * 32, write_id="2" * 32)),
    )
    world.publish(repo=world.open(store))
    assert any(key.endswith("-1.json") for key in store.writes)
    assert len(world.all_right()) == 2
