"""Bundling events: fewer objects, the same events; nothing is deleted before its bundle was read back."""

import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from dataver.errors import StoreError
from dataver.formats.bundle import MAX_BUNDLED
from dataver.formats.config import RepositoryConfig
from dataver.lineage.index.compact import execute_compaction, plan_compaction
from dataver.lineage.index.index import LineageIndex
from dataver.lineage.index.pull import pull
from dataver.repository import RepositoryCore as Core
from dataver.storage import LocalStore, MemoryStore
from dataver.testing.faulty import Crash, Fault, FaultyStore

from .index_models import event_id, event_of, moment

NOW = moment(24 * 60)


def repository(store):
    config = RepositoryConfig(
        id="ab" * 16, created=moment(0), write_id=secrets.token_hex(16), create_if_absent=True
    )
    return Core(store, config)


def fill(store, count, step=1.0):
    """Write events, so many hours apart; return them by id."""
    events = [
        event_of(0, number, 1, 1, number, [number])._replace(id=event_id(moment(number * step), number))
        for number in range(count)
    ]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(repository(store).events.put, events))
    return {event.id: event for event in events}


def all_events(store):
    repo = repository(store)
    found = {}
    for key in list(repo.events.keys()):
        found |= {event.id: event for event in repo.events.get(key)}
    return found


def test_a_month_becomes_one_object(tmp_path, monkeypatch):
    """The plan says what it would do; carried out, all events are there, one object a month."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path))
    store = MemoryStore()
    events = fill(store, 900)
    repo = repository(store)
    plan = plan_compaction(repo, now=NOW)
    assert plan.objects == 900
    assert plan.size == sum(map(len, store.objects.values()))
    assert [line.partition(",")[0] for line in plan.lines()] == [
        "2026-11: 720 objects",
        "2026-12: 180 objects",
    ]
    assert len(store.objects) == 900
    report = execute_compaction(repo, plan)
    assert (len(report.bundles), report.deleted, report.problems) == (2, 900, [])
    assert sorted(store.objects) == sorted(report.bundles)
    assert all_events(store) == events
    assert plan_compaction(repo, now=NOW).objects == 0


def test_young_events_and_small_months_stay():
    """Readers look for young events one by one; a few objects are not worth it."""
    store = MemoryStore()
    fill(store, 200)
    repo = repository(store)
    plan = plan_compaction(repo, now=moment(150), older_than=timedelta(hours=50))
    assert plan.objects == 101
    assert plan_compaction(repo, now=moment(150), older_than=timedelta(hours=50), least=102).objects == 0
    execute_compaction(repo, plan)
    assert len(store.objects) == 100


@pytest.mark.slow
def test_ten_thousand_events_become_two_objects(tmp_path):
    """As many as two bundles hold; an index made from these has the same rows."""
    store = LocalStore(tmp_path / "repository")
    events = fill(store, 2 * MAX_BUNDLED, step=0.05)
    before = rows(store, tmp_path / "before.sqlite")
    report = execute_compaction(repository(store), plan_compaction(repository(store), now=NOW))
    assert (len(report.bundles), report.deleted, report.problems) == (2, 2 * MAX_BUNDLED, [])
    assert [info.key for info in store.list("lineage/")] == sorted(report.bundles)
    assert all_events(store) == events
    assert rows(store, tmp_path / "after.sqlite") == before and len(before) == 2 * MAX_BUNDLED


def rows(store, path):
    """Return the links in an index made from the repository."""
    with LineageIndex.open("compacted", path) as index:
        pull(repository(store), index, now=NOW)
        return index.db.execute("SELECT * FROM links ORDER BY id").fetchall()


def test_small_bundles_join_a_larger_one():
    """Compacting often does not leave many small bundles behind."""
    store = MemoryStore()
    events = fill(store, 50)
    execute_compaction(repository(store), plan_compaction(repository(store), now=NOW))
    events |= fill(store, 150, step=0.5)
    report = execute_compaction(repository(store), plan_compaction(repository(store), now=NOW))
    assert len(report.bundles) == 1
    assert all_events(store) == events
    assert len(store.objects) == 1


@pytest.mark.slow
@pytest.mark.parametrize("fault", list(Fault))
def test_nothing_is_lost_at_any_step(fault):
    """Every write fails in turn in every way: all events stay readable, and a repeat ends with one object."""
    writes = 1
    while True:
        inner = MemoryStore()
        events = fill(inner, 8)
        store = FaultyStore(inner, {writes: fault})
        repo = repository(store)
        try:
            execute_compaction(repo, plan_compaction(repo, now=NOW, least=2))
        except (StoreError, Crash):
            pass
        assert all_events(inner) == events
        repo = repository(inner)
        execute_compaction(repo, plan_compaction(repo, now=NOW, least=2))
        assert all_events(inner) == events
        assert len(inner.objects) == 1
        if len(store.writes) < writes:
            break
        writes += 1
    assert writes > 9


def test_what_cannot_be_read_stays_where_it_is():
    """Damage, a newer format and a contradiction are named and neither bundled nor deleted."""
    store = MemoryStore()
    events = fill(store, 60)
    keys = sorted(store.objects)
    store.objects[keys[3]] = store.objects[keys[3]][:-1]
    store.objects[keys[4]] = store.objects[keys[4]].replace(b'"format":1', b'"format":2')
    kept = {key: store.objects[key] for key in keys[3:5]}
    repo = repository(store)
    report = execute_compaction(repo, plan_compaction(repo, now=NOW))
    assert [key for key, _ in report.problems] == keys[3:5]
    assert report.deleted == 58
    for key, data in kept.items():
        assert store.objects[key] == data
        del store.objects[key]
    assert all_events(store).items() <= events.items()
    assert len(all_events(store)) == 58


def test_two_that_bundle_at_once_lose_nothing():
    """Another machine carries out the same plan first: the objects are gone, their bundle is there."""
    store = MemoryStore()
    events = fill(store, 100)
    plans = [plan_compaction(repository(store), now=NOW) for _ in range(2)]
    first, second = (execute_compaction(repository(store), plan) for plan in plans)
    assert (first.deleted, second.deleted, second.problems) == (100, 0, [])
    assert all_events(store) == events


def test_a_bundle_that_reads_back_differently_deletes_nothing():
    """A store that loses bytes between writing and reading is found out before it costs anything."""

    class Lossy(MemoryStore):
        def create(self, key, data):
            super().create(key, bytes(data)[: len(data) // 2] if key.endswith(".bundle") else data)

    store = Lossy()
    fill(store, 60)
    with pytest.raises(Exception, match="damaged"):
        execute_compaction(repository(store), plan_compaction(repository(store), now=NOW))
    assert sum(key.endswith(".json") for key in store.objects) == 60
