"""Values that several requests share."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from dataver.errors import StoreError
from dataver.ui.asked import Memory


def test_a_value_is_made_once_while_it_is_fresh(monkeypatch):
    """Its age counts from when it was made; old values are dropped."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    memory, made = Memory(), []

    def make() -> int:
        now[0] += 10  # longer than it is fresh
        made.append(1)
        return len(made)

    assert [memory.get("key", make, 5.0) for _ in range(2)] == [1, 1]
    now[0] += 5
    assert memory.get("key", make, 5.0) == 2
    now[0] += 5
    memory.get("other", make)
    assert list(memory._made) == ["other"]


def test_a_value_that_is_not_made_is_not_waited_for_without_end(monkeypatch):
    """A request for a value that another one is making ends with an error."""
    monkeypatch.setattr("dataver.ui.asked._PATIENCE", 0.01)
    memory, began, end = Memory(), Event(), Event()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(memory.get, "key", lambda: (began.set(), end.wait()))
        began.wait()
        with pytest.raises(StoreError, match="has not answered"):
            memory.get("key", lambda: None)
        end.set()
        first.result()
