"""Doing it again when the failure looks temporary, for a bounded time.

One idea: the attempts share one deadline, and each is told how much of it is left. Pauses double, with
jitter so that many clients do not come back together, and are never shorter than the store asks for
(`Retry-After`). All requests to one store share a budget besides, so that a store that fails for everybody is
not asked again by everybody: a repetition costs one, a success gives one back.

Only `StoreError` with `transient` set is tried again; what is not idempotent must not be handed in.
"""

import random
import time
from collections.abc import Callable
from typing import Final, TypeVar

from dataver.errors import StoreError

__all__ = ["ATTEMPTS", "DEADLINE", "Budget", "pause_after", "retry"]

T = TypeVar("T")

DEADLINE = (
    60.0  # seconds without an answer until a person is told; issue trackers show that users wait no longer
)
ATTEMPTS = 10  # with these pauses: 11 to 21 s of a store that refuses at once; servers restart in 15
_PAUSE = 0.1
_LONGEST = 5.0
_BUDGET = 100  # repetitions; eight threads in a row of failures share it


class Budget:
    """How many repetitions all requests to one store may still make; may be used by many threads.

    Counting is not locked: a repetition more or less does no harm, a lock held over a fork would.
    """

    def __init__(self, most: int = _BUDGET) -> None:
        self.most: Final = most
        self.left = most

    def spend(self) -> bool:
        """Take one; tell whether there was one."""
        if self.left <= 0:
            return False
        self.left -= 1
        return True

    def refund(self) -> None:
        """Give one back: a request succeeded."""
        if self.left < self.most:
            self.left += 1


def pause_after(error: StoreError, attempt: int) -> float:
    """Return the seconds to wait after attempt number `attempt` (from 0) failed so."""
    pause = min(_LONGEST, _PAUSE * 2.0**attempt) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
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
    """Return what `call` returns, repeating it while it fails temporarily.

    Args:
        call: told the seconds that are left.
        deadline: seconds for all attempts and pauses together.
        attempts: how often it is called at most.
        budget: shared by all requests to one store; without one, only the above count.
        clock: seconds that only grow; tests give their own.
        sleep: how to wait; tests give their own.

    Raises:
        StoreError: the last failure.
    """
    end = clock() + deadline
    for attempt in range(attempts):
        try:
            result = call(max(1.0, end - clock()))
        except StoreError as error:
            pause = pause_after(error, attempt)
            if not error.transient or attempt == attempts - 1 or clock() + pause >= end:
                raise
            if budget is not None and not budget.spend():
                raise
        else:
            if budget is not None:
                budget.refund()
            return result
        sleep(pause)
    raise AssertionError("at least one attempt is made")
