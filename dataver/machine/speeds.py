"""Measured transfer speeds between this machine and a repository.

The idea: the last few transfers predict the next one. Their sizes and times are stored in the cache, by
repository, and only serve estimates (invariant 5).
"""

import json
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from dataver.machine.cache_root import private_cache_root
from dataver.machine.paths import make_private
from dataver.storage.durable import replace_file

__all__ = ["Rate", "recent_rate", "record_transfer"]

_LEAST = 1_000_000  # bytes; smaller transfers measure latency, not throughput
_KEPT = 5  # transfers


class Rate(NamedTuple):
    """Bytes per second, and the source of the number."""

    speed: float
    source: str


def record_transfer(name: str, direction: str, size: int, seconds: float) -> None:
    """Record a transfer; never raises.

    Args:
        name: the repository's `local_name`.
        direction: "fetch" or "upload".
        size: bytes transferred.
        seconds: total duration, including reading, verifying and writing.
    """
    if size < _LEAST or seconds <= 0:
        return
    path = _path(name)
    with suppress(OSError, ValueError):
        known = _read(path)
        known[direction] = [*known.get(direction, []), [size, seconds, time.time()]][-_KEPT:]
        make_private(path.parent)
        replace_file(path, json.dumps(known))


def recent_rate(name: str, direction: str) -> Rate | None:
    """Return the mean speed of the last transfers, or None if there were none."""
    with suppress(OSError, ValueError, TypeError, KeyError, IndexError):
        known = _read(_path(name))[direction]
        rows = [(float(size), float(took), float(at)) for size, took, at in known]
        last = datetime.fromtimestamp(max(at for _, _, at in rows), UTC)
        many = "the last transfer" if len(rows) == 1 else f"the last {len(rows)} transfers"
        speed = sum(size for size, _, _ in rows) / sum(took for _, took, _ in rows)
        return Rate(speed, f"{many}, until {last:%Y-%m-%d %H:%M} UTC")
    return None


def _read(path: Path) -> dict[str, list[list[float]]]:
    try:
        found = json.loads(path.read_bytes())
    except OSError:
        return {}
    return found if isinstance(found, dict) else {}


def _path(name: str) -> Path:
    return private_cache_root() / "rates" / f"{name}.json"
