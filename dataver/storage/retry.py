"""Retries of temporary failures, for a bounded time.

The idea: all attempts share one deadline, and each receives the time left. Delays double, with jitter so that
clients do not return simultaneously, and are never shorter than the store's `Retry-After`. All requests to
one store share a budget, so that a store that fails for all clients gets few retries: a retry costs one, a
success returns one.

Only `StoreError` with `transient` set is retried; calls must be idempotent.
"""

import random
import time
from collections.abc import Callable
from typing import Final, TypeVar

from dataver.errors import StoreError
from dataver.log import info

__all__ = ["ATTEMPTS", "DEADLINE", "FIRST_PAUSE", "Budget", "pause_after", "retry"]

T = TypeVar("T")

DEADLINE = (
    60.0  # seconds without an answer until a person is told; issue trackers show that users wait no longer
)
ATTEMPTS = 10  # with these delays: 11 to 21 s of a store that refuses at once; servers restart in 15
FIRST_PAUSE = 0.1
_LONGEST = 5.0
_BUDGET = 100  # retries; eight threads in a row of failures share it


class Budget:
    """Number of retries left for all requests to one store; may be used by many threads.

    Counting is not locked: a retry more or less does no harm, a lock held over a fork would.
    """

    def __init__(self, most: int = _BUDGET) -> None:
        self.most: Final = most
        self.left = most

    def spend(self) -> bool:
        """Take one retry; return whether one was left."""
        if self.left <= 0:
            return False
        self.left -= 1
        return True

    def refund(self) -> None:
        """Return one retry: a request succeeded."""
        if self.left < self.most:
            self.left += 1


def pause_after(error: StoreError, attempt: int) -> float:
    """Return the delay in seconds after attempt number `attempt` (from 0) failed."""
    pause = min(_LONGEST, FIRST_PAUSE * 2.0**attempt) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
    return pause + (error.retry_after or 0.0)


def retry(
    call: Callable[[float], T],
    *,
    deadline: float = DEADLINE,
    attempts: int = ATTEMPTS,
    budget: Budget | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Call `call` until it succeeds or fails permanently, and return its result.

    Args:
        call: called with the seconds that are left.
        deadline: seconds for all attempts and delays together.
        attempts: maximum number of calls.
        budget: shared by all requests to one store; without one, only the limits above apply.
        clock: monotonic seconds; tests pass their own.
        sleep: function that waits; tests pass their own.

    Raises:
        StoreError: the last failure.
    """
    end = clock() + deadline
    for attempt in range(attempts):
        try:
            result = call(max(1.0, end - clock()))
        except StoreError as error:
            pause, failure = pause_after(error, attempt), error.message
            if not error.transient or attempt == attempts - 1 or clock() + pause >= end:
                raise
            if budget is not None and not budget.spend():
                raise
        else:
            if budget is not None:
                budget.refund()
            return result
        info("attempt %d failed, the next one follows in %.1f s: %s", attempt + 1, pause, failure)
        sleep(pause)
    raise AssertionError("at least one attempt is made")
