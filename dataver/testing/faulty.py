"""A store that fails on purpose, at the write a test chooses.

One idea: every step may be the last (invariant 4). A test runs an operation once to count its writes, then
once for every N and every kind of fault, and looks at what is left each time:

    store = FaultyStore(MemoryStore(), {3: Fault.REPLY_LOST})

It also writes down every request, so that a test can say how many there were.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from dataver.errors import StoreError
from dataver.storage.base import BytesLike, Data, ObjectInfo, Store

__all__ = ["Crash", "Fault", "FaultyStore", "FlippingStore", "Request"]


class Fault(Enum):
    """What goes wrong at a write."""

    LOST = "nothing is written and the caller sees a temporary failure"
    REPLY_LOST = "it is written, but the caller sees a temporary failure"
    REFUSED = "nothing is written and the caller sees a permanent failure"
    CRASH_BEFORE = "the process dies before it is written"
    CRASH_AFTER = "the process dies after it is written"


class Crash(BaseException):
    """The process died here; no `except Exception` may survive it."""


class Request(NamedTuple):
    """One request that reached the store.

    Attributes:
        method: name of the store's method; a `put_many_new` is noted as its `put_new`s.
        key: the object, or the prefix of a listing.
        start: first byte of a read, where given.
        length: bytes of a read, where given.
    """

    method: str
    key: str
    start: int | None = None
    length: int | None = None


class FaultyStore(Store):
    """Hands everything to another store, except for what the plan says.

    Args:
        inner: the store that works.
        plan: which write fails how; the first write is number 1. `create`, `delete` and every way to put are
            writes.

    Attributes:
        writes: keys written or deleted so far, the failed ones included.
        requests: every request so far.
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

    def get(self, key: str, start: int | None = None, length: int | None = None) -> bytes:
        """See `Store.get`."""
        self._note("get", key, start, length)
        return self.inner.get(key, start, length)

    def get_tail(self, key: str, length: int) -> tuple[bytes, int]:
        """See `Store.get_tail`."""
        self._note("get_tail", key, None, length)
        return self.inner.get_tail(key, length)

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

    def put_new(self, key: str, data: Data) -> None:
        """See `Store.put_new`."""
        self._write("put_new", key, lambda: self.inner.put_new(key, data))

    def put_file_new(self, key: str, path: Path) -> None:
        """See `Store.put_file_new`."""
        self._write("put_file_new", key, lambda: self.inner.put_file_new(key, path))

    def put_many_new(self, items: Iterable[tuple[str, BytesLike]]) -> None:
        """See `Store.put_many_new`; in order, so that the N-th write is always the same one."""
        for key, data in items:
            self.put_new(key, data)

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        self._write("delete", key, lambda: self.inner.delete(key))

    def _note(self, method: str, key: str, start: int | None = None, length: int | None = None) -> None:
        if self._dead:
            raise Crash
        self.requests.append(Request(method, key, start, length))

    def _write(self, method: str, key: str, write: Callable[[], None]) -> None:
        self._note(method, key)
        self.writes.append(key)
        fault = self.plan.get(len(self.writes))
        if fault in (None, Fault.REPLY_LOST, Fault.CRASH_AFTER):
            write()
        if fault in (Fault.CRASH_BEFORE, Fault.CRASH_AFTER):
            self._dead = True
            raise Crash
        if fault is not None:
            raise StoreError(
                f"cannot {method} {key} in {self.url}: the test says so.",
                transient=fault is not Fault.REFUSED,
            )


class FlippingStore(FaultyStore):
    """Flips a bit in the bytes of reads, as a bad cable or a bad replica would; what is stored stays whole.

    Args:
        inner: the store that works.
        prefix: of the keys that it happens to.
        times: how many reads of each range of each key come damaged before they come whole.
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
