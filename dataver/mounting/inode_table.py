"""The files that the kernel holds by number, and the attributes reported for each.

A node is there from its first lookup until the kernel has forgotten all of its lookups, so the table is no
larger than the kernel's own. Node 1 is the top folder. The number that programs see (`st_ino`) is a hash of
the path: the same each time the version is mounted.
"""

import os
import stat
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

from xxhash import xxh3_64_intdigest

from dataver.mounting.protocol import Attributes
from dataver.reading import Info

__all__ = ["ROOT", "Inode", "Nodes"]

ROOT: Final = 1


@dataclass(slots=True)
class Inode:
    """A file, folder or link that the kernel knows.

    Attributes:
        number: what the kernel calls it.
        path: its path in the version; empty for the top folder.
        info: what the version says of it.
        attributes: its attributes as the kernel wants them.
        lookups: lookups answered, less those the kernel has forgotten.
    """

    number: int
    path: str
    info: Info
    attributes: bytes
    lookups: int = field(default=0)


class Nodes:
    """The table of nodes; thread-safe."""

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
        self._owner = (os.geteuid(), os.getegid())
        self._lock = Lock()
        top = Info("", "directory")
        root = Inode(ROOT, "", top, self.encode(top), lookups=1)
        self._by_number = {ROOT: root}
        self._by_path = {"": root}
        self._next = ROOT + 1

    def __len__(self) -> int:
        return len(self._by_number)

    def get(self, number: int) -> Inode:
        """Return a node that the kernel holds."""
        return self._by_number[number]

    def known(self, path: str) -> Info | None:
        """Return what was said of a path before, while the kernel holds it."""
        node = self._by_path.get(path)
        return None if node is None else node.info

    def enter(self, info: Info) -> Inode:
        """Return the node of a path, of which the kernel is about to be told once more."""
        with self._lock:
            node = self._by_path.get(info.path)
            if node is None:
                node = Inode(self._next, info.path, info, self.encode(info))
                self._next += 1
                self._by_number[node.number] = self._by_path[info.path] = node
            node.lookups += 1
            return node

    def forget(self, number: int, lookups: int) -> None:
        """Take lookups back; a node without any is dropped."""
        with self._lock:
            node = self._by_number.get(number)
            if node is None or number == ROOT:
                return
            node.lookups -= lookups
            if node.lookups <= 0:
                del self._by_number[number], self._by_path[node.path]

    def encode(self, info: Info) -> bytes:
        """Return the attributes of a file as the kernel wants them."""
        size = len(info.target.encode()) if info.type == "link" else info.size
        links = 2 if info.type == "directory" else 1
        uid, gid = self._owner
        return Attributes(inode(info.path), size, mode_of(info), links, uid, gid, self._seconds).encode()


def mode_of(info: Info) -> int:
    """Return kind and permissions: readable for all users, writable for none."""
    if info.type == "directory":
        return stat.S_IFDIR | 0o555
    if info.type == "link":
        return stat.S_IFLNK | 0o777
    return stat.S_IFREG | (0o555 if info.executable else 0o444)


def inode(path: str) -> int:
    """Return the number that programs see of a path."""
    return ROOT if not path else xxh3_64_intdigest(path.encode()) | 2  # neither 0 nor the top's
