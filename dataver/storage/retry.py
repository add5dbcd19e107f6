"""Doing it again when the failure looks temporary, for a bounded time.

One idea: the attempts share one deadline, and each is told how much of it is left. Pauses double, with
jitter so that many clients do not come back together. Only `StoreError` with `transient` set is tried
again; what is not idempotent must not be handed in.
"""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from dataver.errors import StoreError

__all__ = ["DEADLINE", "retry"]

T = TypeVar("T")

DEADLINE = (
    60.0  # seconds without an answer until a person is told; issue trackers show that users wait no longer
)
_ATTEMPTS = 7  # with these pauses: about 6 s of a store that refuses at once
_PAUSE = 0.1
_LONGEST = 5.0


def retry(
    call: Callable[[float], T],
    *,
    deadline: float = DEADLINE,
    attempts: int = _ATTEMPTS,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Return what `call` returns, repeating it while it fails temporarily.

    Args:
        call: told the seconds that are left.
        deadline: seconds for all attempts and pauses together.
        attempts: how often it is called at most.
        clock: seconds that only grow; tests give their own.
        sleep: how to wait; tests give their own.

    Raises:
        StoreError: the last failure.
    """
    end = clock() + deadline
    for attempt in range(attempts):
        try:
            return call(max(1.0, end - clock()))
        except StoreError as error:
            pause = min(_LONGEST, _PAUSE * 2**attempt) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
            if not error.transient or attempt == attempts - 1 or clock() + pause >= end:
                raise
        sleep(pause)
    raise AssertionError("at least one attempt is made")
