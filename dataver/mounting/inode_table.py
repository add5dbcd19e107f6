"""The numbers by which the kernel refers to files, and the attributes reported for each.

The idea: a number contains the position of an entry in the tree, so it is resolved by a descent, and no table
of what the kernel holds is kept, which would grow with the number of files that were listed. A folder has no
entry; its number contains the position of the first entry in it and the folder's depth.

    number = (position · 4096 + depth) + 2        depth 0: the entry itself; number 1 is the top folder

The number that programs see (`st_ino`) is a hash of the path. Both are the same each time that a version is
mounted.
"""

import os
import stat
from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple

from xxhash import xxh3_64_intdigest

from dataver.lru import LRUCache
from dataver.mounting.protocol import Attributes
from dataver.reading import Files, Info

__all__ = ["ROOT", "Inode", "Nodes", "OpenFolder", "inode", "mode_of"]

ROOT: Final = 1
_FIRST: Final = 2
_USED: Final = 4096  # nodes kept in memory: most requests are about one that was just used
_DEPTHS: Final = 4096  # more than the parts of any path, which has at most 4,096 bytes


class Inode(NamedTuple):
    """A file, folder or link.

    Attributes:
        number: what the kernel calls it.
        info: what the version says of it.
    """

    number: int
    info: Info


class Nodes:
    """The files, folders and links of a version by number.

    Args:
        files: the version.
        seconds: the time of all files, since 1970.
    """

    def __init__(self, files: Files, seconds: int) -> None:
        self._files = files
        self._seconds = seconds
        self._owner = (os.geteuid(), os.getegid())
        self._used: LRUCache[int, Inode] = LRUCache(_USED)

    def get(self, number: int) -> Inode:
        """Return a node by the number that the kernel was given.

        Raises:
            LookupError: no node has this number.
        """
        if number == ROOT:
            return Inode(ROOT, Info("", "directory"))
        known = self._used.get(number)
        if known is not None:
            return known
        rank, depth = divmod(number - _FIRST, _DEPTHS)
        info = self._files.folders.at(rank)
        if depth:
            info = Info("/".join(info.path.split("/")[:depth]), "directory")
        return self._kept(Inode(number, info))

    def find(self, path: str) -> Inode:
        """Return the node of a path.

        Raises:
            PathNotFound: there is nothing.
        """
        folders = self._files.folders
        info = folders.info(path)
        below = info.type == "directory" and not folders.tree.get(path)
        rank = folders.tree.rank(f"{path}/" if below else path)
        return self._kept(_node(info, rank, is_entry=not below))

    def contents(self, folder: Inode) -> Iterator[Inode]:
        """Yield the nodes of the direct contents of a folder."""
        for info, rank, is_entry in self._files.folders.contents(folder.info.path):
            yield _node(info, rank, is_entry=is_entry)

    def _kept(self, node: Inode) -> Inode:
        self._used.put(node.number, node)
        return node

    def encode(self, info: Info) -> bytes:
        """Return the attributes of a file as the kernel wants them."""
        size = len(info.target.encode()) if info.type == "link" else info.size
        links = 2 if info.type == "directory" else 1
        uid, gid = self._owner
        return Attributes(inode(info.path), size, mode_of(info), links, uid, gid, self._seconds).encode()


class OpenFolder:
    """A folder that a program reads: its contents from any position, each made when it is asked for.

    Args:
        nodes: the nodes of the version.
        folder: the folder.
    """

    def __init__(self, nodes: Nodes, folder: Inode) -> None:
        self._nodes = nodes
        self._folder = folder
        self._position = 0
        self._following: Iterator[Inode] = nodes.contents(folder)
        self._next: Inode | None = None

    def seek(self, position: int) -> None:
        """Continue at a position; a program that reads on in order is there already."""
        if position != self._position:
            self._following = islice(self._nodes.contents(self._folder), position, None)
            self._position, self._next = position, None

    def peek(self) -> Inode | None:
        """Return the node at the position, None at the end."""
        if self._next is None:
            self._next = next(self._following, None)
        return self._next

    def advance(self) -> None:
        """Go to the next position."""
        self._position += 1
        self._next = None


def _node(info: Info, rank: int, *, is_entry: bool) -> Inode:
    depth = 0 if is_entry else info.path.count("/") + 1
    return Inode(rank * _DEPTHS + depth + _FIRST, info)


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
