"""Repeating what failed temporarily, within one deadline; time is a number here, nobody waits."""

import sys

import pytest

from dataver.errors import NotFound, StoreError
from dataver.storage.retry import ATTEMPTS, Budget, retry


@pytest.fixture(autouse=True)
def users_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """The delays that users have, which other tests shorten."""
    monkeypatch.setattr(sys.modules[retry.__module__], "FIRST_PAUSE", 0.1)


class _Clock:
    """Time that passes only when somebody sleeps or works."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.pauses.append(seconds)


def _failing(times: int, error: Exception, clock: _Clock, cost: float = 0.0) -> list[float]:
    left: list[float] = []

    def call(seconds: float) -> str:
        left.append(seconds)
        clock.now += cost
        if len(left) <= times:
            raise error
        return "done"

    try:
        assert retry(call, clock=lambda: clock.now, sleep=clock.sleep) == "done"
    except type(error):
        left.append(-1.0)
    return left


def test_temporary_failures_are_repeated_with_growing_pauses() -> None:
    """Three temporary failures, then success: four calls, pauses that about double."""
    clock = _Clock()
    left = _failing(3, StoreError("x", transient=True), clock)
    assert len(left) == 4
    assert left[-1] > 0
    for number, pause in enumerate(clock.pauses):
        assert 0.05 * 2**number <= pause <= 0.1 * 2**number


@pytest.mark.parametrize("error", [StoreError("x"), NotFound("x"), KeyError("x")])
def test_lasting_failures_are_told_at_once(error: Exception) -> None:
    """What will not pass, and what is not a store's failure, is not repeated."""
    clock = _Clock()
    assert _failing(99, error, clock)[1:] == [-1.0]
    assert clock.pauses == []


def test_attempts_are_bounded() -> None:
    """A store that always refuses at once is given up after some seconds."""
    clock = _Clock()
    left = _failing(99, StoreError("x", transient=True), clock)
    assert len(left) == ATTEMPTS + 1
    assert 10 < clock.now < 25


def test_slow_attempts_share_one_deadline() -> None:
    """Attempts that hang are told how little time is left, and end soon after the deadline."""
    clock = _Clock()
    left = _failing(99, StoreError("x", transient=True), clock, cost=25.0)
    assert left[0] == 60.0
    assert left[:-1] == sorted(left[:-1], reverse=True)
    assert len(left) == 4
    assert clock.now < 60 + 25


def test_what_the_store_asks_for_is_waited() -> None:
    """No pause is shorter than `Retry-After`; one that goes beyond the deadline is not begun."""
    clock = _Clock()
    _failing(2, StoreError("x", transient=True, retry_after=7.0), clock)
    assert len(clock.pauses) == 2
    assert all(7.0 <= pause <= 7.2 for pause in clock.pauses)
    clock = _Clock()
    assert len(_failing(9, StoreError("x", transient=True, retry_after=70.0), clock)) == 2
    assert clock.now == 0


def test_a_store_that_fails_everybody_is_soon_left_alone() -> None:
    """Repetitions of all callers come from one budget; successes fill it again, but never beyond its size."""
    budget = Budget(12)
    calls = [0]

    def call(_seconds: float) -> None:
        calls[0] += 1
        raise StoreError("x", transient=True)

    for _ in range(20):
        with pytest.raises(StoreError):
            retry(call, budget=budget, clock=lambda: 0.0, sleep=lambda _seconds: None)
    assert calls[0] == 20 + 12
    for _ in range(30):
        retry(lambda _seconds: None, budget=budget)
    assert budget.left == 12
