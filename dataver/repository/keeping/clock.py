"""Time: how old things are by the store's own clock, and how long this process has been at something.

The idea: only the store's clock dates objects, so only the store's clock says what time it is, too. A host
whose clock is wrong by days neither frees anything early nor keeps anything late.
"""

import contextlib
import os
import re
import time
from datetime import UTC, datetime, timedelta
from typing import Final

from dataver.errors import DataverError, InvalidInput, NotFound
from dataver.storage import Store

__all__ = ["CLOCK_REQUESTS", "GRACE", "PROBES", "Stopwatch", "parse_period", "store_now"]

GRACE: Final = timedelta(days=14)
PROBES: Final = ".probe-"
CLOCK_REQUESTS: Final = 3  # that `store_now` makes, one after the other

_PERIOD: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|h|d|w)?")
_UNITS: Final = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def store_now(store: Store) -> datetime:
    """Return the time by the store's clock: that of an object written and deleted for it.

    A store that dates nothing gives the host's time; nothing in it has an age anyway.
    """
    key = f"{PROBES}{os.urandom(16).hex()}"
    store.put(key, b"what time is it?")
    try:
        return store.stat(key).modified or datetime.now(UTC)
    except NotFound:
        return datetime.now(UTC)
    finally:
        with contextlib.suppress(DataverError):  # left behind, it is swept as any unfinished object
            store.delete(key)


def parse_period(text: str) -> timedelta:
    """Return a length of time such as `14d`, `12h`, `90min`, `30s`, `2w`; `0` needs no unit.

    Raises:
        InvalidInput: it is none.
    """
    found = _PERIOD.fullmatch(text.strip().lower())
    if found is None or (found[2] is None and float(found[1]) != 0):
        raise InvalidInput(f"'{text}' is no length of time.", hint="write 14d, 12h, 90min, 30s or 0")
    try:
        return timedelta(seconds=float(found[1]) * _UNITS[found[2] or "s"])
    except OverflowError as error:
        raise InvalidInput(f"'{text}' is longer than can be counted.", hint="write 14d, 12h or 0") from error


class Stopwatch:
    """Seconds since it was made, those included in which the process was stopped or the machine asleep."""

    def __init__(self) -> None:
        self._start = _clocks()

    def seconds(self) -> float:
        """Return the most that any clock says has passed."""
        return max(now - start for now, start in zip(_clocks(), self._start, strict=True))


def _clocks() -> tuple[float, float]:
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME), time.time()
    return time.monotonic(), time.time()
