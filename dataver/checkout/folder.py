"""A fresh, private folder that is being filled: the only place fetched bytes are written to.

The idea: everything is made in a folder that did not exist before, through its file descriptor, with
`O_EXCL`; symbolic links come last. So no name from a version can meet anything that was there already, a
link least of all, and there is nothing to overwrite or to check again. When all is there and verified, the
folder (or each file) gets its real name.

Keeps invariants 9 (nothing is written outside: paths are checked here again, `..` never reaches the system)
and 4 (an unfinished folder has a name nobody uses). Needs POSIX. Two entries that cannot both exist, such as
`a` and `a/b`, meet as "exists already" and are an IntegrityError.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from itertools import takewhile
from typing import TYPE_CHECKING, Final, Self

from dataver.errors import IntegrityError, InvalidInput
from dataver.formats.entry import check_paths

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from typing_extensions import Buffer

__all__ = ["LONG", "Folder", "located", "open_folder", "safe_link"]

LONG: Final = 1000  # characters; longer paths are walked, because the system takes 4,096 bytes at most
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def open_folder(path: str | Path, dir_fd: int | None = None) -> int:
    """Return a descriptor of a folder that is no symbolic link."""
    return os.open(path, _FOLDER, dir_fd=dir_fd)


@contextmanager
def located(root: int, path: str) -> Iterator[tuple[int, str]]:
    """Give a folder's descriptor and the path from there, short enough for the system."""
    if len(path) < LONG:
        yield root, path
        return
    *parents, name = path.split("/")
    here = os.dup(root)
    try:
        for part in parents:
            below = open_folder(part, here)
            os.close(here)
            here = below
        yield here, name
    finally:
        os.close(here)


def safe_link(path: str, target: str) -> bool:
    """Tell whether a link at `path` stays inside the version.

    `..` is accepted in front only: behind a name it would be taken from wherever that name, perhaps a link
    itself, leads to.
    """
    parts = [part for part in target.split("/") if part not in ("", ".")]
    up = 0
    while up < len(parts) and parts[up] == "..":
        up += 1
    absolute = target.startswith(("/", "\\")) or not target or "\x00" in target
    return not absolute and ".." not in parts[up:] and up <= path.count("/")


class Folder:
    """A folder that did not exist before and is filled through its descriptor.

    Files may be written from many threads once `prepare` made the folders they lie in.

    Attributes:
        path: where it is now.
        fd: its descriptor.
        mode: permission bits of its plain files; the user's umask applies.
        writable: whether its files may be written to when it is complete.
    """

    def __init__(self, path: Path, *, writable: bool) -> None:
        """Say where; `with` makes it.

        Args:
            path: must not exist.
            writable: whether its files may be written to when it is complete.
        """
        self.path = path
        self.fd = -1
        self.mode = self._executable = self._sealed = 0
        self.writable = writable
        self._parent = ""
        self._last = ""

    def __enter__(self) -> Self:
        os.mkdir(self.path, 0o777)  # noqa: PTH102  # the mode, less the umask, is what the next lines read
        self.fd = open_folder(self.path)
        allowed = stat.S_IMODE(os.fstat(self.fd).st_mode) & 0o777
        self.mode = (0o666 if self.writable else 0o444) & allowed
        self._executable = (0o777 if self.writable else 0o555) & allowed
        self._sealed = allowed & 0o555
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptor; what is in the folder stays."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def mode_of(self, executable: bool) -> int:
        """Return a file's permission bits."""
        return self._executable if executable else self.mode

    def prepare(self, paths: Sequence[str]) -> None:
        """Check paths and make the folders they lie in; paths come in the order of a tree.

        Raises:
            IntegrityError: a path that no version may hold, or that cannot exist beside another entry.
        """
        try:
            check_paths(paths)
        except InvalidInput as error:
            raise IntegrityError(f"the version holds a path that is refused: {error}") from error
        for path in paths:
            parent = path.rpartition("/")[0]
            if parent != self._parent:
                self._make(parent)

    def _make(self, folder: str) -> None:
        """Make a folder and those above it that the one before did not need."""
        parts = folder.split("/") if folder else []
        before = self._parent.split("/") if self._parent else []
        same = 0
        while same < min(len(parts), len(before)) and parts[same] == before[same]:
            same += 1
        for depth in range(same, len(parts)):
            self.make_folder("/".join(parts[: depth + 1]))
        self._parent = folder

    def make_folder(self, path: str) -> None:
        """Make one folder."""
        with self._clash(path), located(self.fd, path) as (root, name):
            os.mkdir(name, 0o777, dir_fd=root)

    def write(self, path: str, executable: bool, data: Buffer) -> None:
        """Write a small file in one go."""
        fd = self.new(path, executable)
        try:
            view = memoryview(data)
            done = os.write(fd, view) if view else 0
            while done < len(view):
                done += os.write(fd, view[done:])
        finally:
            os.close(fd)

    def new(self, path: str, executable: bool) -> int:
        """Make an empty file with the permission bits it is to have; return a descriptor for writing."""
        mode = self._executable if executable else self.mode
        try:
            if len(path) < LONG:
                return os.open(path, _CREATE, mode, dir_fd=self.fd)
            with located(self.fd, path) as (root, name):
                return os.open(name, _CREATE, mode, dir_fd=root)
        except (FileExistsError, NotADirectoryError) as error:
            raise _clash(path) from error

    def create(self, path: str) -> None:
        """Make an empty file that `open` opens and `finish` completes; readable to nobody else so far."""
        with self._clash(path), located(self.fd, path) as (root, name):
            os.close(os.open(name, _CREATE, 0o600, dir_fd=root))

    def open(self, path: str) -> int:
        """Return a descriptor of a file that `create` made, for reading and writing."""
        with located(self.fd, path) as (root, name):
            return os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root)

    def remove(self, path: str) -> None:
        """Take a file away again, one that was begun and is not right; nothing there is fine."""
        with suppress(FileNotFoundError), located(self.fd, path) as (root, name):
            os.unlink(name, dir_fd=root)  # relative to a descriptor

    def finish(self, fd: int, executable: bool) -> None:
        """Give a complete file its permission bits."""
        os.fchmod(fd, self.mode_of(executable))

    def link(self, path: str, target: str) -> None:
        """Make a symbolic link; only after everything else."""
        with self._clash(path), located(self.fd, path) as (root, name):
            os.symlink(target, name, dir_fd=root)

    def seal_above(self, path: str) -> None:
        """Take the write permission off the folders a path lies in; paths come in the order of a tree.

        An empty folder's own path is given with a `/` behind it.
        """
        parent = path.rpartition("/")[0]
        if parent == self._last:
            return
        parts, before = parent.split("/"), self._last.split("/")
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(parts, before, strict=False)))
        for depth in range(same, len(parts) if parent else 0):
            with located(self.fd, "/".join(parts[: depth + 1])) as (root, name):
                os.chmod(name, self._sealed, dir_fd=root)  # relative to a descriptor
        self._last = parent

    def seal(self) -> None:
        """Take the write permission off the folder itself."""
        os.fchmod(self.fd, self._sealed)

    @contextmanager
    def _clash(self, path: str) -> Iterator[None]:
        try:
            yield
        except (FileExistsError, NotADirectoryError) as error:
            raise _clash(path) from error


def _clash(path: str) -> IntegrityError:
    return IntegrityError(
        f"{path!r} cannot be written: the version holds another entry in its place",
        hint="a file and a folder of one name, or two names that this file system takes for one",
    )
