"""Allocator setting: freed memory stays with the process and is used for the next buffer.

By default glibc returns a freed buffer of 128 KiB or more to the system, and each page of the next one is
cleared again. A command that transfers data allocates such a buffer for every frame (docs/performance.md).
The peak does not change, because no more memory is kept than was in use at one time.

This configures the whole process, so only the command line does it, and not the library.
"""

import sys

__all__ = ["keep_freed_memory"]

# <malloc.h>; the first is at its upper limit on 64-bit machines
_MMAP_THRESHOLD, _MMAP_SIZE = -3, 32 << 20
_TRIM_THRESHOLD, _TRIM_SIZE = -1, 256 << 20


def keep_freed_memory() -> bool:
    """Set the allocator to keep freed memory; return whether it supports this."""
    if sys.platform != "linux":
        return False
    import ctypes  # 2 ms

    try:
        set_option = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False  # not glibc
    return bool(set_option(_MMAP_THRESHOLD, _MMAP_SIZE) and set_option(_TRIM_THRESHOLD, _TRIM_SIZE))
