"""The stat cache: digests of a folder's files, so that unchanged files are not read again.

One flat file per scanned folder: path, size, mtime, ctime, inode and digest of each file, in columns. A file
is unchanged only if all four stat values are equal.

The racy case is handled as in git: a file whose mtime or ctime is within `RACY_NS` of the start of the scan
could change again without its times changing, so it is not recorded and is read the next time.

Writes through a shared mapping are detected late: the kernel sets the times when a clean page is first
written, and not again before it has written the page back, by default within 35 s. So a file whose times are
within `_MAPPED_NS` is recorded only if no process has it open for writing. A read lease detects that, also
for a mapping without a descriptor (Linux, local file systems, own files; some 5 us a file, against 50 ms to
search `/proc/*/maps` of 150 processes). Undetected are writes through a mapping on file systems that never
update times for them (tmpfs), on other machines, and by programs that reset the times. `checksum` reads every
file regardless of the cache.

Keeps invariant 5: the cache may be deleted, a damaged one is a miss, and a failure to write it is ignored.
"""

import errno
import fcntl
import os
import signal
import struct
import sys
import time
from array import array
from pathlib import Path
from typing import NamedTuple

from dataver.errors import IntegrityError
from dataver.formats.compression import decompress_exactly, make_compressor, make_decompressor
from dataver.hashing import checksum, digest
from dataver.machine.paths import make_private
from dataver.storage.durable import replace_file

__all__ = ["RACY_NS", "FileStat", "StatCache"]

_MAGIC = b"DVSTAT\x00\x01"
_HEAD = struct.Struct("<8sQQQ")  # magic, rows, bytes of paths, checksum of the raw body
RACY_NS = 2_000_000_000  # the coarsest common timestamp (FAT) is 2 s
_MAPPED_NS = 60_000_000_000  # longer than Linux delays writing back a page (30 s, checked every 5 s)
_LIMIT = 1 << 32


class FileStat(NamedTuple):
    """Stat values that detect a change of a file. Times in nanoseconds."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


class StatCache:
    """The stat cache of one folder on this machine.

    Args:
        folder: the folder of all stat caches.
        root: names this one.
        checksum: return no digests, so that every file is read.
    """

    def __init__(self, folder: Path, root: str, *, checksum: bool = False) -> None:
        name = digest(os.fsencode(root)).hex()[:32]
        self._path = folder / name[:2] / name
        self._began = time.time_ns()
        self._checksum = checksum
        self._rows: dict[str, int] = {}
        self._columns = [array("q") for _ in FileStat._fields]
        self._digests = bytearray()
        self._changed = False
        self._load()

    def get(self, path: str, stat: FileStat) -> bytes | None:
        """Return the digest of a file that is unchanged since it was recorded, else None."""
        row = None if self._checksum else self._rows.get(path)
        if row is None:
            return None
        sizes, mtimes, ctimes, inodes = self._columns
        if (sizes[row], mtimes[row], ctimes[row], inodes[row]) != stat:
            return None
        return bytes(self._digests[32 * row : 32 * row + 32])

    def holds_still(self, fd: int, stat: FileStat) -> bool:
        """Return whether its times will reveal later changes of an open file; call before reading it."""
        age = self._began - max(stat.mtime_ns, stat.ctime_ns)
        return age > _MAPPED_NS or (age > RACY_NS and not _is_written_elsewhere(fd))

    def put(self, path: str, stat: FileStat, file_digest: bytes, *, still: bool = True) -> None:
        """Record a file that was read; drop it if it was not stable before that."""
        row = self._rows.get(path)
        if not still or max(stat.mtime_ns, stat.ctime_ns) >= self._began - RACY_NS:
            if row is not None:
                self._columns[0][row] = -1
                self._changed = True
            return
        self._changed = True
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
        """Write the cache; after a failure the files are only read again."""
        if not self._changed:
            return
        try:
            make_private(self._path.parent)
            replace_file(self._path, *self._encode())
        except OSError:
            return

    def _encode(self) -> tuple[bytes, bytes]:
        """Return the header and the body."""
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


def _is_written_elsewhere(fd: int) -> bool:
    """Return whether a process has the file open or mapped for writing; False if unknown."""
    if sys.platform != "linux":
        return False

    try:
        # the kernel sends this signal if a process opens the file meanwhile; it is ignored by default
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    return False
