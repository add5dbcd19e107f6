"""A process's own folder, which the next process removes if this one dies."""

import fcntl
import os
import shutil
from contextlib import suppress
from pathlib import Path

__all__ = ["LockedFolder"]


class LockedFolder:
    """A new folder of this process below another one, locked as long as the process runs.

    Making one removes the folders of processes that died.

    Args:
        above: the folder that contains it; created if missing.

    Attributes:
        path: the folder.
    """

    def __init__(self, above: Path) -> None:
        _clear(above)
        self.path = above / os.urandom(6).hex()
        self.path.mkdir(parents=True)
        self._lock = os.open(self.path / "unlocked", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        with suppress(OSError):  # a file system without locks: `_clear` cannot lock it either
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (self.path / "unlocked").replace(self.path / "lock")

    def remove(self) -> None:
        """Remove the folder and its contents; calling it again changes nothing."""
        lock, self._lock = self._lock, -1
        if lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(lock)


def _clear(folder: Path) -> None:
    """Remove the folders of processes that died."""
    for left in folder.glob("*/lock"):
        try:
            fd = os.open(left, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left.parent, ignore_errors=True)
        except OSError:
            continue  # its process is alive
        finally:
            os.close(fd)
