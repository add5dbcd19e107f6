"""Positions, walks and removal of folders of any depth below an open folder.

`os.fwalk` and `shutil.rmtree` call themselves once for each level (Python 3.11) and keep a descriptor for
each, so that a thousand nested folders exceed the interpreter's recursion limit and the usual limit of 1,024
descriptors. Here one descriptor is open at a time: names lead down, `..` leads up.

Keeps invariant 9: no symbolic link is followed, and `..` must be the same folder as on the way down, so a
folder that is moved meanwhile is detected. Paths can exceed the system's limit of 4,096 bytes. Needs POSIX.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Self

__all__ = ["Descent", "Visit", "open_folder", "remove_folder", "walk_folders"]

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def open_folder(path: str | Path, dir_fd: int | None = None) -> int:
    """Return a descriptor of a folder; fail for a symbolic link."""
    return os.open(path, _FOLDER, dir_fd=dir_fd)


class Descent:
    """A position below an open folder, which the caller closes.

    Attributes:
        fd: descriptor of the folder at the position.
        parts: names of the folders from the top to the position.
    """

    def __init__(self, top: int) -> None:
        self.fd = top
        self.parts: list[str] = []
        self._top = top
        self._identities = [_identity(top)]  # from the top to the position, inclusive

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Return to the top."""
        if self.fd != self._top:
            os.close(self.fd)
            self.fd = self._top

    def down(self, name: str) -> None:
        """Enter a folder at the position."""
        before, self.fd = self.fd, os.open(name, _FOLDER, dir_fd=self.fd)
        if before != self._top:
            os.close(before)
        self.parts.append(name)
        self._identities.append(_identity(self.fd))

    def up(self) -> str:
        """Leave the folder at the position; return its name.

        Raises:
            OSError: it was moved meanwhile.
        """
        before = self.fd
        self.fd = self._top if len(self.parts) == 1 else os.open("..", _FOLDER, dir_fd=self.fd)
        os.close(before)
        self._identities.pop()
        if _identity(self.fd) != self._identities[-1]:
            raise OSError(errno.ESTALE, "the folder was moved meanwhile", "/".join(self.parts))
        return self.parts.pop()

    def enter(self, parts: Sequence[str], *, make: bool) -> int:
        """Go to a folder by its path from the top; return its descriptor.

        Args:
            parts: names of the folders in the path.
            make: create missing folders.
        """
        same = 0
        while same < min(len(parts), len(self.parts)) and self.parts[same] == parts[same]:
            same += 1
        while len(self.parts) > same:
            self.up()
        for name in parts[same:]:
            if make:
                try:
                    os.mkdir(name, dir_fd=self.fd)  # relative to a descriptor
                except FileExistsError:
                    pass  # if it is not a folder, the next line fails
            self.down(name)
        return self.fd


class Visit(NamedTuple):
    """A folder visited by a walk.

    Attributes:
        path: its path from the top, empty for the top.
        fd: its descriptor, valid until the walk continues.
        folders: names of its folders; those removed from the list are not entered.
        others: names of all other entries, links to folders included.
    """

    path: str
    fd: int
    folders: list[str]
    others: list[str]


def walk_folders(
    top: int,
    *,
    failed: Callable[[str, OSError], None] | None = None,
    left: Callable[[int, str], None] | None = None,
) -> Iterator[Visit]:
    """Yield an open folder and all folders below it, each before those in it.

    Args:
        top: descriptor of the folder.
        failed: called with the path of an unreadable folder; if None, the error is raised.
        left: called after all entries below a folder, with the descriptor of its parent and its name.
    """
    with Descent(top) as position:
        visit = _visit(position)
        yield visit
        waiting = [visit.folders]  # folders to enter, for each level
        while True:
            if waiting[-1]:
                name = waiting[-1].pop()
                try:
                    position.down(name)
                    visit = _visit(position)
                except OSError as error:
                    if failed is None:
                        raise
                    if len(position.parts) == len(waiting):
                        position.up()
                    failed("/".join((*position.parts, name)), error)
                    continue
                yield visit
                waiting.append(visit.folders)
            elif position.parts:
                waiting.pop()
                name = position.up()
                if left is not None:
                    left(position.fd, name)
            else:
                return


def remove_folder(path: Path) -> None:
    """Remove a folder with its contents, also if read-only; do nothing if it does not exist."""
    try:
        top = open_folder(path)
    except FileNotFoundError:
        return
    try:
        for visit in walk_folders(top, left=lambda fd, name: os.rmdir(name, dir_fd=fd)):
            allowed = stat.S_IMODE(os.fstat(visit.fd).st_mode)
            if allowed & stat.S_IRWXU != stat.S_IRWXU:
                os.fchmod(visit.fd, allowed | stat.S_IRWXU)
            for name in visit.others:
                os.unlink(name, dir_fd=visit.fd)  # relative to a descriptor
        path.rmdir()
    except FileNotFoundError:
        return  # another process removes it too
    finally:
        os.close(top)


def _visit(position: Descent) -> Visit:
    folders: list[str] = []
    others: list[str] = []
    with os.scandir(position.fd) as found:
        for entry in found:
            (folders if entry.is_dir(follow_symlinks=False) else others).append(entry.name)
    return Visit("/".join(position.parts), position.fd, folders, others)


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino
