"""Freed memory stays with the process: the next buffer takes it.

glibc gives a freed buffer of 128 KiB or more back to the system, and the next one comes from there with each
of its pages cleared. A command that moves data makes such a buffer for every frame (docs/performance.md). The
peak stays what it is: no more is kept than was in use at once.

A process is configured here, so only the command line does it; the library leaves its caller's process alone.
"""

import sys

__all__ = ["keep_freed_memory"]

# <malloc.h>; the first is at its upper limit on 64-bit machines
_MMAP_THRESHOLD, _MMAP_SIZE = -3, 32 << 20
_TRIM_THRESHOLD, _TRIM_SIZE = -1, 256 << 20


def keep_freed_memory() -> bool:
    """Tell the allocator to keep what is freed; return whether there is one that can be told."""
    if sys.platform != "linux":
        return False
    import ctypes  # 2 ms

    try:
        set_option = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False  # not glibc
    return bool(set_option(_MMAP_THRESHOLD, _MMAP_SIZE) and set_option(_TRIM_THRESHOLD, _TRIM_SIZE))
