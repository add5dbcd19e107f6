"""Footers of packs kept in memory: the least recently used are dropped, by number and by bytes.

A pack of large files has a footer of 0.1 MB, one of tiny files 2 MB, so the number alone is not a bound.
"""

from collections import OrderedDict
from typing import Final, Generic, TypeVar

from dataver.formats.pack import Footer

__all__ = ["KeptFooters"]

K = TypeVar("K")

_LEAST: Final = 2  # kept regardless of their size


class KeptFooters(Generic[K]):
    """LRU cache of footers. For one thread at a time.

    Args:
        count: maximum number of footers.
        size: maximum memory in bytes, approximately; two footers are kept in any case.
    """

    def __init__(self, count: int, size: int) -> None:
        self._count, self._most = count, size
        self._footers: OrderedDict[K, Footer] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return len(self._footers)

    def get(self, key: K) -> Footer | None:
        """Return the footer of a key and mark it as used, or return None."""
        found = self._footers.get(key)
        if found is not None:
            self._footers.move_to_end(key)
        return found

    def put(self, key: K, footer: Footer) -> None:
        """Keep a footer, and drop the least recently used ones above the limits."""
        before = self._footers.pop(key, None)
        self._footers[key] = footer
        self._size += _memory(footer) - (0 if before is None else _memory(before))
        while len(self._footers) > self._count or (self._size > self._most and len(self._footers) > _LEAST):
            self._size -= _memory(self._footers.popitem(last=False)[1])

    def clear(self) -> None:
        """Drop all footers."""
        self._footers.clear()
        self._size = 0


def _memory(footer: Footer) -> int:
    """Return the approximate memory of a footer: its bytes, and the tables derived from them."""
    return len(footer.raw) + 12 * footer.chunk_count + 40 * footer.frame_count
