"""The stat cache: what a folder's files hashed to, so that an unchanged file is not read again.

One flat file a scanned folder: path, size, mtime, ctime, inode and digest of each file, in columns. A file is
taken as unchanged only when all four stat values are equal.

The racy case is handled as git does: a file whose mtime or ctime lies within `_RACY_NS` of the moment the
scan began could change again without its times changing, so it is not remembered and is read the next time.

Keeps invariant 5: the cache may be deleted, a damaged one is a miss, and failing to write it is no failure.
"""

import os
import struct
import time
from array import array
from pathlib import Path
from typing import NamedTuple

from dataver.errors import IntegrityError
from dataver.formats.compression import decompress_exactly, make_compressor, make_decompressor
from dataver.hashing import checksum, digest

__all__ = ["FileStat", "StatCache"]

_MAGIC = b"DVSTAT\x00\x01"
_HEAD = struct.Struct("<8sQQQ")  # magic, rows, bytes of paths, checksum of the raw body
_RACY_NS = 2_000_000_000  # the coarsest common timestamp (FAT) is 2 s
_LIMIT = 1 << 32


class FileStat(NamedTuple):
    """What tells whether a file changed. Times in nanoseconds."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


class StatCache:
    """The stat cache of one folder on this machine."""

    def __init__(self, folder: Path, root: str) -> None:
        name = digest(os.fsencode(root)).hex()[:32]
        self._path = folder / name[:2] / name
        self._began = time.time_ns()
        self._rows: dict[str, int] = {}
        self._columns = [array("q") for _ in FileStat._fields]
        self._digests = bytearray()
        self._changed = False
        self._load()

    def get(self, path: str, stat: FileStat) -> bytes | None:
        """Return the digest of a file that has not changed since it was remembered, else None."""
        row = self._rows.get(path)
        if row is None:
            return None
        sizes, mtimes, ctimes, inodes = self._columns
        if (sizes[row], mtimes[row], ctimes[row], inodes[row]) != stat:
            return None
        return bytes(self._digests[32 * row : 32 * row + 32])

    def put(self, path: str, stat: FileStat, file_digest: bytes) -> None:
        """Remember a file that was just read, unless it changed too lately to be sure."""
        if max(stat.mtime_ns, stat.ctime_ns) >= self._began - _RACY_NS:
            return
        self._changed = True
        row = self._rows.get(path)
        if row is None:
            self._rows[path] = len(self._rows)
            for column, value in zip(self._columns, stat, strict=True):
                column.append(value)
            self._digests += file_digest
            return
        for column, value in zip(self._columns, stat, strict=True):
            column[row] = value
        self._digests[32 * row : 32 * row + 32] = file_digest

    def save(self) -> None:
        """Write what was remembered; a failure only costs reading the files again."""
        if not self._changed:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._path.with_name(f".tmp-{os.getpid()}-{self._path.name}")
            with temporary.open("wb") as file:
                for part in self._encode():
                    file.write(part)
            temporary.replace(self._path)
        except OSError:
            return

    def _encode(self) -> tuple[bytes, bytes]:
        """Return the head, and what stands behind it."""
        names = "\0".join(self._rows).encode("utf-8", "surrogateescape")
        body = bytearray()
        for column in self._columns:
            body += memoryview(column).cast("B")
        body += self._digests
        body += names
        return _HEAD.pack(_MAGIC, len(self._rows), len(names), checksum(body)), make_compressor(1)(body)

    def _load(self) -> None:
        try:
            data = self._path.read_bytes()
            magic, rows, names, check = _HEAD.unpack_from(data)
            size = rows * (8 * len(self._columns) + 32) + names
            if magic != _MAGIC or size > _LIMIT:
                return
            raw = decompress_exactly(
                memoryview(data)[_HEAD.size :], size, make_decompressor(), "the stat cache"
            )
        except (OSError, struct.error, IntegrityError):
            return
        if checksum(raw) != check or not rows:
            return
        body, behind = memoryview(raw), 8 * rows * len(self._columns)
        text = str(body[behind + 32 * rows :], "utf-8", "surrogateescape")
        paths = dict(zip(text.split("\0"), range(rows), strict=False))
        if len(paths) != rows:
            return
        for number, column in enumerate(self._columns):
            column.frombytes(body[8 * rows * number : 8 * rows * (number + 1)])
        self._digests += body[behind : behind + 32 * rows]
        self._rows = paths
