"""The faulty store fails exactly where it is told to, so that tests which rely on it mean something."""

import pytest

from dataver.errors import InternalError, StoreError
from dataver.storage import MemoryStore
from dataver.testing.faulty import Crash, Fault, FaultyStore


def _write_three(store: FaultyStore) -> None:
    store.put("a", b"1")
    store.put_many_new([("b", b"2"), ("c", b"3")])


@pytest.mark.parametrize(
    ("fault", "left"),
    [
        (Fault.LOST, ["a"]),
        (Fault.REFUSED, ["a"]),
        (Fault.CRASH_BEFORE, ["a"]),
        (Fault.REPLY_LOST, ["a", "b"]),
        (Fault.CRASH_AFTER, ["a", "b"]),
    ],
)
def test_the_second_write_fails_as_planned(fault: Fault, left: list[str]) -> None:
    """Each fault leaves what its name says, and tells what its name says."""
    store = FaultyStore(MemoryStore(), {2: fault})
    crash = fault in (Fault.CRASH_BEFORE, Fault.CRASH_AFTER)
    with pytest.raises(Crash if crash else StoreError) as caught:
        _write_three(store)
    assert [info.key for info in store.inner.list()] == left
    assert store.writes == ["a", "b"]
    if crash:
        with pytest.raises(Crash):
            store.get("a")
    else:
        assert getattr(caught.value, "transient", None) is (fault is not Fault.REFUSED)


def test_without_a_plan_everything_is_counted() -> None:
    """An empty plan changes nothing and counts all writes and requests."""
    store = FaultyStore(MemoryStore())
    _write_three(store)
    assert store.get("c", 0, 1) == b"3"
    assert store.writes == ["a", "b", "c"]
    assert store.requests[-1] == ("get", "c", 0, 1)


def test_the_memory_store_defends_published_objects() -> None:
    """Replacing a content-addressed object by other bytes is a defect, found at once (invariant 2)."""
    store = MemoryStore()
    key = "packs/ab/" + "ab" * 32
    store.put(key, b"first")
    store.put(key, b"first")
    with pytest.raises(InternalError):
        store.put(key, b"other")
    MemoryStore(strict=False).put(key, b"other")
