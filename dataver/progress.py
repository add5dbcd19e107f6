"""How long work tells somebody how far it is.

The library never talks to a terminal: whoever wants to see progress hands in an object with two methods. They
may be called from several threads and come in batches, not once a file. An exception raised in them ends the
work, as Ctrl-C would.
"""

from __future__ import annotations

import threading
from typing import Protocol

__all__ = ["SILENT", "Counters", "NoProgress", "Progress"]


class Progress(Protocol):
    """Who is told."""

    def start(self, total_files: int, total_bytes: int, /) -> None:
        """Hear how much there is to do; called again where the total turns out to be another one."""
        ...

    def advance(self, files: int, size: int, /, new: int = 0) -> None:
        """Hear of progress since the last call.

        Args:
            files: files done.
            size: bytes of files done.
            new: bytes that had to be moved or stored for it.
        """
        ...


class NoProgress:
    """Tells nobody."""

    def start(self, total_files: int, total_bytes: int, /) -> None:
        """Do nothing."""

    def advance(self, files: int, size: int, /, new: int = 0) -> None:
        """Do nothing."""


SILENT = NoProgress()


class Counters:
    """Counts what it is told, exactly, also from many threads, and passes it on.

    Attributes:
        total_files: files to do.
        total_bytes: bytes of files to do.
        files: files done.
        size: bytes of files done.
        new: bytes moved or stored.
    """

    def __init__(self, inner: Progress = SILENT) -> None:
        self.total_files = self.total_bytes = self.files = self.size = self.new = 0
        self._inner = inner
        self._lock = threading.Lock()

    def start(self, total_files: int, total_bytes: int, /) -> None:
        """Note the totals."""
        self.total_files, self.total_bytes = total_files, total_bytes
        self._inner.start(total_files, total_bytes)

    def advance(self, files: int, size: int, /, new: int = 0) -> None:
        """Add to the counts."""
        with self._lock:
            self.files += files
            self.size += size
            self.new += new
        self._inner.advance(files, size, new=new)
