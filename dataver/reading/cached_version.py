"""The complete folder of a fetched version in the machine's cache: plain local files.

The idea: its bytes were verified when it was fetched, so they are read directly. A path is opened on the disk
only if it contains no link; other paths are resolved in the tree first. Files that the folder lacks (it was
removed, or an entry could not be created there) are read from the repository.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from dataver.cache.version_cache import VersionCache, folder_name
from dataver.machine.cache_root import CacheUnusable, open_cache_root

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Fetched"]

_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_KNOWN: Final = 100_000  # folders known not to be links


class Fetched:
    """A version's folder in the cache; it is not removed while this process lives.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._plain: set[str] = {""}

    @classmethod
    def find(cls, tree: bytes) -> Fetched | None:
        """Return the folder of a tree in the cache, or None."""
        try:
            cache, name = VersionCache(open_cache_root()), folder_name(tree)
        except CacheUnusable:
            return None
        found = cache.lookup(tree)
        if found is None:
            return None
        cache.use(name)
        if cache.lookup(tree) is None:  # it was removed just before
            cache.done(name)
            return None
        cache.touch(found)
        return cls(found.path)

    def open(self, path: str) -> int | None:
        """Return a descriptor of a file, or None if the path contains links or is not a file."""
        descriptor = self._open(path)
        if descriptor is None or stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        os.close(descriptor)
        return None

    def read(self, path: str, start: int, stop: int | None) -> tuple[bytes, int] | None:
        """Return a range of a file and the file's size; None as for `open`."""
        descriptor = self._open(path)
        if descriptor is None:
            return None
        try:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                return None
            size = facts.st_size
            left = (size if stop is None or stop > size else stop) - start
            if left <= 0:
                return b"", size
            data = os.pread(descriptor, left, start)
            return (data if len(data) == left else _rest(descriptor, data, start, left)), size
        except (OSError, EOFError):
            return None
        finally:
            os.close(descriptor)

    def _open(self, path: str) -> int | None:
        folder, _, name = path.rpartition("/")
        if not name or (folder not in self._plain and not self._is_plain(folder)):
            return None
        try:
            return os.open(f"{self.path}/{path}", _FLAGS)
        except (OSError, ValueError):
            return None

    def _is_plain(self, folder: str) -> bool:
        """Return whether a folder's path has no links, dots and double slashes."""
        whole = f"{self.path}/{folder}"
        try:
            plain = os.path.realpath(whole, strict=True) == os.path.realpath(self.path) + f"/{folder}"
        except (OSError, ValueError):
            return False
        if plain:
            if len(self._plain) >= _KNOWN:
                self._plain = {""}
            self._plain.add(folder)
        return plain


def _rest(descriptor: int, data: bytes, start: int, length: int) -> bytes:
    """Return all of a span whose beginning was read: one system call returns at most 2 GB.

    Raises:
        EOFError: the file is shorter.
    """
    parts = [data]
    while data and len(data) < length:
        start, length = start + len(data), length - len(data)
        data = os.pread(descriptor, length, start)
        parts.append(data)
    if not data:
        raise EOFError
    return b"".join(parts)
