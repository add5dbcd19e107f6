"""A store in memory, for tests and experiments.

The idea: it is stricter than any real store. It enforces invariant 2: replacing a content-addressed object by
other bytes is a defect of dataver and raises `InternalError`. It disappears with its process.
"""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from dataver.errors import AlreadyExists, IntegrityError, InternalError, NotFound
from dataver.storage.base import Data, ObjectInfo, Store, check_key, check_range, joined

__all__ = ["MemoryStore"]

_HEX = frozenset("0123456789abcdef")


class MemoryStore(Store):
    """The store contract on a dict.

    Attributes:
        objects: the stored objects; tests may damage them.
    """

    def __init__(self, name: str = "test", *, strict: bool = True) -> None:
        self.url = f"memory:{name}"
        self.exclusive_create = True
        self.objects: dict[str, bytes] = {}
        self._times: dict[str, datetime] = {}
        self._strict = strict
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def get(self, key: str, start: int | None = None, length: int | None = None) -> bytes:
        """See `Store.get`."""
        first, length = check_range(start, length)
        data = self._object(key)
        if length is None:
            length = max(0, len(data) - first)
        if first + length > len(data) or first > len(data):
            raise IntegrityError(f"{key} in {self.url} ends at byte {len(data)}, before {first + length}.")
        return data[first : first + length]

    def get_tail(self, key: str, length: int) -> tuple[bytes, int]:
        """See `Store.get_tail`."""
        check_range(0, length)
        data = self._object(key)
        return data[max(0, len(data) - length) :], len(data)

    def get_bounded(self, key: str, most: int) -> bytes:
        """See `Store.get_bounded`."""
        data = self.get(key)
        if len(data) > most:
            raise self._too_long(key, len(data), most)
        return data

    def put(self, key: str, data: Data) -> None:
        """See `Store.put`."""
        self._write(check_key(key), joined(data), new=False)

    def replace(self, key: str, data: Data) -> None:
        """See `Store.replace`."""
        with self._lock:
            self.objects[check_key(key)] = joined(data)
            self._times[key] = datetime.now(UTC)

    def create(self, key: str, data: Data) -> None:
        """See `Store.create`."""
        self._write(check_key(key), joined(data), new=True)

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        with self._lock:
            self.objects.pop(check_key(key), None)

    def stat(self, key: str) -> ObjectInfo:
        """See `Store.stat`."""
        return ObjectInfo(key, len(self._object(key)), self._times.get(key))

    def list(self, prefix: str = "", after: str | None = None) -> Iterator[ObjectInfo]:
        """See `Store.list`."""
        with self._lock:
            found = [(key, len(data)) for key, data in self.objects.items() if key.startswith(prefix)]
        for key, size in sorted(found):
            if after is None or key > after:
                yield ObjectInfo(key, size, self._times.get(key))

    def _object(self, key: str) -> bytes:
        data = self.objects.get(check_key(key))
        if data is None:
            raise NotFound(f"{key} in {self.url} does not exist.")
        return data

    def _write(self, key: str, data: bytes, *, new: bool) -> None:
        with self._lock:
            there = self.objects.get(key)
            if new and there is not None:
                raise AlreadyExists(f"{key} in {self.url} exists already.")
            if self._strict and there is not None and there != data and _content_addressed(key):
                raise InternalError(f"{key} in {self.url} was about to be replaced by other bytes.")
            self.objects[key] = bytes(data)
            self._times[key] = datetime.now(UTC)


def _content_addressed(key: str) -> bool:
    name = key.rpartition("/")[2]
    return len(name) == 64 and _HEX.issuperset(name)
