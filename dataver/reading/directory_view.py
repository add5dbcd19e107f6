"""The paths of a version as a file system: files, folders, links and their targets.

The idea: a tree of entries contains only empty folders; every other follows from the paths below it. A query
of one path loads the blocks on the way to it, and the listing of a folder the blocks that hold it.

Links inside a version are followed, those in the middle of a path always. Links out of the version and cycles
do not resolve: a path never reaches anything else on this machine (invariant 9).
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from dataver.errors import PathNotFound
from dataver.formats.entry import Kind
from dataver.tree.selection import path_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataver.formats.entry import Entry
    from dataver.tree import Tree

__all__ = ["Folders", "Info", "Placed"]

_HOPS: Final = 40  # links followed on the way to one file, as in Linux
_FILES: Final = (Kind.FILE, Kind.EXECUTABLE)


class Info(NamedTuple):
    """Attributes of a path.

    Attributes:
        path: the requested path, without a slash at either end; empty for the version itself.
        type: its type.
        size: bytes of a file, else 0.
        digest: BLAKE3 of a file's bytes, 64 hex, else None.
        executable: the executable bit.
        target: where a link points, as it was written.
    """

    path: str
    type: Literal["file", "directory", "link"]
    size: int = 0
    digest: str | None = None
    executable: bool = False
    target: str = ""


class Placed(NamedTuple):
    """A path in a folder and its position in the tree.

    Attributes:
        info: its attributes.
        rank: number of the entries before it in the tree, or before the first one in the folder.
        is_entry: whether it is an entry: a file, a link or an empty folder.
    """

    info: Info
    rank: int
    is_entry: bool


class Folders:
    """The names in one tree.

    Args:
        tree: the tree.
        ref: the version's name, for messages.
    """

    def __init__(self, tree: Tree, ref: str) -> None:
        self.tree = tree
        self._ref = ref

    def entry(self, path: str) -> Entry:
        """Return the entry of the file at a path, after following links.

        Raises:
            PathNotFound: there is none.
            IsADirectoryError: a folder.
        """
        found = self.tree.get(path)
        if found is None or found.kind not in _FILES:
            real, found = self._real(path)
            if found is None or found.kind not in _FILES:
                if self._is_folder(real, found):
                    raise IsADirectoryError(f"'{path}' in {self._ref} is a folder.")
                raise self._missing(path)
        return found

    def info(self, path: str, *, follow: bool = False) -> Info:
        """Return the attributes of a path.

        Args:
            path: the path.
            follow: return those of a link's target.

        Raises:
            PathNotFound: there is nothing, or nothing at the end of the link.
        """
        name = path_of(path)
        found = self.tree.get(name) if name else None
        if found is None or (follow and found.kind == Kind.SYMLINK):
            real, found = self._real(path, follow=follow)
            if found is None or found.kind == Kind.DIRECTORY:
                if self._is_folder(real, found):
                    return Info(name, "directory")
                raise self._missing(path)
        return _info(name, found)

    def list(self, folder: str = "") -> list[Info]:
        """Return the direct contents of a folder, by name.

        Raises:
            PathNotFound: there is no such folder.
            NotADirectoryError: a file.
        """
        return sorted(each.info for each in self.contents(folder))

    def contents(self, folder: str = "") -> Iterator[Placed]:
        """Yield the direct contents of a folder, in path order: `a-b` comes before the folder `a`.

        Raises:
            PathNotFound: there is no such folder.
            NotADirectoryError: a file.
        """
        name, real, found = self._folder(folder)
        above = f"{name}/" if name else ""
        listed = self.tree.list(real)
        first = next(listed, None)
        if first is None and real and found is None:
            raise self._missing(folder)
        return (
            Placed(Info(above + one.name, "directory"), one.rank, is_entry=False)
            if one.entry is None
            else Placed(_info(above + one.name, one.entry), one.rank, is_entry=True)
            for one in chain(() if first is None else (first,), listed)
        )

    def walk(self, folder: str = "", *, empty: bool = False) -> Iterator[Info]:
        """Yield all files and links below a folder, in path order; a link to a folder is not walked into.

        Args:
            folder: where to begin.
            empty: yield the folders that hold nothing, too.

        Raises:
            PathNotFound: there is no such folder.
            NotADirectoryError: a file.
        """
        name, real, found = self._folder(folder)
        if not self._is_folder(real, found):
            raise self._missing(folder)
        return self._walk(f"{name}/" if name else "", f"{real}/" if real else "", empty=empty)

    def _folder(self, folder: str) -> tuple[str, str, Entry | None]:
        """Return a folder's name, the path that links lead to, and the entry there; refuse a file."""
        name = path_of(folder)
        real, found = self._real(folder) if name else ("", None)
        if found is not None and found.kind in _FILES:
            raise NotADirectoryError(f"'{name}' in {self._ref} is a file.")
        return name, real, found

    def _walk(self, above: str, prefix: str, *, empty: bool) -> Iterator[Info]:
        cut = len(prefix)
        for leaf, start, stop in self.tree.runs(prefix):
            for number in range(start, stop):
                kind = leaf.kinds[number]
                path = above + leaf.paths[number][cut:]
                if kind in _FILES:
                    digest = leaf.file_digest(number).hex()
                    yield Info(path, "file", leaf.sizes[number], digest, kind == Kind.EXECUTABLE)
                elif kind == Kind.SYMLINK:
                    yield Info(path, "link", target=leaf.target(number))
                elif empty:
                    yield Info(path, "directory")

    def at(self, rank: int) -> Info:
        """Return the attributes of the entry that has `rank` entries before it in the tree."""
        leaf, number = self.tree.at(rank)
        return _info(leaf.paths[number], leaf.entry(number))

    def real(self, path: str) -> str:
        """Return a path with all links resolved.

        Raises:
            PathNotFound: it does not exist, leads out of the version, or is a cycle.
        """
        real, found = self._real(path)
        if found is None and not self._is_folder(real, found):
            raise self._missing(path)
        return real

    def _real(self, path: str, *, follow: bool = True) -> tuple[str, Entry | None]:
        """Return a path with its links resolved, and the entry there if there is one."""
        done: list[str] = []
        left = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        found: Entry | None = None
        hops = 0
        while left:
            if found is not None and found.kind in _FILES:
                raise self._missing(path)  # a file has nothing below it
            part = left.pop()
            found = None
            if part == "..":
                if not done:
                    raise self._missing(path, "leads out of the version")
                done.pop()
                continue
            found = self.tree.get("/".join([*done, part]))
            if found is None or found.kind != Kind.SYMLINK or not (left or follow):
                done.append(part)
                continue
            hops += 1
            if hops > _HOPS:
                raise self._missing(path, "is a cycle of links")
            if found.target.startswith("/"):
                raise self._missing(path, "leads out of the version")
            left.extend(part for part in reversed(found.target.split("/")) if part not in ("", "."))
            found = None
        return "/".join(done), found

    def _is_folder(self, real: str, found: Entry | None) -> bool:
        if found is not None:
            return found.kind == Kind.DIRECTORY
        return not real or next(self.tree.paths(f"{real}/"), None) is not None

    def _missing(self, path: str, why: str = "") -> PathNotFound:
        said = f"'{path}' in {self._ref} {why}." if why else f"{self._ref} has no '{path}'."
        return PathNotFound(said, hint=f"`dataver ls {self._ref}` lists its files")


def _info(path: str, entry: Entry) -> Info:
    if entry.kind in _FILES:
        return Info(path, "file", entry.size, entry.digest.hex(), entry.kind == Kind.EXECUTABLE)
    if entry.kind == Kind.SYMLINK:
        return Info(path, "link", target=entry.target)
    return Info(path, "directory")
