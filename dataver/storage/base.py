"""The store contract: where keys live, and what every store promises about them.

A store maps keys to bytes and knows nothing about datasets. Its one idea is that the rest of dataver needs
very little of it: whole objects that appear at once, one exclusive create, ranged reads and a listing. The
docstrings of `Store` are the contract; `dataver.testing.store_contract` is the same contract as tests, for
any store.

Keeps invariants 2 (create is exclusive, put_new replaces nothing) and 4 (a write that fails or is cut short
leaves the key as it was). What the bytes mean and whether they are intact is checked above (invariant 1).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from dataver.errors import IntegrityError, InvalidInput, NotFound
from dataver.storage.translate import translate

__all__ = [
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
"""How the name of an unfinished file begins, in stores made of folders; listings leave such files out."""

_MAX_KEY = 1024  # bytes; the limit of S3
_MANY_THREADS = 8  # requests in flight of put_many_new
_MANY_WINDOW = 64  # objects taken from the caller before their writes are waited for: bounds memory


class ObjectInfo(NamedTuple):
    """What a listing says about one object.

    Attributes:
        key: its name.
        size: bytes.
        modified: when it was written by the store's clock, aware UTC; None where the store does not say.
    """

    key: str
    size: int
    modified: datetime | None


class Pin(NamedTuple):
    """How an object that is not ours looked at one moment.

    Attributes:
        size: bytes.
        etag: its entity tag as the store writes it; None where the store has none.
        version: its version id; None where the store keeps no versions.
        modified: when it was written by the store's clock, aware UTC; None where the store does not say.
    """

    size: int
    etag: str | None
    version: str | None
    modified: datetime | None


class ObjectChanged(IntegrityError):
    """An object is not the one that was pinned: it is gone, or another one has its name.

    Attributes:
        how: what tells so, as the end of a sentence.
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
    reads are repeated by the store itself while the failure looks temporary; `create` is not, because its
    outcome would then be unclear (see there).

    Raises, in every method: `StoreError` where the store refuses or fails, with `transient` telling whether
    the same call may succeed later; `InvalidInput` for a key that is not one.

    Attributes:
        url: where the store is, without any secret; for messages.
        local_root: the folder, where the store is one, so that its files may be hard-linked; else None.
        exclusive_create: whether `create` has one winner even among racing processes. Stores that are not
            known to keep this say False; `probe_exclusive_create` finds out and sets it.
    """

    url: str
    local_root: Path | None = None
    exclusive_create: bool = False

    @property
    def plain_options(self) -> Mapping[str, Any] | None:
        """The options it was opened with, but for literal secrets: what may go to another process."""
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
            IntegrityError: the object ends before the range does. Never fewer bytes than asked for.
        """

    @abstractmethod
    def get_tail(self, key: str, length: int) -> tuple[bytes, int]:
        """Return the last `length` bytes, or the whole object where it is shorter, and the object's size.

        Raises:
            NotFound: there is no such key.
        """

    @abstractmethod
    def put(self, key: str, data: Data) -> None:
        """Write the object, replacing one of that name.

        Only for keys that nobody relies on yet or that are not published objects (invariant 2).
        """

    def replace(self, key: str, data: Data) -> None:
        """Write the object in place of one that says the same in other words.

        The one exception to invariant 2: a tree block whose layout gives the same bytes from other packs. To
        a store it is a `put`; those that watch over the invariant are told.
        """
        self.put(key, data)

    @abstractmethod
    def create(self, key: str, data: Data) -> None:
        """Write the object if there is none of that name.

        After a `StoreError` with `transient` set the outcome is unknown: the bytes may be there. The same
        holds for `AlreadyExists`, since a client below may have sent a request twice and seen the second
        one fail. Callers put a random id into `data` and read the key back to know whose it is.

        Where `exclusive_create` is False this looks first and writes then, so two racing writers can both
        win.

        Raises:
            AlreadyExists: there is one.
        """

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove the object; a missing one is no error."""

    @abstractmethod
    def stat(self, key: str) -> ObjectInfo:
        """Return size and time of the object.

        Raises:
            NotFound: there is no such key.
        """

    def pin(self, key: str) -> Pin:
        """Return how an object looks now, so that `get_pinned` can tell whether it still is that one.

        Raises:
            NotFound: there is no such key.
        """
        info = self.stat(key)
        return Pin(info.size, None, None, info.modified)

    def get_pinned(self, key: str, pin: Pin, start: int, length: int) -> bytes:
        """Return exactly `length` bytes from `start` of an object, if it is the one that was pinned.

        What is compared is what the store says: the entity tag or version id where it has them, and the size.
        The time is no proof; so only a digest tells that the bytes are those of before.

        Raises:
            ObjectChanged: it is gone, or another one.
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
        """Yield every object whose key begins with the text `prefix`, by code points of the key.

        Where `after` is given, only those whose key sorts behind that text, which need not be a key or begin
        with `prefix`; a store that can says so to its server, so that the listing costs what it gives. Some
        servers leave out a folder that `after` parts from what is in it, as `a` and `a-b` do with `a/b`
        (SeaweedFS 4.48); so `after` must be a text that does this to no folder.

        Objects written or deleted meanwhile may or may not be seen; all others are seen once.
        """

    def exists(self, key: str) -> bool:
        """Tell whether there is an object of that name."""
        try:
            self.stat(key)
        except NotFound:
            return False
        return True

    def put_new(self, key: str, data: Data) -> None:
        """Write a content-addressed object; does nothing where there is one of that name.

        What is there is not compared: its name says what it is, and readers check it.
        """
        if not self.exists(key):
            self.put(key, data)

    def put_file_new(self, key: str, path: Path) -> None:
        """Write a content-addressed object from a file, which must never change again.

        A store in a folder may make the object a hard link to `path`; the caller may delete `path`
        afterwards.
        """
        if self.exists(key):
            return
        try:
            data = path.read_bytes()
        except OSError as error:
            raise translate(error, doing="read", key=str(path), url="this machine") from error
        self.put(key, data)

    def put_many_new(self, items: Iterable[tuple[str, BytesLike]]) -> None:
        """Do `put_new` for many small objects, faster than one by one; all are durable when it returns.

        After an error any part of them may be there; the call can be repeated.
        """
        from concurrent.futures import ThreadPoolExecutor
        from itertools import islice

        source = iter(items)
        pool = ThreadPoolExecutor(_MANY_THREADS, thread_name_prefix="dataver-put")
        try:
            while window := list(islice(source, _MANY_WINDOW)):
                for done in [pool.submit(self.put_new, key, data) for key, data in window]:
                    done.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

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
    if len(key.encode("utf-8", "surrogatepass")) > _MAX_KEY:
        raise InvalidInput(f"the key {key[:60]!r}… is longer than {_MAX_KEY} bytes.")
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
