"""Thread pools of a process that fetch for several readers; a forked child gets its own.

Two kinds, so that one never waits for itself: `ranges` make requests, `ahead` wait for whole reads of which
each may be several requests. They are made when first needed and end with the process.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Literal

from dataver import parallel

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

__all__ = ["pool"]

_THREADS: Final = {"ranges": parallel.READERS, "ahead": parallel.RANGES}
_pools: dict[tuple[int, str], ThreadPoolExecutor] = {}


def pool(kind: Literal["ranges", "ahead"]) -> ThreadPoolExecutor:
    """Return the threads of this process of one kind."""
    found = _pools.get((os.getpid(), kind))
    if found is None:
        # two threads may both come here; one of their pools stays without a thread, a lock would not fork
        made = parallel.pool(_THREADS[kind], kind)
        found = _pools.setdefault((os.getpid(), kind), made)
    return found
