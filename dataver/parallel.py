"""Thread pools, and the number of threads for each kind of work.

The number depends on what the threads wait for and on the memory that each one uses.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

__all__ = ["FLUSHES", "PACKS", "RANGES", "REQUESTS", "cores", "pool"]

REQUESTS: Final = 16
"""Concurrent small requests (existence, records, blocks): bound by latency, little memory."""

RANGES: Final = 8
"""Concurrent reads and writes of some MB."""

PACKS: Final = 4
"""Concurrent transfers of whole packs: each uses up to 100 MB of memory."""

FLUSHES: Final = 4
"""Small files written concurrently: the disk merges their flushes."""


def cores(least: int = 2) -> int:
    """Return the number of threads that decode, hash or compress: one a core, at most four."""
    return max(least, min(4, os.cpu_count() or 1))


def pool(threads: int, name: str) -> ThreadPoolExecutor:
    """Return a pool whose threads are named `dataver-<name>`."""
    from concurrent.futures import ThreadPoolExecutor  # 4 ms, which many commands do not need

    return ThreadPoolExecutor(threads, f"dataver-{name}")
