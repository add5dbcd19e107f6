"""The stat cache: digests of a folder's files, so that unchanged files are not read again.

One file per scanned folder: blocks of 2,048 rows in path order, and an index of their first paths. A row is
the path, size, mtime, ctime, inode and digest of a file, which is unchanged only if all four stat values are
equal. Only the index, one block and a bounded number of new rows are in memory: a scan visits paths nearly in
order, so each block is read about once. New rows go into blocks in a scratch file, and `save` writes one file
of the blocks that are current.

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
import itertools
import math
import os
import signal
import struct
import sys
import time
import weakref
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple, TypeAlias

from dataver.errors import IntegrityError
from dataver.formats.compression import decompress_exactly, make_compressor, make_decompressor
from dataver.hashing import DIGEST_SIZE, checksum, digest
from dataver.machine.paths import make_private
from dataver.storage.base import TEMPORARY
from dataver.storage.durable import replace_file_from

__all__ = ["RACY_NS", "FileStat", "NoStatCache", "StatCache"]

_MAGIC = b"DVSTAT\x00\x02"
_HEAD = struct.Struct("<8sQ")  # magic, stored length of the index; then the index and the blocks
_BLOCK = struct.Struct("<QQ")  # raw size, checksum of the raw bytes; then these, compressed
_LENGTH = struct.Struct("<Q")
_STAT = struct.Struct("<qqqQ")
_ROWS = 2048  # of a block at most
_MOST = 1 << 15  # new rows in memory, some 300 bytes each
RACY_NS = 2_000_000_000  # the coarsest common timestamp (FAT) is 2 s
_MAPPED_NS = 60_000_000_000  # longer than Linux delays writing back a page (30 s, checked every 5 s)
_LIMIT = 1 << 28


class FileStat(NamedTuple):
    """Stat values that detect a change of a file. Times in nanoseconds."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


_Place: TypeAlias = tuple[int, int, int]  # descriptor, length and offset of a stored block
_Near: TypeAlias = tuple[str, str | None, dict[str, bytes]]  # first path, first path behind it, rows
_NOWHERE: _Near = ("", "", {})


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
        self._firsts = [""]  # the first path that each block covers
        self._places: list[_Place] = [(-1, 0, 0)]
        self._near = _NOWHERE
        self._new: dict[str, bytes] = {}  # stat values and digest by path; empty to drop the row
        self._scratch: int | None = None
        self._end = 0
        self._load()

    def get(self, path: str, stat: FileStat) -> bytes | None:
        """Return the digest of a file that is unchanged since it was recorded, else None."""
        if self._checksum:
            return None
        row = self._new.get(path)
        if row is None:
            lower, upper, rows = self._near
            if path < lower or (upper is not None and path >= upper):
                rows = self._approach(path)
            row = rows.get(path, b"")
        return row[_STAT.size :] if row[: _STAT.size] == _STAT.pack(*stat) else None

    def holds_still(self, fd: int, stat: FileStat) -> bool:
        """Return whether its times will reveal later changes of an open file; call before reading it."""
        age = self._began - max(stat.mtime_ns, stat.ctime_ns)
        return age > _MAPPED_NS or (age > RACY_NS and not _is_written_elsewhere(fd))

    def put(self, path: str, stat: FileStat, file_digest: bytes, *, still: bool = True) -> None:
        """Record a file that was read; drop it if it was not stable before that."""
        stable = still and max(stat.mtime_ns, stat.ctime_ns) < self._began - RACY_NS
        self._new[path] = _STAT.pack(*stat) + file_digest if stable else b""
        if len(self._new) >= _MOST:
            self._flush()

    def save(self) -> None:
        """Write the cache; after a failure the files are only read again."""
        self._flush()
        if self._scratch is None:
            return
        try:
            replace_file_from(self._path, self._encode())
        except OSError:
            return

    def _encode(self) -> Iterator[bytes]:
        """Yield the header, the index and the blocks."""
        index = _encode(
            dict(zip(self._firsts, (_LENGTH.pack(each[1]) for each in self._places), strict=True))
        )
        yield _HEAD.pack(_MAGIC, len(index)) + index
        yield from itertools.starmap(os.pread, self._places)

    def _load(self) -> None:
        try:
            fd = os.open(self._path, os.O_RDONLY)
            weakref.finalize(self, os.close, fd)
            magic, length = _HEAD.unpack(os.pread(fd, _HEAD.size, 0))
        except (OSError, struct.error):
            return
        index = _parse((fd, min(length, _LIMIT), _HEAD.size), _LENGTH.size) if magic == _MAGIC else {}
        if not index:
            return
        self._firsts, self._places, offset = list(index), [], _HEAD.size + length
        for (stored,) in map(_LENGTH.unpack, index.values()):
            self._places.append((fd, stored, offset))
            offset += stored

    def _approach(self, path: str) -> dict[str, bytes]:
        """Read the block that covers a path."""
        number = bisect_right(self._firsts, path) - 1
        upper = self._firsts[number + 1] if number + 1 < len(self._firsts) else None
        rows = _parse(self._places[number], _STAT.size + DIGEST_SIZE)
        self._near = (self._firsts[number], upper, rows)
        return rows

    def _flush(self) -> None:
        """Write blocks with the new rows to the scratch file; if that fails, the rows are lost."""
        new, self._new = sorted(self._new.items()), {}
        at = 0
        try:
            while at < len(new):
                rows = self._approach(new[at][0])
                upper = self._near[1]
                end = len(new) if upper is None else bisect_left(new, upper, at, key=itemgetter(0))
                changed = {path: row for path, row in (rows | dict(new[at:end])).items() if row}
                if changed != rows:
                    self._replace(sorted(changed.items()))
                at = end
        except OSError:
            return
        finally:
            self._near = _NOWHERE

    def _replace(self, rows: list[tuple[str, bytes]]) -> None:
        """Write blocks with these rows in place of the one read last."""
        number = bisect_left(self._firsts, self._near[0])
        size = math.ceil(len(rows) / math.ceil(len(rows) / _ROWS)) if rows else 1
        pieces = [rows[start : start + size] for start in range(0, len(rows), size)] or [[]]
        self._places[number : number + 1] = [self._write(_encode(dict(piece))) for piece in pieces]
        self._firsts[number + 1 : number + 1] = [piece[0][0] for piece in pieces[1:]]

    def _write(self, data: bytes) -> _Place:
        if self._scratch is None:
            make_private(self._path.parent)
            path = self._path.with_name(f"{TEMPORARY}{os.urandom(8).hex()}")
            self._scratch = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            weakref.finalize(self, os.close, self._scratch)
            path.unlink()
        self._end += len(data)
        return self._scratch, os.pwrite(self._scratch, data, self._end - len(data)), self._end - len(data)


class NoStatCache(StatCache):
    """A cache of nothing: every file is read, and none is recorded."""

    def __init__(self) -> None:
        """Read nothing."""

    def get(self, path: str, stat: FileStat) -> bytes | None:  # noqa: ARG002
        """Return None."""
        return None

    def holds_still(self, fd: int, stat: FileStat) -> bool:  # noqa: ARG002
        """Return True: nothing depends on it."""
        return True

    def put(self, path: str, stat: FileStat, file_digest: bytes, *, still: bool = True) -> None:
        """Do nothing."""

    def save(self) -> None:
        """Do nothing."""


def _encode(rows: dict[str, bytes]) -> bytes:
    """Return a stored block of values of equal length by path."""
    names = "\0".join(rows).encode("utf-8", "surrogateescape")
    raw = b"".join((_LENGTH.pack(len(names)), names, *rows.values()))
    return _BLOCK.pack(len(raw), checksum(raw)) + make_compressor(1)(raw)


def _parse(place: _Place, width: int) -> dict[str, bytes]:
    """Return the values of a stored block by path; none if it is damaged or absent."""
    try:
        data = os.pread(*place)
        size, check = _BLOCK.unpack_from(data)
        stored = memoryview(data)[_BLOCK.size :]
        raw = decompress_exactly(stored, min(size, _LIMIT), make_decompressor(), "the stat cache")
    except (OSError, struct.error, IntegrityError):
        return {}
    if checksum(raw) != check:
        return {}
    start = _LENGTH.size + _LENGTH.unpack_from(raw)[0]
    paths = str(raw[_LENGTH.size : start], "utf-8", "surrogateescape").split("\0")
    return dict(zip(paths, (raw[at : at + width] for at in range(start, size, width)), strict=False))


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
