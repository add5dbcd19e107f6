"""A new private folder being filled: the only place to which fetched bytes are written.

The idea: everything is created in a folder that did not exist before, through its file descriptor, with
`O_EXCL`; symbolic links come last. So no name from a version can collide with an existing file or link, and
nothing is overwritten. When everything is present and verified, the folder (or each file) gets its real name.

Keeps invariants 9 (nothing is written outside: paths are checked here again, `..` never reaches the system)
and 4 (an unfinished folder has a temporary name). Needs POSIX. Two entries that cannot both exist, such as
`a` and `a/b`, fail with "exists already" and raise an IntegrityError.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from itertools import takewhile
from typing import TYPE_CHECKING, Final, Self

from dataver.errors import IntegrityError, InvalidInput, message_of
from dataver.formats.entry import check_paths
from dataver.machine.deep_folders import open_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from typing_extensions import Buffer

__all__ = ["LONG", "Folder", "located", "status_of"]

LONG: Final = 1000  # characters; longer paths are walked, because the system takes 4,096 bytes at most
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def located(root: int, path: str) -> Iterator[tuple[int, str]]:
    """Provide a folder's descriptor and the path relative to it, short enough for the system."""
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


def status_of(root: int, path: str) -> os.stat_result:
    """Return the stat values of an entry below an open folder, without following a link."""
    if len(path) < LONG:  # `located` takes as long as the system call
        return os.stat(path, dir_fd=root, follow_symlinks=False)  # a descriptor
    with located(root, path) as (here, name):
        return os.stat(name, dir_fd=here, follow_symlinks=False)  # a descriptor


class Folder:
    """A new folder that is filled through its descriptor.

    Files may be written from many threads once `prepare` created their folders.

    Attributes:
        path: its current path.
        fd: its descriptor.
        mode: permission bits of its plain files; the user's umask applies.
        writable: whether its files may be written to when it is complete.
    """

    def __init__(self, path: Path, *, writable: bool) -> None:
        """Set the path; `with` creates the folder.

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
        """Close the descriptor; keep the folder's contents."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def mode_of(self, executable: bool) -> int:
        """Return a file's permission bits."""
        return self._executable if executable else self.mode

    def prepare(self, paths: Sequence[str]) -> None:
        """Check paths, which come in the order of a tree, and create their folders.

        Raises:
            IntegrityError: a path is invalid, or cannot exist beside another entry.
        """
        try:
            check_paths(paths)
        except InvalidInput as error:
            raise IntegrityError(f"the version holds a path that is refused: {message_of(error)}") from error
        for path in paths:
            parent = path.rpartition("/")[0]
            if parent != self._parent:
                self._make(parent)

    def _make(self, folder: str) -> None:
        """Create a folder and its missing parents; skip those of the previous one."""
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
        """Write a small file at once."""
        fd = self.new(path, executable)
        try:
            view = memoryview(data)
            done = os.write(fd, view) if view else 0
            while done < len(view):
                done += os.write(fd, view[done:])
        finally:
            os.close(fd)

    def new(self, path: str, executable: bool) -> int:
        """Create an empty file with its final permission bits; return a descriptor for writing."""
        mode = self._executable if executable else self.mode
        try:
            if len(path) < LONG:
                return os.open(path, _CREATE, mode, dir_fd=self.fd)
            with located(self.fd, path) as (root, name):
                return os.open(name, _CREATE, mode, dir_fd=root)
        except (FileExistsError, NotADirectoryError) as error:
            raise _clash(path) from error

    def create(self, path: str) -> None:
        """Create an empty file that `open` opens and `finish` completes; private until then."""
        with self._clash(path), located(self.fd, path) as (root, name):
            os.close(os.open(name, _CREATE, 0o600, dir_fd=root))

    def open(self, path: str) -> int:
        """Return a descriptor of a file that `create` made, for reading and writing."""
        with located(self.fd, path) as (root, name):
            return os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root)

    def remove(self, path: str) -> None:
        """Remove an unfinished file, if it exists."""
        with suppress(FileNotFoundError), located(self.fd, path) as (root, name):
            os.unlink(name, dir_fd=root)  # relative to a descriptor

    def finish(self, fd: int, executable: bool) -> None:
        """Set the permission bits of a complete file."""
        os.fchmod(fd, self.mode_of(executable))

    def link(self, path: str, target: str) -> None:
        """Create a symbolic link; only after everything else."""
        with self._clash(path), located(self.fd, path) as (root, name):
            os.symlink(target, name, dir_fd=root)

    def seal_above(self, path: str) -> None:
        """Remove the write permission of a path's folders; paths come in the order of a tree.

        The path of an empty folder ends with `/`.
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
        """Remove the write permission of the folder itself."""
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
        hint="a file and a folder of one name, or two names that this file system does not distinguish",
    )
