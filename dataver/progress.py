"""Progress updates of long operations, and a bar that shows them.

A caller that displays progress passes an object with two methods. They may be called from several threads, in
batches rather than once a file. An exception raised in them ends the operation like Ctrl-C. The library
writes to a terminal only for `progress=True`: a bar with
bytes, rate, files and new bytes.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from tqdm import tqdm

# Imports in functions: tqdm is needed when a bar is drawn first.

__all__ = ["Bar", "Counters", "NoProgress", "Progress", "SILENT", "receiver"]
_PATIENCE: Final = 1.0  # seconds of a command before a bar is worth drawing


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


@contextmanager
def receiver(
    progress: Progress | bool, verb: str, thing: str = "file", fresh: str | None = None
) -> Iterator[Progress]:
    """Yield the receiver of progress updates; for True, a bar that is closed at the end of the block.

    Args:
        progress: a receiver, True for a bar, or False for nothing.
        verb: name of the operation.
        thing: noun of the counted items.
        fresh: as for `Bar`.
    """
    if not isinstance(progress, bool):
        yield progress
        return
    with Bar(verb, thing=thing, fresh=fresh, shown=progress) as bar:
        yield bar


class Bar(Counters):
    """A progress bar that receives updates; used in a `with` statement.

    Args:
        verb: name of the operation.
        thing: noun of the counted items.
        fresh: adjective for bytes that had to be stored or transferred; None to omit them.
        shown: whether to draw.
        command: draw on a terminal only, after a second, and clear the bar at the end. Otherwise draw at
            once, in a notebook as a widget, and leave the bar.
    """

    def __init__(
        self,
        verb: str,
        *,
        thing: str = "file",
        fresh: str | None = None,
        shown: bool = True,
        command: bool = False,
    ) -> None:
        super().__init__()
        self._verb, self._thing, self._fresh, self._command = verb, thing, fresh, command
        self._shown = shown and (not command or sys.stderr.isatty())
        self.silent = not self._shown
        self._began = time.monotonic()
        self._bar: tqdm[Any] | None = None

    def start(self, total_files: int, total_bytes: int, /) -> None:
        """Set the total amount of work."""
        super().start(total_files, total_bytes)
        with self._lock:
            if self._bar is not None:
                self._bar.total = total_bytes or None

    def advance(self, files: int, size: int, /, new: int = 0) -> None:
        """Add the progress since the last call."""
        super().advance(files, size, new)
        with self._lock:
            self._draw()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            if self._bar is not None:
                self._bar.close()
                self._bar = None

    def _draw(self) -> None:
        known = self.total_bytes or self.files or self.new
        elapsed = time.monotonic() - self._began
        if not self._shown or not known or (self._command and elapsed < _PATIENCE):
            return
        first = self._bar is None
        if self._bar is None:
            self._bar = self._open()
            self._bar.start_t -= elapsed
            self._bar.last_print_t -= elapsed  # the first rate covers the whole time
        self._bar.set_postfix_str(self._details(), refresh=False)
        self._bar.update(self._done - self._bar.n)
        if first:
            self._bar.refresh()

    def _open(self) -> tqdm[Any]:
        total = self.total_bytes or None
        values: dict[str, Any] = {"desc": self._verb, "total": total, "unit": "B", "unit_scale": True}
        if not self._command:
            from tqdm.auto import tqdm as automatic

            return automatic(**values)
        from tqdm import tqdm

        tqdm.monitor_interval = 0  # no monitor thread
        # the delay prevents drawing before the first update
        bar = tqdm(leave=False, delay=1e-6, file=sys.stderr, **values, **_screen())
        bar.delay = 0
        return bar

    @property
    def _done(self) -> int:
        """Bytes done: of complete files, or of the new ones so far if a large file is not complete."""
        if self._fresh is None:
            return self.size
        return max(self.size, min(self.new, self.total_bytes or self.new))

    def _details(self) -> str:
        number = self.total_files or self.files
        files = f"{number:,} {self._thing}{'' if number == 1 else 's'}"
        if self.total_files:
            files = f"{self.files:,} of {files}"
        if not self._done or self._fresh is None:
            return files
        return f"{files}, {_size(self.new)} {self._fresh}"


def _size(number: int) -> str:
    from tqdm import tqdm

    return tqdm.format_sizeof(number, "B")


def _screen() -> dict[str, Any]:
    """Return the size of the screen; tqdm draws nothing on terminals of 0 x 0, as in some containers."""
    try:
        real = os.get_terminal_size(sys.stderr.fileno())
    except (OSError, ValueError):
        real = os.terminal_size((0, 0))
    return (
        {"dynamic_ncols": True} if real.columns and real.lines else {"ncols": real.columns or 80, "nrows": 24}
    )
