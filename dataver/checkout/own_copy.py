"""A writable copy in a folder of the user's: new folders appear whole, existing ones are merged into.

The idea: everything is built and verified in a private folder on the same file system first. A folder that
did not exist is then renamed into place; into an existing one each file is moved, and until the first move
nothing of it has changed. Equal files are left alone, files that differ are refused by name, unless they are
to be overwritten, and files that the version does not know stay.

Keeps invariant 9: folders of the user are walked part by part without following links, so a link in the way
leads nowhere. Only a file's own name is ever replaced, never a folder.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple, Self

from dataver.checkout.folder import open_folder
from dataver.checkout.reuse import hash_file
from dataver.errors import Conflict
from dataver.formats.entry import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dataver.formats.entry import Entry

__all__ = ["Comparison", "Existing"]

_SHOWN = 5


class Comparison(NamedTuple):
    """How a folder compares with a version.

    Attributes:
        same: one byte an entry, in order: 1 where it is there and equal.
        equal_size: bytes of equal files.
        differing: paths of files that are there and differ.
        blocked: paths that cannot be written because something else is in the way.
    """

    same: bytearray
    equal_size: int
    differing: list[str]
    blocked: list[str]

    def refuse(self, folder: Path, *, overwrite: bool) -> None:
        """Refuse to go on where that would lose something.

        Raises:
            Conflict: naming what is in the way.
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
    """A folder of the user's that a version is merged into; it is open inside a `with`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1
        self._stack: list[tuple[str, int]] = []

    def __enter__(self) -> Self:
        self._fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return self

    def __exit__(self, *_: object) -> None:
        self._leave(0)
        os.close(self._fd)

    def compare(self, entries: Iterable[Entry]) -> Comparison:
        """Compare every entry, which come in the order of a tree, by content."""
        found = Comparison(bytearray(), 0, [], [])
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
            Conflict: something appeared there meanwhile.
        """
        parent, _, name = path.rpartition("/")
        try:
            root = self._enter(parent, make=True)
            if overwrite:
                os.replace(path, name, src_dir_fd=source, dst_dir_fd=root)  # descriptors
                return
            try:
                # unlike a rename, a link replaces nothing
                os.link(path, name, src_dir_fd=source, dst_dir_fd=root, follow_symlinks=False)
            except PermissionError:
                os.rename(path, name, src_dir_fd=source, dst_dir_fd=root)  # no links here
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise Conflict(
                f"something appeared at {self.path / path} while the version was fetched; it was left alone.",
                hint="fetch again",
            ) from error

    def make_folder(self, path: str) -> None:
        """Make an empty folder and those above it."""
        self._enter(path, make=True)

    def count_files(self) -> int:
        """Return how many files and links there are, dataver's own left out."""
        count = 0
        for _, folders, files, _ in os.fwalk(".", follow_symlinks=False, dir_fd=self._fd):
            count += len(files)
            if ".dataver" in folders:
                folders.remove(".dataver")
        return count

    def _enter(self, folder: str, *, make: bool) -> int:
        """Return a descriptor of a folder below, reached without following any link."""
        parts = folder.split("/") if folder else []
        depth = 0
        while depth < min(len(parts), len(self._stack)) and self._stack[depth][0] == parts[depth]:
            depth += 1
        self._leave(depth)
        here = self._stack[-1][1] if self._stack else self._fd
        for part in parts[depth:]:
            if make:
                try:
                    os.mkdir(part, dir_fd=here)  # relative to a descriptor
                except FileExistsError:
                    pass  # a folder, or the next line refuses it
            here = open_folder(part, here)
            self._stack.append((part, here))
        return here

    def _leave(self, depth: int) -> None:
        while len(self._stack) > depth:
            os.close(self._stack.pop()[1])


def _some(paths: list[str]) -> str:
    shown = ", ".join(map(repr, paths[:_SHOWN]))
    return f"{shown} and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else shown
