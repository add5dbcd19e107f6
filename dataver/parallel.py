"""Thread pools, and the number of threads for each kind of work.

The number depends on what the threads wait for and on the memory that each one uses.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

__all__ = [
    "FLUSHES",
    "MOUNTED",
    "PACKS",
    "RANGES",
    "READERS",
    "REQUESTS",
    "checkers",
    "cores",
    "hashers",
    "pool",
    "process_pool",
]

REQUESTS: Final = 16
"""Concurrent small requests (existence, records, blocks): bound by latency, little memory."""

RANGES: Final = 8
"""Concurrent reads and writes of some MB."""

READERS: Final = 2 * RANGES
"""Concurrent ranges of all readers of a process: 128 MB in the 20 ms that a store takes to answer."""

MOUNTED: Final = 64
"""Concurrent requests to a mount, each of which may wait for the store."""

PACKS: Final = 4
"""Concurrent transfers of whole packs: each uses up to 100 MB of memory."""

FLUSHES: Final = 4
"""Small files written concurrently: the disk merges their flushes."""


def cores(least: int = 2) -> int:
    """Return the number of threads that decode, hash or compress: one a core, at most four."""
    return max(least, min(4, os.cpu_count() or 1))


def checkers() -> int:
    """Return the number of threads that read and hash whole files: at least one a core."""
    return max(RANGES, os.cpu_count() or 1)


def hashers() -> int:
    """Return the number of bodies hashed at once: on half of the cores, while others are sent."""
    return max(1, (os.cpu_count() or 1) // 2)


def pool(threads: int, name: str) -> ThreadPoolExecutor:
    """Return a pool whose threads are named `dataver-<name>`."""
    from concurrent.futures import ThreadPoolExecutor  # 4 ms, which many commands do not need

    return ThreadPoolExecutor(threads, f"dataver-{name}")


_process_pools: dict[tuple[int, str], ThreadPoolExecutor] = {}


def process_pool(kind: Literal["ranges", "ahead"]) -> ThreadPoolExecutor:
    """Return a pool that fetches for all readers of this process; a forked child gets its own.

    Two kinds, so that one never waits for itself: `ranges` make requests, `ahead` wait for whole reads, each
    of which may be several requests. They are made when first needed and end with the process.
    """
    key = os.getpid(), kind
    found = _process_pools.get(key)
    if found is None:
        # two threads may both come here; one of their pools stays without a thread, a lock would not fork
        found = _process_pools.setdefault(key, pool(READERS if kind == "ranges" else RANGES, kind))
    return found
