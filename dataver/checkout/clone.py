"""Copying the bytes of a local file, sharing them with the original where the file system can.

Reflinks (Btrfs, XFS, bcachefs) cost nothing and stay independent; elsewhere `copy_file_range` copies inside
the kernel, and plain reading and writing is the last way.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import Final

__all__ = ["clone"]

_FICLONE: Final = 0x40049409  # _IOW(0x94, 9, int), linux/fs.h; 0x94 is Btrfs's number, others took it over
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
        Whether the bytes are shared (a reflink), so that no space was taken.
    """
    if share and _reflink(source, target):
        return True
    done = _in_kernel(source, target, size)
    while done < size:
        data = os.pread(source, min(1 << 20, size - done), done)
        if not data:
            break  # shorter than said: the caller compares sizes or digests
        os.pwrite(target, data, done)
        done += len(data)
    return False


def _reflink(source: int, target: int) -> bool:
    with suppress(ImportError, OSError):
        from fcntl import ioctl

        ioctl(target, _FICLONE, source)
        return True
    return False


def _in_kernel(source: int, target: int, size: int) -> int:
    done = 0
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
