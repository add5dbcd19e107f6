"""Bounded disk cache of small objects (invariant 5).

The idea: a failure of the cache is only a miss. Each file has a checksum of its key and bytes; a damaged file
is removed. A failed write is ignored. The least recently used files are removed when the folder is full. File
names are digests of keys, so no key refers to a path outside the folder. Nothing is flushed: a lost file is
downloaded again.

File: value | 16 bytes BLAKE2b(key, NUL, value).
"""

import contextlib
import os
import stat
import threading
import time
from pathlib import Path

from dataver.machine.deep_folders import remove_folder
from dataver.machine.paths import make_private
from dataver.storage.base import TEMPORARY, BytesLike
from dataver.storage.durable import replace_file

# Imports in functions: hashlib loads OpenSSL (2 ms), which local repositories do not need.

__all__ = ["DiskCache"]

_SUM = 16
_LIMIT = 1 << 30
_KEEP = 0.8  # of the limit, after clearing
_TOUCH = 3600.0  # seconds: resolution of the time of the last use; avoids a write per read


class DiskCache:
    """Bytes by key on the local disk, shared by all processes.

    Args:
        root: the folder; created when needed, readable by its owner only.
        limit: maximum total bytes.
    """

    def __init__(self, root: Path, *, limit: int = _LIMIT) -> None:
        self.root = root
        self._limit = limit
        self._lock = threading.Lock()
        self._unmeasured: int | None = None  # bytes that may be written before the folder is measured again

    def __getstate__(self) -> tuple[Path, int]:
        return self.root, self._limit

    def __setstate__(self, state: tuple[Path, int]) -> None:
        self.root, self._limit = state
        self._lock = threading.Lock()
        self._unmeasured = None

    def __contains__(self, key: str) -> bool:
        return self._path(key).exists()

    def get(self, key: str) -> bytes | None:
        """Return the bytes stored under `key`, or None."""
        path = self._path(key)
        try:
            with path.open("rb") as file:
                used = os.fstat(file.fileno()).st_mtime
                data = file.read()
        except OSError:
            return None
        value = data[:-_SUM]
        if len(data) < _SUM or data[-_SUM:] != _sum(key, value):
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        if time.time() - used > _TOUCH:
            with contextlib.suppress(OSError):
                os.utime(path)
        return value

    def put(self, key: str, data: BytesLike) -> None:
        """Store `data` under `key`; never raises for a full or read-only disk."""
        if len(data) > self._limit * _KEEP:
            return
        path = self._path(key)
        try:
            make_private(path.parent)
            replace_file(path, data, _sum(key, data))
        except OSError:
            return
        self._bound(len(data) + _SUM)

    def remove(self, key: str) -> None:
        """Remove `key`."""
        with contextlib.suppress(OSError):
            self._path(key).unlink()

    def clear(self) -> None:
        """Remove all entries."""
        with contextlib.suppress(OSError):
            remove_folder(self.root)

    def _path(self, key: str) -> Path:
        from hashlib import blake2b  # loads OpenSSL, which local repositories do not need

        name = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
        return self.root / name[:2] / name[2:]

    def _bound(self, written: int) -> None:
        # measuring walks the folder: done once a process, then after each sixteenth of the limit
        with self._lock:
            if self._unmeasured is not None and self._unmeasured > written:
                self._unmeasured -= written
                return
            with contextlib.suppress(OSError):
                _clear(self.root, self._limit)
            self._unmeasured = self._limit // 16


def _sum(key: str, data: BytesLike) -> bytes:
    from hashlib import blake2b

    hasher = blake2b(key.encode("utf-8", "surrogatepass") + b"\x00", digest_size=_SUM)
    hasher.update(data)
    return hasher.digest()


def _clear(root: Path, limit: int) -> None:
    """Remove least recently used files down to 80 % of the limit, and leftovers of crashes."""
    kept: list[tuple[float, int, str]] = []
    for path in root.glob("*/*"):  # the cache has no deeper files
        with contextlib.suppress(OSError):
            status = path.lstat()
            if not stat.S_ISREG(status.st_mode):
                continue
            if path.name.startswith(TEMPORARY) and time.time() - status.st_mtime > _TOUCH:
                path.unlink()
            else:
                kept.append((status.st_mtime, status.st_size, str(path)))
    total = sum(size for _, size, _ in kept)
    if total <= limit:
        return
    for _, size, name in sorted(kept):
        with contextlib.suppress(OSError):
            Path(name).unlink()
        total -= size
        if total <= limit * _KEEP:
            return
