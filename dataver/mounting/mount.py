"""A version as a folder of this machine, without fetching it.

    with mount(repo.files("vision/cats@1.2.0"), "data"):
        subprocess.run(["ls", "-lR", "data"])

The mounting process must not read from the mount by memory mapping: it would wait for its own answer while it
holds the GIL.
"""

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from dataver.errors import InvalidInput
from dataver.mounting.device import INSTEAD, attach, check_folder, detach, read_ahead
from dataver.mounting.session import MountSession
from dataver.reading import Files

__all__ = ["Mount", "mount"]


class Mount:
    """A version mounted on a folder, from `mount` until `unmount` or an external unmount.

    Attributes:
        files: the version.
        folder: where it is, absolute.
    """

    def __init__(self, files: Files, folder: Path, session: MountSession) -> None:
        self.files = files
        self.folder = folder
        self._session = session

    def __repr__(self) -> str:
        return f"Mount({self.files.ref!r}, {str(self.folder)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.unmount()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is unmounted and no file of it is open; return False after the timeout."""
        if not self._session.join(seconds):
            return False
        self._session.close()
        return True

    def unmount(self) -> bool:
        """Unmount the folder; return False if programs still have files of it open.

        These can read on while this process lives; others see the empty folder already.
        """
        if not detach(self.folder):
            detach(self.folder, lazy=True)
        return self.wait(1.0)


def mount(
    files: Files,
    folder: str | Path,
    *,
    others: bool = False,
    report: Callable[[str, Exception], None] | None = None,
) -> Mount:
    """Mount a version, read-only, on an empty folder.

    Args:
        files: the version.
        folder: the folder.
        others: whether other users may read it (by default FUSE denies all others, including root).
        report: receives each path that could not be read, and the error; None writes it to stderr.

    Raises:
        PathNotFound: there is no such folder.
        Conflict: it is not empty, or a mount already.
        InvalidInput: this machine has no FUSE, or does not let this user mount.
    """
    place = Path(folder).absolute()
    check_folder(place)
    device = attach(place, files.ref, others=others)
    try:
        session = MountSession(files, device, report or _print_error)
        session.start()
        read_ahead(place)  # waits for the first answer
    except BaseException:  # Ctrl-C, too: no thread would answer afterwards
        detach(place, lazy=True)
        raise
    if session.too_old:
        detach(place, lazy=True)
        raise InvalidInput("this kernel's FUSE is too old: Linux 5.4 or later is needed.", hint=INSTEAD)
    return Mount(files, place, session)


def _print_error(path: str, error: Exception) -> None:
    with suppress(OSError, ValueError):
        sys.stderr.write(f"dataver: {path}: {error}\n")
