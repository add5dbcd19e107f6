"""Versions as paths, for `universal_pathlib` (entry point `universal_pathlib.implementations`).

    from upath import UPath

    folder = UPath("dataver://vision/cats@1.2.0/train")
    for path in folder.glob("*.jpg"):
        path.read_bytes()

Read-only, like the file system (`dataver.fs`).
"""

from contextlib import suppress

from fsspec import get_filesystem_class
from upath.core import UPath

__all__ = ["DataverPath"]

# universal_pathlib splits paths like the file system's class, but only if fsspec has loaded that class;
# otherwise it guesses, and caches the guess for the rest of the process.
get_filesystem_class("dataver")
with suppress(ImportError, AttributeError):  # an earlier guess, for a chain such as `simplecache::dataver://`
    from upath._flavour import WrappedFileSystemFlavour

    WrappedFileSystemFlavour.from_protocol.cache_clear()


class DataverPath(UPath):
    """A path in a repository: a folder of datasets, a version, or an entry of one."""

    __slots__ = ()
