"""Members of zip files in a store, read one by one, without a copy of the zip file.

The idea: a zip file is opened over ranged reads, and a member is found by its name and size, or by its size
and SHA-256. What is read of a member is bounded by the size that is expected of it.
"""

import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import IO, TYPE_CHECKING, Final

from dataver.errors import IntegrityError
from dataver.lru import LRUCache

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from dataver.storage import Store

__all__ = ["MemberIndex", "Opener", "ranged"]

Opener = Callable[[], IO[bytes]]

_RANGE: Final = 1 << 20  # bytes of one read
_SMALL: Final = 4 << 20  # bytes of a member that is kept in memory
_OPEN: Final = 8  # zip files kept open
_DAMAGE: Final = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OSError,
)


def ranged(store: "Store", key: str, size: int) -> IO[bytes]:
    """Return an object as a file that reads ranges of it."""
    return io.BufferedReader(_Ranged(store, key, size), _RANGE)


class MemberIndex:
    """Open zip files, by name."""

    def __init__(self) -> None:
        self._zips: LRUCache[str, zipfile.ZipFile] = LRUCache(_OPEN)

    def open(
        self, zips: Sequence[tuple[str, Opener]], names: Sequence[str], size: int, digest: str
    ) -> IO[bytes]:
        """Open the member with one of the names, else the one with the SHA-256, in one of the zip files.

        Raises:
            IntegrityError: there is none, or a zip file is damaged.
            StoreError: the store failed.
        """
        damage = ""
        for exact in (True, False):
            for name, opener in zips:
                try:
                    archive = self._opened(name, opener)
                    for info in archive.infolist() if not exact else _named(archive, names):
                        if info.file_size == size and (found := _checked(archive, info, digest)):
                            return found
                except _DAMAGE as error:
                    damage = f"; {name} is damaged: {error}"
        raise IntegrityError(f"no zip file of ClearML has '{names[0]}' with its SHA-256{damage}.")

    def _opened(self, name: str, opener: Opener) -> zipfile.ZipFile:
        found = self._zips.get(name)
        if found is None:
            found = zipfile.ZipFile(opener())
            self._zips.put(name, found)
        return found


def _named(archive: zipfile.ZipFile, names: Sequence[str]) -> list[zipfile.ZipInfo]:
    there = archive.NameToInfo
    return [there[name] for name in dict.fromkeys(names) if name in there]


def _checked(archive: zipfile.ZipFile, info: zipfile.ZipInfo, digest: str) -> IO[bytes] | None:
    """Return a member, read once if it is small, or None if it has another SHA-256."""
    if info.file_size <= _SMALL:
        data = archive.read(info)
        return io.BytesIO(data) if sha256(data).hexdigest() == digest else None
    hasher = sha256()
    with archive.open(info) as member:
        while data := member.read(_RANGE):
            hasher.update(data)
    return archive.open(info) if hasher.hexdigest() == digest else None


class _Ranged(io.RawIOBase):
    """An object of a store as a file."""

    def __init__(self, store: "Store", key: str, size: int) -> None:
        self._store, self._key, self._size, self._at = store, key, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if self._at < 0:
            raise ValueError("the offset is negative")
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        length = max(0, min(len(view), self._size - self._at))
        if length:
            view[:length] = self._store.get(self._key, self._at, length)
            self._at += length
        return length
