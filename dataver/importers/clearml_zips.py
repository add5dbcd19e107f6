"""Members of zip files in a store, read one by one, without a copy of the zip file.

The idea: the directory of a zip file is read once, and then each small member with a single ranged read, on
many threads. A member is found by its name and size, or by its size and SHA-256. What is read of a member is
bounded by the size that is expected of it.
"""

import io
import lzma
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import IO, TYPE_CHECKING, Final, NamedTuple

from dataver.errors import IntegrityError
from dataver.lru import LRUCache
from dataver.storage import Store

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["MemberIndex", "Opener"]

Opener = Callable[[], tuple[Store, str]]
"""Returns the store and the key of a zip file."""

_RANGE: Final = 1 << 20  # bytes of one read
_RANGES: Final = 8  # of a zip file that are kept
_SMALL: Final = 4 << 20  # bytes of a member that is kept in memory
_OPEN: Final = 8  # zip files kept open
_HEADER: Final = struct.Struct("<26xHH")  # of a member: the lengths of its name and extra field
_EXTRA: Final = 256  # bytes by which that field may be longer than the directory's
_DAMAGE: Final = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,
    ValueError,
    OSError,
    struct.error,
)


class _Zip(NamedTuple):
    """An open zip file; its members by SHA-256 are known of the sizes for which they were needed."""

    archive: zipfile.ZipFile
    store: Store
    key: str
    size: int
    hashes: dict[int | None, dict[str, zipfile.ZipInfo]]


class MemberIndex:
    """Open zip files by name."""

    def __init__(self) -> None:
        self._opening = threading.RLock()  # so that threads do not read the same directory or member each
        self._zips: LRUCache[str, _Zip] = LRUCache(_OPEN)

    def open(
        self, zips: Sequence[tuple[str, Opener]], names: Sequence[str], size: int | None, digest: str
    ) -> IO[bytes]:
        """Open the member with one of the names, else the one with the SHA-256, in one of the zip files.

        Raises:
            IntegrityError: there is none, or a zip file is damaged.
            StoreError: the store failed.
        """
        damage = ""
        for by_name in (True, False):
            for name, opener in zips:
                try:
                    found = self._opened(name, opener)
                    chosen = _named(found, names) if by_name else self._hashed(found, size, digest)
                    for info in chosen:
                        if size in (None, info.file_size) and (member := _checked(found, info, digest)):
                            return member
                except _DAMAGE as error:
                    damage = f"; {name} is damaged: {error}"
        raise IntegrityError(f"no zip file of ClearML has '{names[0]}' with its SHA-256{damage}.")

    def _opened(self, name: str, opener: Opener) -> _Zip:
        with self._opening:
            found = self._zips.get(name)
            if found is None:
                store, key = opener()
                size = store.stat(key).size
                archive = zipfile.ZipFile(io.BufferedReader(_Ranged(store, key, size)))
                found = _Zip(archive, store, key, size, {})
                self._zips.put(name, found)
            return found

    def _hashed(self, there: _Zip, size: int | None, digest: str) -> list[zipfile.ZipInfo]:
        """Return the member with a size and a SHA-256; all members of that size are read once."""
        with self._opening:
            if size not in there.hashes:
                same = [each for each in there.archive.infolist() if size in (None, each.file_size)]
                there.hashes[size] = {_sha256(there, each): each for each in same}
        found = there.hashes[size].get(digest)
        return [found] if found else []


def _named(there: _Zip, names: Sequence[str]) -> list[zipfile.ZipInfo]:
    known = there.archive.NameToInfo
    return [known[name] for name in dict.fromkeys(names) if name in known]


def _checked(there: _Zip, info: zipfile.ZipInfo, digest: str) -> IO[bytes] | None:
    """Return a member, read once if it is small, or None if it has another SHA-256."""
    if info.file_size <= _SMALL:
        data = _content(there, info)
        return io.BytesIO(data) if sha256(data).hexdigest() == digest else None
    return there.archive.open(info) if _sha256(there, info) == digest else None


def _content(there: _Zip, info: zipfile.ZipInfo) -> bytes:
    """Return a small member, read in a single range if its compression permits."""
    if (
        info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        or info.compress_size > 2 * _SMALL
    ):
        return there.archive.read(info)
    start, extra = info.header_offset, len(info.filename.encode()) + len(info.extra) + _EXTRA
    length = min(_HEADER.size + extra + info.compress_size, there.size - start)
    data = there.store.get(there.key, start, length)
    begin = _HEADER.size + sum(_HEADER.unpack_from(data))
    packed = data[begin : begin + info.compress_size]
    if len(packed) < info.compress_size:
        return there.archive.read(info)
    if info.compress_type == zipfile.ZIP_STORED:
        return packed
    most = info.file_size  # where 0 means no limit to zlib
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, most) if most else b""


def _sha256(there: _Zip, info: zipfile.ZipInfo) -> str:
    hasher = sha256()
    with there.archive.open(info) as member:
        while data := member.read(_RANGE):
            hasher.update(data)
    return hasher.hexdigest()


class _Ranged(io.RawIOBase):
    """An object of a store as a file, whose last ranges are kept: members are read by several threads."""

    def __init__(self, store: "Store", key: str, size: int) -> None:
        self._store, self._key, self._size, self._at = store, key, size, 0
        self._ranges: LRUCache[int, bytes] = LRUCache(_RANGES)

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
        start, skip = divmod(self._at, _RANGE)
        if self._at >= self._size:
            return 0
        data = self._ranges.get(start)
        if data is None:
            begin = start * _RANGE
            data = self._store.get(self._key, begin, min(_RANGE, self._size - begin))
            self._ranges.put(start, data)
        length = min(len(view), len(data) - skip)
        view[:length] = data[skip : skip + length]
        self._at += length
        return length
