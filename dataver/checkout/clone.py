"""Copying the bytes of a local file, sharing them with the original if the file system supports it.

Reflinks (Btrfs, XFS, bcachefs) take no space and stay independent; elsewhere `copy_file_range` copies inside
the kernel, and plain reading and writing is the fallback. Both of these preserve holes.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import Final

from dataver.storage.holes import data_spans

__all__ = ["clone"]

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
    with suppress(ImportError, OSError):
        from fcntl import ioctl

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
