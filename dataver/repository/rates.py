"""How fast this machine and a repository are together, remembered from what was moved.

One idea: the best guess of the next transfer is the last few. Kept in the machine's cache, a few numbers a
repository; losing them costs a guess (invariant 5).
"""

import json
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from dataver.repository.private_place import private_cache_root

__all__ = ["Rate", "recall", "remember"]

_LEAST = 1_000_000  # bytes; less says more of the latency
_KEPT = 5  # transfers


class Rate(NamedTuple):
    """Bytes a second, and where the number is from."""

    speed: float
    source: str


def remember(repository_id: str, direction: str, size: int, seconds: float) -> None:
    """Note a transfer; never fails.

    Args:
        repository_id: the repository's id.
        direction: "fetch" or "upload".
        size: bytes that were moved.
        seconds: how long all of it took, reading, checking and writing included.
    """
    if size < _LEAST or seconds <= 0:
        return
    path = _path(repository_id)
    with suppress(OSError, ValueError):
        known = _read(path)
        known[direction] = [*known.get(direction, []), [size, seconds, time.time()]][-_KEPT:]
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(known), "utf-8")
        fresh.replace(path)


def recall(repository_id: str, direction: str) -> Rate | None:
    """Return how fast the last transfers were together, or None where there were none."""
    with suppress(OSError, ValueError, TypeError, KeyError, IndexError):
        known = _read(_path(repository_id))[direction]
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


def _path(repository_id: str) -> Path:
    return private_cache_root() / "rates" / f"{repository_id}.json"
