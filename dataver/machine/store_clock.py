"""The store's clock, by which the age of objects is determined, and elapsed time of this process.

The idea: object times come from the store's clock, so ages are computed with the same clock. A host whose
clock is wrong by days neither deletes objects early nor keeps them too long.
"""

import contextlib
import os
import re
import time
from datetime import UTC, datetime, timedelta
from typing import Final

from dataver.errors import DataverError, InvalidInput, NotFound
from dataver.storage import Store

__all__ = ["CLOCK_REQUESTS", "PROBES", "Stopwatch", "parse_period", "store_now"]

PROBES: Final = ".probe-"
CLOCK_REQUESTS: Final = 3  # made by `store_now`, sequentially

_PERIOD: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|h|d|w)?")
_UNITS: Final = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def store_now(store: Store) -> datetime:
    """Return the time by the store's clock: the modification time of an object that is then deleted.

    For a store without modification times, return the host's time.
    """
    key = f"{PROBES}{os.urandom(16).hex()}"
    store.put(key, b"what time is it?")
    try:
        return store.stat(key).modified or datetime.now(UTC)
    except NotFound:
        return datetime.now(UTC)
    finally:
        with contextlib.suppress(DataverError):  # if it remains, gc deletes it like any unfinished object
            store.delete(key)


def parse_period(text: str) -> timedelta:
    """Return a duration such as `14d`, `12h`, `90min`, `30s`, `2w`; `0` needs no unit.

    Raises:
        InvalidInput: not a duration.
    """
    found = _PERIOD.fullmatch(text.strip().lower())
    if found is None or (found[2] is None and float(found[1]) != 0):
        raise InvalidInput(f"'{text}' is not a duration.", hint="write 14d, 12h, 90min, 30s or 0")
    try:
        return timedelta(seconds=float(found[1]) * _UNITS[found[2] or "s"])
    except OverflowError as error:
        raise InvalidInput(f"the duration '{text}' is too long.", hint="write 14d, 12h or 0") from error


class Stopwatch:
    """Seconds since its creation, including time in which the process or the machine was suspended."""

    def __init__(self) -> None:
        self._start = _clocks()

    def seconds(self) -> float:
        """Return the longest elapsed time of all clocks."""
        return max(now - start for now, start in zip(_clocks(), self._start, strict=True))


def _clocks() -> tuple[float, float]:
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME), time.time()
    return time.monotonic(), time.time()
