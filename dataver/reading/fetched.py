"""The complete folder of a version in the machine's cache, where somebody fetched it: plain local files.

The idea: its bytes were compared with their digests when it was fetched, so a read is a read. A path is taken
to the disk only if no link is in it; everything else is looked up in the tree first. Whatever the folder does
not give (it was removed, or an entry could not be made there) is read from the repository.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from dataver.checkout.version_cache import VersionCache, folder_name

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Fetched"]

_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_KNOWN: Final = 100_000  # folders that were seen to be no links


class Fetched:
    """A version's folder in the cache; it is not removed while this process lives.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._plain: set[str] = {""}

    @classmethod
    def find(cls, root: Path, tree: bytes) -> Fetched | None:
        """Return the folder of a tree in the cache at `root`, or None."""
        cache, name = VersionCache(root), folder_name(tree)
        found = cache.lookup(tree)
        if found is None or cache.foreign(found):
            return None
        cache.use(name)
        if cache.lookup(tree) is None:  # it was removed just before
            cache.done(name)
            return None
        cache.touch(found)
        return cls(found.path)

    def open(self, path: str) -> int | None:
        """Return a descriptor of a file, or None where the path is none of one without links."""
        descriptor = self._open(path)
        if descriptor is None or stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        os.close(descriptor)
        return None

    def read(self, path: str, start: int, stop: int | None) -> tuple[bytes, int] | None:
        """Return a part of a file and the file's size; None as `open` does."""
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
        if not name or (folder not in self._plain and not self._look(folder)):
            return None
        try:
            return os.open(f"{self.path}/{path}", _FLAGS)
        except (OSError, ValueError):
            return None

    def _look(self, folder: str) -> bool:
        """Tell whether a folder is written without links, dots and double slashes."""
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
    """Return all of a span whose beginning was read: the system gives 2 GB at once at most.

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
