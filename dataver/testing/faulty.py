"""A store that injects faults into chosen writes.

The idea: every step may be the last (invariant 4). A test runs an operation once to count its writes, then
once for every N and every kind of fault, and checks the result each time:

    store = FaultyStore(MemoryStore(), {3: Fault.REPLY_LOST})

It also records every request, so that a test can count them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from dataver.errors import StoreError
from dataver.storage.base import BytesLike, Data, ObjectInfo, Store

__all__ = ["Crash", "Fault", "FaultyStore", "FlippingStore", "Request"]


class Fault(Enum):
    """A fault at a write."""

    LOST = "nothing is written and the caller sees a temporary failure"
    REPLY_LOST = "it is written, but the caller sees a temporary failure"
    REFUSED = "nothing is written and the caller sees a permanent failure"
    CRASH_BEFORE = "the process dies before it is written"
    CRASH_AFTER = "the process dies after it is written"


class Crash(BaseException):
    """Simulated end of the process, which `except Exception` does not catch."""


class Request(NamedTuple):
    """A recorded request.

    Attributes:
        method: name of the store's method; a `put_many_new` is recorded as several `put_new`.
        key: the object, or the prefix of a listing.
        start: first byte of a read, if given.
        length: bytes of a read, if given.
    """

    method: str
    key: str
    start: int | None = None
    length: int | None = None


class FaultyStore(Store):
    """Forwards all requests to another store, except for planned faults.

    Args:
        inner: the working store.
        plan: faults by number of the write, from 1. `create`, `delete` and all puts are writes.

    Attributes:
        writes: keys written or deleted so far, failed ones included.
        requests: all requests so far.
    """

    def __init__(self, inner: Store, plan: Mapping[int, Fault] | None = None) -> None:
        self.inner = inner
        self.plan = dict(plan or {})
        self.url = inner.url
        self.local_root = inner.local_root
        self.exclusive_create = inner.exclusive_create
        self.requests: list[Request] = []
        self.writes: list[str] = []
        self._dead = False

    @property
    def location(self) -> str:
        """See `Store.location`."""
        return self.inner.location

    def get(self, key: str, start: int | None = None, length: int | None = None) -> bytes:
        """See `Store.get`."""
        self._note("get", key, start, length)
        return self.inner.get(key, start, length)

    def get_tail(self, key: str, length: int) -> tuple[bytes, int]:
        """See `Store.get_tail`."""
        self._note("get_tail", key, None, length)
        return self.inner.get_tail(key, length)

    def get_bounded(self, key: str, most: int) -> bytes:
        """See `Store.get_bounded`; it is a `get` here."""
        data = self.get(key)
        if len(data) > most:
            raise self._too_long(key, len(data), most)
        return data

    def stat(self, key: str) -> ObjectInfo:
        """See `Store.stat`."""
        self._note("stat", key)
        return self.inner.stat(key)

    def list(self, prefix: str = "", after: str | None = None) -> Iterator[ObjectInfo]:
        """See `Store.list`."""
        self._note("list", prefix)
        return self.inner.list(prefix, after)

    def put(self, key: str, data: Data) -> None:
        """See `Store.put`."""
        self._write("put", key, lambda: self.inner.put(key, data))

    def replace(self, key: str, data: Data) -> None:
        """See `Store.replace`."""
        self._write("replace", key, lambda: self.inner.replace(key, data))

    def create(self, key: str, data: Data) -> None:
        """See `Store.create`."""
        self._write("create", key, lambda: self.inner.create(key, data))

    def put_new(self, key: str, data: Data) -> bool:
        """See `Store.put_new`."""
        return bool(self._write("put_new", key, lambda: self.inner.put_new(key, data)))

    def put_file_new(self, key: str, path: Path) -> bool:
        """See `Store.put_file_new`."""
        return bool(self._write("put_file_new", key, lambda: self.inner.put_file_new(key, path)))

    def put_many_new(self, items: Iterable[tuple[str, BytesLike]]) -> Sequence[str]:
        """See `Store.put_many_new`; in order, so that the N-th write is always the same one."""
        return [key for key, data in items if not self.put_new(key, data)]

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        self._write("delete", key, lambda: self.inner.delete(key))

    def _note(self, method: str, key: str, start: int | None = None, length: int | None = None) -> None:
        if self._dead:
            raise Crash
        self.requests.append(Request(method, key, start, length))

    def _write(self, method: str, key: str, write: Callable[[], object]) -> object:
        self._note(method, key)
        self.writes.append(key)
        fault = self.plan.get(len(self.writes))
        if fault in (None, Fault.REPLY_LOST, Fault.CRASH_AFTER):
            done = write()
        if fault in (Fault.CRASH_BEFORE, Fault.CRASH_AFTER):
            self._dead = True
            raise Crash
        if fault is not None:
            raise StoreError(
                f"cannot {method} {key} in {self.url}: injected fault.",
                transient=fault is not Fault.REFUSED,
            )
        return done


class FlippingStore(FaultyStore):
    """Flips a bit in the bytes of reads, without changing the stored objects.

    Args:
        inner: the working store.
        prefix: prefix of the affected keys.
        times: number of damaged reads of each range of each key, before correct ones.
    """

    def __init__(self, inner: Store, prefix: str, times: int) -> None:
        super().__init__(inner)
        self.prefix = prefix
        self.times = times
        self._seen: dict[tuple[str, int | None, int | None], int] = {}

    def get(self, key: str, start: int | None = None, length: int | None = None) -> bytes:
        """See `Store.get`."""
        return self._flipped(super().get(key, start, length), key, start, length)

    def get_tail(self, key: str, length: int) -> tuple[bytes, int]:
        """See `Store.get_tail`."""
        data, size = super().get_tail(key, length)
        return self._flipped(data, key, -1, length), size

    def _flipped(self, data: bytes, key: str, start: int | None, length: int | None) -> bytes:
        seen = self._seen[key, start, length] = self._seen.get((key, start, length), 0) + 1
        if not data or not key.startswith(self.prefix) or seen > self.times:
            return data
        damaged = bytearray(data)
        damaged[(len(data) * 2 // 3 + seen) % len(data)] ^= 1 << seen % 8
        return bytes(damaged)
