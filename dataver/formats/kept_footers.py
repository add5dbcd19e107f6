"""Footers of packs kept in memory: those asked for last, bounded by number and by bytes.

A pack of large files has a footer of 0.1 MB, one full of tiny files of 2 MB: a number alone bounds nothing.
"""

from collections import OrderedDict
from typing import Final, Generic, TypeVar

from dataver.formats.pack import Footer

__all__ = ["KeptFooters"]

K = TypeVar("K")

_LEAST: Final = 2  # kept whatever their size


class KeptFooters(Generic[K]):
    """The footers that were asked for last. For one thread at a time.

    Args:
        count: how many at the most.
        size: bytes of memory that they may take, roughly; two are kept in any case.
    """

    def __init__(self, count: int, size: int) -> None:
        self._count, self._most = count, size
        self._footers: OrderedDict[K, Footer] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return len(self._footers)

    def get(self, key: K) -> Footer | None:
        """Return the footer kept under a key, as the one asked for last, or None."""
        found = self._footers.get(key)
        if found is not None:
            self._footers.move_to_end(key)
        return found

    def put(self, key: K, footer: Footer) -> None:
        """Keep a footer, and let go of those that were not asked for the longest."""
        before = self._footers.pop(key, None)
        self._footers[key] = footer
        self._size += _memory(footer) - (0 if before is None else _memory(before))
        while len(self._footers) > self._count or (self._size > self._most and len(self._footers) > _LEAST):
            self._size -= _memory(self._footers.popitem(last=False)[1])

    def clear(self) -> None:
        """Let go of all."""
        self._footers.clear()
        self._size = 0


def _memory(footer: Footer) -> int:
    """Return about how much memory a footer takes: its bytes, and the tables that are made of them."""
    return len(footer.raw) + 12 * footer.chunk_count + 40 * footer.frame_count
