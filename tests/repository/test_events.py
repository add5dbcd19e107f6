"""Events in a store: written once, found by time, bounded before they are read."""

from datetime import UTC, date, datetime

import pytest
import zstandard

from dataver.errors import Conflict, FormatTooNew, IntegrityError, InvalidInput, NotFound, StoreError
from dataver.formats.bundle import MAX_BUNDLE
from dataver.formats.canonical_json import MAX_JSON
from dataver.formats.event import Event, RunFacts, new_event_id
from dataver.repository.events import Events
from dataver.repository.layout import event_key, events_after, parse_event_key
from dataver.storage import MemoryStore
from dataver.testing.faulty import Fault, FaultyStore


def event_at(moment, number=0):
    milliseconds = int(moment.timestamp() * 1000)
    run = RunFacts(key=f"dataver:{number}", process="6" * 32, sequence=0, started=moment)
    return Event(id=f"{milliseconds:012x}{number:020x}", written=moment, tool="dataver 0.1", run=run)


NOVEMBER = datetime(2026, 11, 5, 23, 59, 59, 999_000, tzinfo=UTC)
EVENT = event_at(NOVEMBER)


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def events(store):
    return Events(store)


def test_an_event_is_written_once_and_read_back(events, store):
    """Its key follows from its id; writing it again is no error and writes nothing."""
    key = events.put(EVENT)
    assert key == f"lineage/2026-11/{EVENT.id}.json"
    assert events.put(EVENT) == key
    assert events.get(key) == [EVENT]
    assert list(store.objects) == [key]
    with pytest.raises(NotFound):
        events.get(event_key("0" * 32))


def test_another_event_of_the_same_id_is_refused(events):
    """Nothing is overwritten (invariant 2)."""
    events.put(EVENT)
    other = Event(id=EVENT.id, written=NOVEMBER, tool="other", run=EVENT.run)
    with pytest.raises(Conflict, match=EVENT.id):
        events.put(other)


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.REPLY_LOST])
def test_a_lost_reply_is_no_loss(store, fault):
    """Invariant 4: the event is there once, and the writer knows it."""
    events = Events(FaultyStore(store, {1: fault}))
    assert events.get(events.put(EVENT)) == [EVENT]
    with pytest.raises(StoreError):
        Events(FaultyStore(store, {1: Fault.REFUSED})).put(event_at(NOVEMBER, 5))


def test_events_are_listed_by_time_from_a_day_on(events, store):
    """Keys ascend; a day leaves out what was written before it, and nothing else; no attachments."""
    moments = [
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC),
        datetime(2026, 10, 31, 23, 59, 59, tzinfo=UTC),
        datetime(2026, 11, 5, tzinfo=UTC),
        NOVEMBER,
        datetime(2026, 11, 6, tzinfo=UTC),
        datetime(2026, 12, 1, tzinfo=UTC),
        datetime(2999, 12, 31, tzinfo=UTC),
    ]
    written = [events.put(event_at(moment, number)) for number, moment in enumerate(moments)]
    events.attach(b"x")
    for stray in ("lineage/2026-11/._x.json", "lineage/2026-11/x.tmp", "lineage/notes.txt"):
        store.put(stray, b"x")
    assert list(events.keys()) == written
    assert list(events.keys(date(2026, 11, 5))) == written[3:]
    assert list(events.keys(date(2026, 11, 6))) == written[5:]
    assert list(events.keys(date(1999, 12, 31))) == written[1:]
    assert list(events.keys(date(2999, 12, 31))) == written[7:]
    assert events_after(date(1960, 1, 1)) < written[0]


def test_a_listing_from_a_day_on_asks_for_no_more(store):
    """Old years are not asked for, and the store is told where to begin."""
    counting = FaultyStore(store)
    list(Events(counting).keys(date(2026, 11, 5)))
    assert [request.key for request in counting.requests] == ["lineage/2"]


def test_what_is_not_the_event_of_its_key_is_refused_by_name(events, store):
    """Another month, another id, damage, size: the key stands in the error."""
    key = events.put(EVENT)
    data = store.objects[key]
    wrong = {
        f"lineage/2026-10/{EVENT.id}.json": data,
        event_key(new_event_id()): data,
        event_key("0" * 32): b"",
        event_key("01" * 6 + "0" * 20): b"[" * 100_000,
        event_key("02" * 6 + "0" * 20): b" " * (MAX_JSON + 1),
        f"lineage/2026-11/{EVENT.id}.bundle": zstandard.compress(data + b"\n"),
        f"lineage/2999-11/{'f' * 32}.json": data,
    }
    for bad, content in wrong.items():
        store.put(bad, content)
        with pytest.raises(IntegrityError, match=bad.rpartition("/")[2]):
            events.get(bad)
    store.put(event_key("03" * 6 + "0" * 20), data.replace(b'"format":1', b'"format":2'))
    with pytest.raises(FormatTooNew, match="format 2"):
        events.get(event_key("03" * 6 + "0" * 20))
    assert parse_event_key("lineage/attachments/aa/bb") is None
    with pytest.raises(InvalidInput):
        events.get("dataver.json")
    with pytest.raises(InvalidInput):
        events.delete(["dataver.json"])


def test_no_more_is_read_than_an_object_may_have():
    """A huge object costs no memory: it is asked for with a bound, whatever the listing said."""
    asked = []

    class Counting(MemoryStore):
        def get_bounded(self, key, most):
            asked.append(most)
            return super().get_bounded(key, most)

    store = Counting()
    key = f"lineage/2026-11/{EVENT.id}.bundle"
    store.put(key, bytes(MAX_BUNDLE + (1 << 17)))
    for size in (None, MAX_BUNDLE + (1 << 17)):
        with pytest.raises(IntegrityError, match="the limit"):
            Events(store).read(key, size)
    assert len(asked) == 2
    assert max(asked) <= MAX_BUNDLE + (1 << 16)


def test_a_bundle_reads_like_its_events(events, store):
    """Writing it twice is writing it once, however it was compressed; the events may then be deleted."""
    some = [event_at(NOVEMBER, number) for number in range(20)]
    keys = [events.put(each) for each in some]
    bundle = events.put_bundle(some)
    assert events.put_bundle(some[::-1]) == bundle
    store.objects[bundle] = zstandard.compress(zstandard.decompress(store.objects[bundle]), 1)
    assert events.put_bundle(some) == bundle
    events.delete(keys)
    assert list(events.keys()) == [bundle]
    assert events.get(bundle) == some


def test_attachments_are_kept_once_by_content(events, store):
    """Equal bytes have one name; other bytes under it are refused, and no name leads elsewhere."""
    digest = events.attach(b"diff --git" * 1000)
    assert events.attach(b"diff --git" * 1000) == digest
    (key,) = store.objects
    assert key == f"lineage/attachments/{digest[:2]}/{digest}"
    assert events.attachment(digest) == b"diff --git" * 1000
    store.objects[key] = zstandard.compress(b"other")
    with pytest.raises(IntegrityError, match=digest):
        events.attachment(digest)
    with pytest.raises(NotFound):
        events.attachment("0" * 64)
    with pytest.raises(IntegrityError):
        events.attachment("../../dataver.json")
