"""The store contract: operations on keys, and their guarantees in every store.

A store maps keys to bytes, independent of datasets. The idea: the rest of dataver needs only whole objects
that appear at once, one exclusive create, ranged reads and a listing. The docstrings of `Store` are the
contract; `dataver.testing.store_contract` is the same contract as tests, for any store.

Keeps invariants 2 (create is exclusive, put_new replaces nothing) and 4 (a write that fails or is interrupted
leaves the key unchanged). Callers check whether the bytes are intact (invariant 1).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from dataver import parallel
from dataver.errors import IntegrityError, InvalidInput, NotFound, StoreError
from dataver.storage.translate import translate

__all__ = [
    "MAX_KEY",
    "TEMPORARY",
    "BytesLike",
    "Data",
    "ObjectChanged",
    "ObjectInfo",
    "Pin",
    "Store",
    "check_key",
    "check_range",
    "joined",
    "pieces",
]

BytesLike: TypeAlias = bytes | bytearray | memoryview
Data: TypeAlias = BytesLike | Sequence[BytesLike]

TEMPORARY = ".tmp-"
"""Prefix of the names of unfinished files, in stores made of folders; listings omit such files."""

MAX_KEY = 1024  # bytes; the limit of S3
_MANY_WINDOW = 64  # objects in flight at a time: bounds memory


class ObjectInfo(NamedTuple):
    """One object in a listing.

    Attributes:
        key: its name.
        size: bytes.
        modified: time of writing by the store's clock, aware UTC; None if the store does not report it.
        etag: its entity tag as the store writes it; None if the store has none.
    """

    key: str
    size: int
    modified: datetime | None
    etag: str | None = None

    @property
    def stamp(self) -> str | None:
        """A text that changes when the object is replaced; None if the store reports too little."""
        if self.etag is None and self.modified is None:
            return None
        return f"{self.etag or ''} {self.size} {self.modified.isoformat() if self.modified else ''}"


class Pin(NamedTuple):
    """The state of an external object at one moment.

    Attributes:
        size: bytes.
        etag: its entity tag as the store writes it; None if the store has none.
        version: its version id; None if the store keeps no versions.
        modified: time of writing by the store's clock, aware UTC; None if the store does not report it.
    """

    size: int
    etag: str | None
    version: str | None
    modified: datetime | None


class ObjectChanged(IntegrityError):
    """An object differs from its pin: it was deleted or replaced.

    Attributes:
        how: the difference, as the end of a sentence.
    """

    def __init__(self, message: str, *, hint: str | None = None, how: str = "it is another one") -> None:
        super().__init__(message, hint=hint)
        self.how = how


class Store(ABC):
    """A flat space of keys, each with immutable bytes.

    A key is a relative `/`-separated path. Every method may be called from many threads at once. A store
    may be used in a forked child and, unless it was opened with literal secrets, pickled.

    Writing is atomic: a reader sees all of the new bytes or none of them, also after a crash in between. It
    is durable: when a method returns, the bytes survive a power cut. `put`, `put_new`, `delete` and the
    reads are repeated by the store itself while the failure appears temporary; `create` is not, because its
    outcome would then be unknown (see there).

    Raises, in every method: `StoreError` if the store refuses or fails, with `transient` set if the same call
    may succeed later; `InvalidInput` for an invalid key.

    Attributes:
        url: location of the store, without any secret; for messages.
        local_root: the folder, if the store is one, so that its files may be hard-linked; else None.
        exclusive_create: whether `create` has one winner even among racing processes. False if the store is
            not known to guarantee this; `probe_exclusive_create` tests it and sets the attribute.
        deletes_at_once: number of objects that one request of `delete_many` deletes.
    """

    url: str
    local_root: Path | None = None
    exclusive_create: bool = False
    deletes_at_once: int = 1

    @property
    def location(self) -> str:
        """The URL and other options that identify this store, such as an endpoint; contains no secret.

        Copies of a repository have the same id, so caches of names are kept by location.
        """
        return self.url

    @property
    def plain_options(self) -> Mapping[str, Any] | None:
        """The options it was opened with, without literal secrets; may be passed to another process."""
        return None

    @property
    def login(self) -> str | None:
        """Source of the credentials, as text without secrets; None if it is unknown or none are needed.

        Raises:
            StoreError: credentials are needed, and none were found.
        """
        return None

    @abstractmethod
    def get(self, key: str, start: int | None = None, length: int | None = None) -> bytes:
        """Return the object, or exactly `length` bytes of it from `start`.

        Args:
            key: its name.
            start: first byte; None means 0.
            length: number of bytes; None means up to the end.

        Raises:
            NotFound: there is no such key.
            IntegrityError: the object ends before the range does. The result is never shorter than the range.
        """

    @abstractmethod
    def get_tail(self, key: str, length: int) -> tuple[bytes, int]:
        """Return the last `length` bytes, or the whole object if it is shorter, and the object's size.

        Raises:
            NotFound: there is no such key.
        """

    def get_bounded(self, key: str, most: int) -> bytes:
        """Return an object of at most `most` bytes; no more than that is read of a longer one.

        Raises:
            NotFound: there is no such key.
            IntegrityError: it is longer.
        """
        data, size = self.get_tail(key, most)
        if size > most:
            raise self._too_long(key, size, most)
        return data

    def _too_long(self, key: str, size: int, most: int) -> IntegrityError:
        return IntegrityError(f"{key} in {self.url} has {size} bytes; the limit is {most}.")

    @abstractmethod
    def put(self, key: str, data: Data) -> None:
        """Write the object, replacing an existing one.

        Only for keys that are not in use yet, or that are not published objects (invariant 2).
        """

    def replace(self, key: str, data: Data) -> None:
        """Replace the object by an equivalent one.

        The one exception to invariant 2: a tree block whose layout gives the same bytes from other packs. It
        is the same as `put`, except in stores that check the invariant.
        """
        self.put(key, data)

    @abstractmethod
    def create(self, key: str, data: Data) -> None:
        """Write the object unless the key exists.

        After a `StoreError` with `transient` set the outcome is unknown: the bytes may be stored. The same
        holds for `AlreadyExists`, since a client may have sent the request twice and seen the second one
        fail. Callers put a random id into `data` and read the key back to recognise their own write.

        If `exclusive_create` is False, this checks first and writes then, so two racing writers can both win.

        Raises:
            AlreadyExists: the key exists.
        """

    @abstractmethod
    def delete(self, key: str) -> None:
        """Delete the object; a missing one is not an error."""

    def delete_many(
        self, keys: Sequence[str], *, check: Callable[[], None] = lambda: None
    ) -> dict[str, StoreError]:
        """Delete objects, faster than one by one; return the error of each one that the store refuses.

        A missing object is not an error. After a temporary failure, which is raised, any of them may be
        deleted, and the call can be repeated.

        Args:
            keys: their names.
            check: called before each request; if it raises a `StoreError`, the request is not made.
        """

        def attempt(key: str) -> StoreError | None:
            try:
                check()
                self.delete(key)
            except StoreError as error:
                if error.transient:
                    raise
                return error
            return None

        if self.local_root is not None or len(keys) < 2:
            found = list(map(attempt, keys))
        else:
            with parallel.pool(parallel.REQUESTS, "delete") as pool:
                found = list(pool.map(attempt, keys))
        return {key: error for key, error in zip(keys, found, strict=True) if error is not None}

    @abstractmethod
    def stat(self, key: str) -> ObjectInfo:
        """Return size and time of the object.

        Raises:
            NotFound: there is no such key.
        """

    def pin(self, key: str, version: str | None = None) -> Pin:
        """Return the state of an object, for `get_pinned`.

        Args:
            key: its name.
            version: the id of one of its versions, in a store that keeps them; None means the current one.

        Raises:
            NotFound: there is no such key or version.
            InvalidInput: the store keeps no versions.
        """
        self._refuse_version(key, version)
        info = self.stat(key)
        return Pin(info.size, None, None, info.modified)

    def _refuse_version(self, key: str, version: str | None) -> None:
        if version is not None:
            raise InvalidInput(f"version {version} of {key} cannot be read: {self.url} keeps no versions.")

    def get_pinned(self, key: str, pin: Pin, start: int, length: int) -> bytes:
        """Return exactly `length` bytes from `start` of an object, if it still matches its pin.

        Compares the entity tag or version id if the store has them, and the size. The time proves nothing, so
        only a digest proves that the bytes are unchanged.

        Args:
            key: its name.
            pin: the result of an earlier `pin`.
            start: first byte.
            length: number of bytes.

        Raises:
            ObjectChanged: it was deleted or replaced.
        """
        try:
            found = self.pin(key)
            if found.size != pin.size or (pin.etag and found.etag != pin.etag):
                raise self._changed(key, f"it has {found.size} bytes now and had {pin.size}")
            return self.get(key, start, length)
        except NotFound as error:
            raise self._changed(key, "it is gone") from error

    def _changed(self, key: str, how: str) -> ObjectChanged:
        return ObjectChanged(f"{key} in {self.url} is not what it was: {how}.", how=how)

    @abstractmethod
    def list(self, prefix: str = "", after: str | None = None) -> Iterator[ObjectInfo]:
        """Yield every object whose key begins with the text `prefix`, ordered by code points of the key.

        With `after`, only keys that sort after that text, which need not be a key or begin with `prefix`.
        Stores that support it pass it to their server, so that the listing costs no more than its result.
        Some servers omit a folder that `after` separates from its content, as `a` and `a-b` do with `a/b`
        (SeaweedFS 4.48), so `after` must not separate any folder from its content.

        Objects written or deleted meanwhile may or may not be included; all others are included once.
        """

    def exists(self, key: str) -> bool:
        """Return whether the key exists."""
        try:
            self.stat(key)
        except NotFound:
            return False
        return True

    def put_new(self, key: str, data: Data) -> bool:
        """Write a content-addressed object unless the key exists; return whether it was written.

        An existing object is not compared: its name identifies its content, and readers verify it.
        """
        if self.exists(key):
            return False
        self.put(key, data)
        return True

    def put_file_new(self, key: str, path: Path) -> bool:
        """Write a content-addressed object from a file that never changes again; return as `put_new`.

        A store in a folder may make the object a hard link to `path`; the caller may delete `path`
        afterwards.
        """
        if self.exists(key):
            return False
        try:
            data = path.read_bytes()
        except OSError as error:
            raise translate(error, doing="read", key=str(path), url="this machine") from error
        self.put(key, data)
        return True

    def put_many_new(self, items: Iterable[tuple[str, BytesLike]]) -> Sequence[str]:
        """Do `put_new` for many small objects, faster than one by one; all are durable on return.

        Returns the keys that existed already.

        After an error any part of them may be stored; the call can be repeated.
        """
        source, there = iter(items), []
        pool = parallel.pool(parallel.RANGES, "put")
        try:
            while window := list(islice(source, _MANY_WINDOW)):
                written = [pool.submit(self.put_new, key, data) for key, data in window]
                there += [key for (key, _), done in zip(window, written, strict=True) if not done.result()]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        return there

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"


def check_key(key: str) -> str:
    """Return `key` if every kind of store can hold it.

    Raises:
        InvalidInput: it is empty, absolute, too long, or has an empty, `.` or `..` part, a backslash or a
            control character.
    """
    parts = key.split("/")
    if not key or any(part in ("", ".", "..") for part in parts):
        raise InvalidInput(f"{key!r} is not a key: it is empty or has an empty, '.' or '..' part.")
    if "\\" in key or any(ord(character) < 32 or ord(character) == 127 for character in key):
        raise InvalidInput(f"{key!r} is not a key: it has a backslash or a control character.")
    if parts[-1].startswith(TEMPORARY):
        raise InvalidInput(f"{key!r} is not a key: {TEMPORARY}… names unfinished files.")
    if len(key.encode("utf-8", "surrogatepass")) > MAX_KEY:
        raise InvalidInput(f"the key {key[:60]!r}… is longer than {MAX_KEY} bytes.")
    return key


def check_range(start: int | None, length: int | None) -> tuple[int, int | None]:
    """Return the range with its default start.

    Raises:
        InvalidInput: it is negative.
    """
    first = 0 if start is None else start
    if first < 0 or (length is not None and length < 0):
        raise InvalidInput(f"the range of {length} bytes from {start} is negative.")
    return first, length


def pieces(data: Data) -> Sequence[BytesLike]:
    """Return the parts of `data`, without copying."""
    return [data] if isinstance(data, (bytes, bytearray, memoryview)) else data


def joined(data: Data) -> bytes:
    """Return `data` as one bytes object; no copy where it is one already."""
    if isinstance(data, bytes):
        return data
    parts = pieces(data)
    return parts[0] if len(parts) == 1 and isinstance(parts[0], bytes) else b"".join(parts)
