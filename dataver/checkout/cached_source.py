"""One cached folder as a source of files: it has a lease while it is used, and its files are checked.

Keeps its part of invariant 1: a file is used if its size and mtime are unchanged since it was verified; with
`full` it is hashed again.

A copy shares the bytes of the original if the file system supports it: reflinks (Btrfs, XFS, bcachefs) take
no space and stay independent. Elsewhere `copy_file_range` copies inside the kernel, and plain reading and
writing is the fallback. Both of these preserve holes.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from fcntl import ioctl
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from dataver.cache.stat_manifest import heads, read_block, read_extents
from dataver.cache.version_cache import manifest_of
from dataver.checkout.folder import LONG, located, status_of
from dataver.checkout.local_sources import hash_file
from dataver.checkout.transfer import Copy, LocalCopy
from dataver.errors import IntegrityError
from dataver.hashing.digest import digest
from dataver.machine.deep_folders import open_folder
from dataver.storage.holes import data_spans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dataver.cache.leases import Lease
    from dataver.cache.stat_manifest import Block, BlockHead, LocatedExtents
    from dataver.cache.version_cache import VersionCache
    from dataver.checkout.folder import Folder

__all__ = ["CachedSource", "Look", "clone"]

_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK

_T = TypeVar("_T")

Look: TypeAlias = tuple[int, int, int]
"""Stat values of a file when it was verified: kind, size, modification time (ns)."""
_FICLONE: Final = 0x40049409  # _IOW(0x94, 9, int), linux/fs.h; 0x94 is Btrfs's number, which others adopted
_STEP: Final = 64 * 1024 * 1024
_UNABLE: Final = frozenset(
    {
        errno.EXDEV,
        errno.EINVAL,
        errno.ENOSYS,
        errno.EOPNOTSUPP,
        errno.EBADF,
        errno.ENOTTY,
        errno.EPERM,
        errno.EIO,
    }
)


class CachedSource:
    """A complete cached folder; opened, with a lease, when something in it is wanted.

    Attributes:
        name: its name in the cache.
        is_open: whether something in it was wanted.
    """

    def __init__(self, cache: VersionCache, name: str, *, full: bool) -> None:
        self.name = name
        self._cache = cache
        self._path = cache.trees / name
        self._full = full
        self._share = True
        self._fd = -1
        self._lease: Lease | None = None
        self._usable = True
        self.is_open = False

    def close(self) -> None:
        """Close the folder and release its lease."""
        if self.is_open:
            os.close(self._fd)
            self.is_open = False
        if self._lease is not None:
            self._lease.release()
            self._lease = None

    def heads(self) -> Iterator[BlockHead]:
        """Yield the heads of its manifest's blocks, as far as they are readable."""
        if not self._usable:
            return
        try:
            yield from heads(manifest_of(self._path))
        except (OSError, IntegrityError):
            self._usable = False  # the cache is a hint: without it everything is read from the repository

    def open(self) -> bool:
        """Open the folder, with a lease; return whether it can be used."""
        if not self.is_open and self._usable:
            self._lease = self._cache.lease(self.name)  # else its files could be removed meanwhile
            try:
                self._fd = open_folder(self._path)
                self.is_open = True
            except OSError:
                self._usable = False
        return self.is_open

    def block(self, head: BlockHead) -> Block | None:
        """Return the rows of a block, or None if they are unreadable."""
        return self._read(read_block, head)

    def extents(self, head: BlockHead) -> LocatedExtents | None:
        """Return the extents of a block's large files, or None if they are unreadable."""
        return self._read(read_extents, head)

    def _read(self, read: Callable[[Path, BlockHead], _T], head: BlockHead) -> _T | None:
        try:
            return read(manifest_of(self._path), head) if self._usable else None
        except (OSError, IntegrityError):
            self._usable = False
            return None

    def link(self, old: str, new: str, row: Look, folder: Folder) -> bool:
        """Hard-link a file, then check that the linked file is the verified one."""
        try:
            if len(old) < LONG and len(new) < LONG:
                os.link(old, new, src_dir_fd=self._fd, dst_dir_fd=folder.fd, follow_symlinks=False)
                status = os.stat(new, dir_fd=folder.fd, follow_symlinks=False)  # a descriptor
            else:
                with located(self._fd, old) as (root, name), located(folder.fd, new) as (there, short):
                    os.link(name, short, src_dir_fd=root, dst_dir_fd=there, follow_symlinks=False)
                    status = os.stat(short, dir_fd=there, follow_symlinks=False)  # a descriptor
        except OSError:
            return False  # another file system, or the limit of links is reached: copy instead
        if _is_unchanged(status, row):
            return True
        folder.remove(new)
        return False

    def copy_tiny(self, copy: Copy, folder: Folder) -> bool:
        """Copy a file through memory: check its stat values after reading, then write it."""
        size = copy.row[1]
        try:
            with located(self._fd, copy.old) as (root, name):
                fd = os.open(name, _READ, dir_fd=root)
            try:
                data = os.read(fd, size)
                if not _is_unchanged(os.fstat(fd), copy.row) or len(data) != size:
                    return False
            finally:
                os.close(fd)
        except OSError:
            return False
        if self._full and digest(data) != copy.rows.file_digest(copy.number):
            return False
        folder.write(copy.path, copy.executable, data)
        return True

    def copy(self, folder: Folder, copy: Copy) -> bool:
        """Copy a file; after a failure it is fetched from the repository."""
        source = self._open(copy.old, copy.row)
        if source is None:
            return False
        try:
            if self._full and hash_file(source) != copy.rows.file_digest(copy.number):
                return False
            target = folder.new(copy.path, copy.executable)
            try:
                size = copy.row[1]
                self._share = clone(source, target, size, share=self._share)
                return os.fstat(target).st_size == size and _is_unchanged(os.fstat(source), copy.row)
            finally:
                os.close(target)
        except OSError:
            return False
        finally:
            os.close(source)

    def is_unchanged(self, path: str, row: Look) -> bool:
        """Open the folder; return whether a file in it is unchanged since it was verified."""
        if not self.open():
            return False
        try:
            return _is_unchanged(status_of(self._fd, path), row)
        except OSError:
            return False

    def spans(self, path: str, row: Look, spans: list[tuple[int, int, int]]) -> LocalCopy:
        """Return the copy of spans of a file: `(from, to, length)` each."""
        return LocalCopy(partial(self._opened, path, row), spans)

    def _opened(self, path: str, row: Look) -> int:
        """Return a descriptor; of an empty file if the file is gone, so that the digest does not match."""
        fd = self._open(path, row)
        return os.open(os.devnull, _READ) if fd is None else fd

    def _open(self, path: str, row: Look) -> int | None:
        """Return a descriptor of a file if it is unchanged since it was verified."""
        try:
            with located(self._fd, path) as (root, name):
                fd = os.open(name, _READ, dir_fd=root)
        except OSError:
            return None
        if _is_unchanged(os.fstat(fd), row):
            return fd
        os.close(fd)
        return None


def _is_unchanged(status: os.stat_result, row: Look) -> bool:
    """Return whether a file has the size and modification time it had when it was verified."""
    return status.st_size == row[1] and status.st_mtime_ns == row[2] and stat.S_ISREG(status.st_mode)


def clone(source: int, target: int, size: int, *, share: bool = True) -> bool:
    """Copy `size` bytes from the start of one open file to another, which is empty.

    Returns:
        Whether the bytes are shared (a reflink) and take no space.
    """
    if share and _reflink(source, target):
        return True
    end = 0
    for start, end in data_spans(source, size):
        done = _in_kernel(source, target, start, end)
        while done < end:
            data = os.pread(source, min(1 << 20, end - done), done)
            if not data:
                return False  # shorter than expected: the caller compares sizes or digests
            os.pwrite(target, data, done)
            done += len(data)
    if end < size <= os.fstat(source).st_size:
        os.ftruncate(target, size)
    return False


def _reflink(source: int, target: int) -> bool:
    with suppress(OSError):
        ioctl(target, _FICLONE, source)
        return True
    return False


def _in_kernel(source: int, target: int, done: int, size: int) -> int:
    copy = getattr(os, "copy_file_range", None)
    while copy is not None and done < size:
        try:
            count = copy(source, target, min(_STEP, size - done), done, done)
        except OSError as error:
            if error.errno in _UNABLE:
                break
            raise
        if count == 0:
            break
        done += count
    return done
