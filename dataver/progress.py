"""Progress updates of long operations.

The library does not write to a terminal: a caller that displays progress passes an object with two methods.
They may be called from several threads, in batches rather than once a file. An exception raised in them ends
the operation like Ctrl-C.
"""

from __future__ import annotations

import threading
from typing import Protocol

__all__ = ["SILENT", "Counters", "NoProgress", "Progress"]


class Progress(Protocol):
    """Receiver of progress updates.

    It may have an attribute `silent`: if true, totals that need further work are not determined.
    """

    def start(self, total_files: int, total_bytes: int, /) -> None:
        """Receive the totals; called again if they change."""
        ...

    def advance(self, files: int, size: int, /, new: int = 0) -> None:
        """Receive the progress since the last call.

        Args:
            files: files completed.
            size: bytes of files completed.
            new: bytes transferred or stored for them.
        """
        ...


class NoProgress:
    """Discards updates."""

    silent = True

    def start(self, total_files: int, total_bytes: int, /) -> None:
        """Do nothing."""

    def advance(self, files: int, size: int, /, new: int = 0) -> None:
        """Do nothing."""


SILENT = NoProgress()


class Counters:
    """Sums updates, also from several threads, and forwards them.

    Args:
        inner: receives the same updates.

    Attributes:
        total_files: files to process.
        total_bytes: bytes of files to process.
        files: files completed.
        size: bytes of files completed.
        new: bytes transferred or stored.
        silent: as of the inner one.
    """

    def __init__(self, inner: Progress = SILENT) -> None:
        self.total_files = self.total_bytes = self.files = self.size = self.new = 0
        self._inner = inner
        self.silent = getattr(inner, "silent", False)
        self._lock = threading.Lock()

    def start(self, total_files: int, total_bytes: int, /) -> None:
        """Record the totals; see `Progress.start`."""
        self.total_files, self.total_bytes = total_files, total_bytes
        self._inner.start(total_files, total_bytes)

    def advance(self, files: int, size: int, /, new: int = 0) -> None:
        """Add to the counts; see `Progress.advance`."""
        with self._lock:
            self.files += files
            self.size += size
            self.new += new
        self._inner.advance(files, size, new=new)
