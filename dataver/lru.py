"""Cache of the values that were used last, bounded by their number and their bytes.

`cachetools.LRUCache` does not replace it: it has only one of the two bounds and no lock. With a lock around
it, a look-up takes 0.76 µs instead of 0.10, and its import takes 5 ms, a twentieth of a command's start.
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LRUCache"]

K = TypeVar("K")
V = TypeVar("V")


class LRUCache(Generic[K, V]):
    """Cache that drops the least recently used values above its limits; thread-safe.

    The latest value is kept even if it is larger than the limit.

    Args:
        count: maximum number of values.
        size: maximum bytes of all values.
        size_of: returns the bytes of a value, the same at each call.
    """

    def __init__(
        self, count: int = sys.maxsize, size: int = sys.maxsize, size_of: Callable[[V], int] = lambda _: 0
    ) -> None:
        self._count, self._most, self._size_of = count, size, size_of
        self._held: OrderedDict[K, V] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: K) -> V | None:
        """Return the value of a key and mark it as used, or return None."""
        try:  # without the lock, four times as fast: each call is atomic
            self._held.move_to_end(key)
            return self._held[key]
        except KeyError:  # also if it was dropped between the calls
            return None

    def put(self, key: K, value: V) -> None:
        """Keep a value in the place of the key's earlier one."""
        with self._lock:
            self._subtract(self._held.get(key))
            self._held[key] = value
            self._held.move_to_end(key)
            self._size += self._size_of(value)
            while len(self._held) > self._count or (self._size > self._most and len(self._held) > 1):
                self._subtract(self._held.popitem(last=False)[1])

    def drop(self, key: K) -> None:
        """Drop the value of a key, if there is one."""
        with self._lock:
            self._subtract(self._held.pop(key, None))

    def clear(self) -> None:
        """Drop all values."""
        with self._lock:
            self._held.clear()
            self._size = 0

    def _subtract(self, old: V | None) -> None:
        if old is not None:
            self._size -= self._size_of(old)
