"""The number of processes that pays for an `add`; starting them needs modules that take 12 ms."""

import os
import sys
from collections.abc import Iterable
from itertools import chain
from typing import Final

from dataver.ingest.scan import SourceScan
from dataver.tree import Tree

__all__ = ["is_alone", "processes_for"]

_ENOUGH: Final = 4 << 20  # bytes of a file that count: one process reads it
_LOOKED_AT: Final = 50_000  # files at most: 20 MB
_KNOWN: Final = 2_000  # files that the draft has: most of the others are known, too
_PAYS_SIZE: Final = 64 << 20  # bytes …
_PAYS_FILES: Final = 500  # … and files from which on starting processes pays: `docs/decisions/0021`


def processes_for(scans: Iterable[SourceScan], tree: Tree) -> int:
    """Return the number of processes that pays for some sources: 1, or one a core, at most four.

    Files whose paths a draft's tree has do not count: most of them are unchanged.
    """
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1
    if cores < 2 or not is_alone():
        return 1
    known = files = size = 0
    any_known = tree.summary().entries > 0
    for folder in chain.from_iterable(each.ahead() for each in scans):
        new = [each for each in folder if not any_known or tree.locate(each.path) is None]
        known += len(folder) - len(new)
        files += len(new)
        size += sum(min(found.stat.size, _ENOUGH) for found in new)
        if files >= _PAYS_FILES and size >= _PAYS_SIZE:
            return min(4, cores)
        if files >= _LOOKED_AT or known >= _KNOWN:
            return 1
    return 1


def is_alone() -> bool:
    """Return whether this process has one thread, so that it can be forked safely; on Linux only.

    Threads that Python does not know count: a forked child waits for ever for those with which BLAKE3 hashes.
    """
    try:
        return len(os.listdir("/proc/self/task")) == 1  # noqa: PTH208
    except OSError:
        return False
