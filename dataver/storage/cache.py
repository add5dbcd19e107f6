"""A bounded folder of small objects that can be had again (invariant 5).

One idea: it can never do harm. Each file carries a checksum of its key and bytes, so a torn or damaged one
is a miss and is removed; a write that fails is forgotten; the files used longest ago go first when the
folder is full. Names are digests of keys, so no key can reach outside the folder. Nothing is flushed:
losing it costs a download.

File: value | 16 bytes BLAKE2b(key, NUL, value).
"""

import contextlib
import os
import threading
import time
from pathlib import Path

from dataver.storage.base import TEMPORARY, BytesLike

__all__ = ["DiskCache"]

_SUM = 16
_LIMIT = 1 << 30
_KEEP = 0.8  # of the limit, after clearing
_TOUCH = 3600.0  # seconds: how exactly the last use is known; spares a write per read


class DiskCache:
    """Bytes by key, on this machine's disk, shared by its processes.

    Args:
        root: the folder; made when needed, readable by its owner only.
        limit: bytes that may be kept.
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

    def get(self, key: str) -> bytes | None:
        """Return the bytes kept under `key`, or None."""
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
        """Keep `data` under `key`, if the disk lets us; never raises for a full or read-only disk."""
        if len(data) > self._limit * _KEEP:
            return
        path = self._path(key)
        temporary = path.parent / f"{TEMPORARY}{os.urandom(8).hex()}"
        try:
            self._make(path.parent)
            try:
                with temporary.open("xb") as file:
                    file.write(data)
                    file.write(_sum(key, data))
                temporary.replace(path)
            except OSError:
                temporary.unlink(missing_ok=True)
                return
        except OSError:
            return
        self._bound(len(data) + _SUM)

    def remove(self, key: str) -> None:
        """Forget `key`."""
        with contextlib.suppress(OSError):
            self._path(key).unlink()

    def _path(self, key: str) -> Path:
        from hashlib import blake2b  # OpenSSL comes with it, which a local repository need not wait for

        name = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
        return self.root / name[:2] / name[2:]

    def _make(self, folder: Path) -> None:
        if not self.root.is_dir():
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.mkdir(exist_ok=True, mode=0o700)

    def _bound(self, written: int) -> None:
        # measuring walks the folder, so it happens once a process and then once per sixteenth of the limit
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
    """Remove the files used longest ago until 80 % of the limit is left, and what crashes left behind."""
    kept: list[tuple[float, int, str]] = []
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            with contextlib.suppress(OSError):
                status = path.stat()
                if name.startswith(TEMPORARY) and time.time() - status.st_mtime > _TOUCH:
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
