"""Working copies: new folders are created atomically, existing ones are merged into.

The idea: everything is built and verified in a private folder on the same file system first. A new folder is
then renamed into place; into an existing one each file is moved, and it is unchanged until the first move.
Equal files are kept, files that differ are refused by name unless they may be overwritten, and files that are
not in the version are kept.

Keeps invariant 9: the user's folders are opened component by component without following links. Only files
are ever replaced, never a folder.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple, Self

from dataver.checkout.folder import located
from dataver.checkout.local_sources import hash_file
from dataver.errors import Conflict
from dataver.formats.entry import Kind
from dataver.machine.deep_folders import Descent, walk_folders
from dataver.storage.durable import lacks_links

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dataver.formats.entry import Entry

__all__ = ["Existing", "FolderComparison"]

_SHOWN = 5


class FolderComparison(NamedTuple):
    """Comparison of a folder with a version.

    Attributes:
        same: one byte per entry, in order: 1 if it exists and is equal.
        equal_size: bytes of equal files.
        differing: paths of existing files that differ.
        blocked: paths that cannot be written because another kind of entry exists there.
    """

    same: bytearray
    equal_size: int
    differing: list[str]
    blocked: list[str]

    def refuse(self, folder: Path, *, overwrite: bool) -> None:
        """Refuse a merge that would lose files.

        Raises:
            Conflict: names the files in the way.
        """
        if self.blocked:
            raise Conflict(
                f"{folder} holds other things where the version has files: {_some(self.blocked)};"
                " nothing was changed.",
                hint="move them away, or fetch to another folder",
            )
        if self.differing and not overwrite:
            raise Conflict(
                f"files in {folder} differ from the version: {_some(self.differing)}; nothing was changed.",
                hint="`overwrite` replaces them; or fetch to another folder",
            )


class Existing:
    """A user's folder into which a version is merged; it is open inside a `with`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1

    def __enter__(self) -> Self:
        self._fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._position = Descent(self._fd)
        return self

    def __exit__(self, *_: object) -> None:
        self._position.close()
        os.close(self._fd)

    def compare(self, entries: Iterable[Entry]) -> FolderComparison:
        """Compare every entry, which come in the order of a tree, by content."""
        found = FolderComparison(bytearray(), 0, [], [])
        equal = 0
        for entry in entries:
            state = self._state(entry)
            found.same.append(state == "same")
            if state == "same":
                equal += entry.size
            elif state == "differs":
                found.differing.append(entry.path)
            elif state == "blocked":
                found.blocked.append(entry.path)
        return found._replace(equal_size=equal)

    def _state(self, entry: Entry) -> str:
        parent, _, name = entry.path.rpartition("/")
        try:
            root = self._enter(parent, make=False)
            status = os.stat(name, dir_fd=root, follow_symlinks=False)  # a descriptor
        except FileNotFoundError:
            return "missing"
        except OSError:
            return "blocked"  # a part of the path is a link or a file
        if stat.S_ISDIR(status.st_mode):
            return "same" if entry.kind == Kind.DIRECTORY else "blocked"
        if entry.kind == Kind.DIRECTORY:
            return "blocked"
        if entry.kind == Kind.SYMLINK:
            same = stat.S_ISLNK(status.st_mode) and os.readlink(name, dir_fd=root) == entry.target
            return "same" if same else "differs"
        if not stat.S_ISREG(status.st_mode) or status.st_size != entry.size:
            return "differs"
        if bool(status.st_mode & 0o100) != (entry.kind == Kind.EXECUTABLE):
            return "differs"
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root)
        try:
            return "same" if hash_file(fd) == entry.digest else "differs"
        finally:
            os.close(fd)

    def move_in(self, path: str, source: int, *, overwrite: bool) -> None:
        """Move a finished file or link from the folder open as `source` to its place here.

        Raises:
            Conflict: another process created the path meanwhile.
        """
        parent, _, name = path.rpartition("/")
        try:
            root = self._enter(parent, make=True)
            with located(source, path) as (here, short):
                _move(here, short, root, name, overwrite=overwrite)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise Conflict(
                f"{self.path / path} was created by another process during the fetch; it is unchanged.",
                hint="fetch again",
            ) from error

    def make_folder(self, path: str) -> None:
        """Create an empty folder and its parents."""
        self._enter(path, make=True)

    def count_files(self) -> int:
        """Return the number of files and links, except dataver's own."""
        count = 0
        for visit in walk_folders(self._fd, failed=lambda *_: None):
            count += len(visit.others)
            if ".dataver" in visit.folders:
                visit.folders.remove(".dataver")
        return count

    def _enter(self, folder: str, *, make: bool) -> int:
        """Return a descriptor of a folder below, opened without following links."""
        return self._position.enter(folder.split("/") if folder else [], make=make)


def _move(source: int, short: str, root: int, name: str, *, overwrite: bool) -> None:
    """Move a file between two open folders; without `overwrite` only to a free name."""
    if overwrite:
        os.replace(short, name, src_dir_fd=source, dst_dir_fd=root)  # descriptors
        return
    try:
        # unlike a rename, a link replaces nothing
        os.link(short, name, src_dir_fd=source, dst_dir_fd=root, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError as error:
        if not lacks_links(error):
            raise
        os.rename(short, name, src_dir_fd=source, dst_dir_fd=root)


def _some(paths: list[str]) -> str:
    shown = ", ".join(map(repr, paths[:_SHOWN]))
    return f"{shown} and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else shown
