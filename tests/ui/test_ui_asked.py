"""Values that several requests share."""

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
