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
        self._digests = b""
        self._new: dict[str, tuple[FileStat, bytes]] = {}
        self._load()

    def get(self, path: str, stat: FileStat) -> bytes | None:
        """Return the digest of a file that has not changed since it was remembered, else None."""
        row = self._rows.get(path)
        if row is None:
            return None
        sizes, mtimes, ctimes, inodes = self._columns
        if (sizes[row], mtimes[row], ctimes[row], inodes[row]) != stat:
            return None
        return self._digests[32 * row : 32 * row + 32]

    def put(self, path: str, stat: FileStat, file_digest: bytes) -> None:
        """Remember a file that was just read, unless it changed too lately to be sure."""
        if max(stat.mtime_ns, stat.ctime_ns) < self._began - _RACY_NS:
            self._new[path] = (stat, file_digest)

    def save(self) -> None:
        """Write what was remembered; a failure only costs reading the files again."""
        if not self._new:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._path.with_name(f".tmp-{os.getpid()}-{self._path.name}")
            temporary.write_bytes(self._encode())
            temporary.replace(self._path)
        except OSError:
            return

    def _encode(self) -> bytes:
        kept = [(path, row) for path, row in self._rows.items() if path not in self._new]
        paths = [path for path, _ in kept] + list(self._new)
        digests = [self._digests[32 * row : 32 * row + 32] for _, row in kept]
        digests += [name for _, name in self._new.values()]
        fresh = zip(*(stat for stat, _ in self._new.values()), strict=True)
        columns = [
            array("q", [old[row] for _, row in kept] + list(new))
            for old, new in zip(self._columns, fresh, strict=True)
        ]
        names = "\0".join(paths).encode("utf-8", "surrogateescape")
        body = b"".join((*(column.tobytes() for column in columns), *digests, names))
        head = _HEAD.pack(_MAGIC, len(paths), len(names), checksum(body))
        return head + make_compressor(1)(body)

    def _load(self) -> None:
        try:
            data = self._path.read_bytes()
            magic, rows, names, check = _HEAD.unpack_from(data)
            size = rows * (8 * len(self._columns) + 32) + names
            if magic != _MAGIC or size > _LIMIT:
                return
            body = decompress_exactly(data[_HEAD.size :], size, make_decompressor(), "the stat cache")
        except (OSError, struct.error, IntegrityError):
            return
        if checksum(body) != check:
            return
        for number, column in enumerate(self._columns):
            column.frombytes(body[8 * rows * number : 8 * rows * (number + 1)])
        behind = 8 * rows * len(self._columns)
        self._digests = body[behind : behind + 32 * rows]
        text = body[behind + 32 * rows :].decode("utf-8", "surrogateescape")
        self._rows = dict(zip(text.split("\0"), range(rows), strict=False)) if rows else {}
