"""A store that gives a wrong answer to one request.

The idea: the effect of a fault depends on the request that fails. So a test counts the requests of a command,
then injects a wrong answer to the N-th, for every N and every answer that is possible for its method:

    store = LyingStore(MemoryStore(), 7, Answer.NOT_FOUND)

Answers are those of a store after its retries: a closed connection, a timeout, a status 500 and an invalid
listing are all temporary failures.
"""

import threading
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Final, TypeVar

from dataver.errors import AlreadyExists, NotFound, StoreError
from dataver.storage.base import Data, ObjectInfo, Store
from dataver.testing.faulty import FaultyStore

__all__ = ["Answer", "LyingStore", "can_get"]

T = TypeVar("T")


class Answer(Enum):
    """A wrong answer to a request."""

    LOST = "nothing is done, and the caller sees a temporary failure"
    REPLY_LOST = "it is done, and the caller sees a temporary failure"
    REFUSED = "nothing is done, and the caller sees a permanent failure"
    NOT_FOUND = "an object that is there is said not to be"
    EXISTS = "nothing is created, and the key is said to exist"
    SHORT = "the second half of an object is missing"
    FLIPPED = "one bit is another"
    FOREIGN = "a web page comes in place of the bytes"
    NOTHING = "a listing is empty"


_FAILURES: Final = frozenset({Answer.LOST, Answer.REPLY_LOST, Answer.REFUSED})
_BYTES: Final = _FAILURES | {Answer.NOT_FOUND, Answer.SHORT, Answer.FLIPPED, Answer.FOREIGN}
_POSSIBLE: Final = {
    "get": _BYTES,
    "get_tail": _BYTES,
    "stat": _FAILURES | {Answer.NOT_FOUND},
    "list": _FAILURES | {Answer.NOTHING},
    "create": _FAILURES | {Answer.EXISTS},
    "put_new": _FAILURES | {Answer.EXISTS},
    "put_file_new": _FAILURES | {Answer.EXISTS},
}
_PAGE: Final = b"<html><body>Please sign in.</body></html>"


def can_get(method: str, answer: Answer) -> bool:
    """Return whether an answer is possible for a method of a store."""
    return answer in _POSSIBLE.get(method, _FAILURES)


class LyingStore(FaultyStore):
    """Forwards all requests to another store, but gives one a wrong answer.

    Args:
        inner: the working store.
        number: number of the request, of any kind, from 1.
        answer: the wrong answer, if it is possible for the request's method.
        stays: give it to all later requests of the same method, key and `after`, too.

    Attributes:
        asked: number of requests so far.
        met: whether a request got the wrong answer.
    """

    def __init__(self, inner: Store, number: int, answer: Answer, *, stays: bool = False) -> None:
        super().__init__(inner)
        self.number, self.answer, self.stays = number, answer, stays
        self.asked, self.met = 0, False
        self._which: tuple[str, str, str | None] | None = None
        self._lock = threading.Lock()

    def get(self, key: str, start: int | None = None, length: int | None = None) -> bytes:
        """See `Store.get`."""
        data, lied = self._ask("get", key, lambda: self.inner.get(key, start, length))
        return self._other(data, whole=length is None) if lied else data

    def get_tail(self, key: str, length: int) -> tuple[bytes, int]:
        """See `Store.get_tail`."""
        (data, size), lied = self._ask("get_tail", key, lambda: self.inner.get_tail(key, length))
        return (self._other(data, whole=False), size) if lied else (data, size)

    def stat(self, key: str) -> ObjectInfo:
        """See `Store.stat`."""
        return self._ask("stat", key, lambda: self.inner.stat(key))[0]

    def list(self, prefix: str = "", after: str | None = None) -> Iterator[ObjectInfo]:
        """See `Store.list`."""
        found, lied = self._ask("list", prefix, lambda: list(self.inner.list(prefix, after)), after)
        return iter(() if lied else found)

    def put(self, key: str, data: Data) -> None:
        """See `Store.put`."""
        self._ask("put", key, lambda: self.inner.put(key, data))

    def replace(self, key: str, data: Data) -> None:
        """See `Store.replace`."""
        self._ask("replace", key, lambda: self.inner.replace(key, data))

    def create(self, key: str, data: Data) -> None:
        """See `Store.create`."""
        self._ask("create", key, lambda: self.inner.create(key, data))

    def put_new(self, key: str, data: Data) -> bool:
        """See `Store.put_new`."""
        try:
            return self._ask("put_new", key, lambda: self.inner.put_new(key, data))[0]
        except AlreadyExists:
            return False

    def put_file_new(self, key: str, path: Path) -> bool:
        """See `Store.put_file_new`."""
        try:
            return self._ask("put_file_new", key, lambda: self.inner.put_file_new(key, path))[0]
        except AlreadyExists:
            return False

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        self._ask("delete", key, lambda: self.inner.delete(key))

    def _ask(self, method: str, key: str, call: Callable[[], T], after: str | None = None) -> tuple[T, bool]:
        """Return the answer of the store, and whether the caller replaces it by a wrong one."""
        which = method, key, after
        with self._lock:
            self._note(method, key)
            self.asked += 1
            now = self.asked == self.number
            if now:
                self._which = which
            lies = now or (self.stays and self._which == which)
            lies = lies and can_get(method, self.answer)
            self.met = self.met or lies
        if not lies:
            return call(), False
        failure = StoreError(
            f"cannot {method} {key} in {self.url}: injected fault.",
            transient=self.answer is not Answer.REFUSED,
        )
        if self.answer in (Answer.LOST, Answer.REFUSED):
            raise failure
        if self.answer is Answer.NOT_FOUND:
            raise NotFound(f"{key} in {self.url} does not exist.")
        if self.answer is Answer.EXISTS:
            raise AlreadyExists(f"{key} in {self.url} exists already.")
        answer = call()
        if self.answer is Answer.REPLY_LOST:
            raise failure
        return answer, True

    def _other(self, data: bytes, *, whole: bool) -> bytes:
        """Return wrong bytes; ranges keep their length, which every store ensures."""
        if self.answer is Answer.SHORT:
            return data[: len(data) // 2] if whole else data
        if self.answer is Answer.FOREIGN:
            return _PAGE if whole else (_PAGE * (len(data) // len(_PAGE) + 1))[: len(data)]
        flipped = bytearray(data)
        if flipped:
            flipped[len(data) * 2 // 3] ^= 4
        return bytes(flipped)
