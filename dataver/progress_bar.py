"""`progress=True`: a progress bar of tqdm, in a notebook as a widget, else on stderr."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from tqdm import tqdm

    from dataver.progress import Progress

__all__ = ["receiver"]


@contextmanager
def receiver(progress: Progress | bool, verb: str) -> Iterator[Progress]:
    """Yield the receiver of progress updates; for True, a bar that is closed at the end of the block.

    Args:
        progress: a receiver, True for a bar, or False for nothing.
        verb: name of the operation.
    """
    if not isinstance(progress, bool):
        yield progress
        return
    if not progress:
        from dataver.progress import SILENT

        yield SILENT
        return
    bar = _Bar(verb)
    try:
        yield bar
    finally:
        bar.close()


class _Bar:
    """A bar of bytes, drawn with the first update that has any."""

    silent = False

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._lock = threading.Lock()
        self._bar: tqdm[Any] | None = None
        self._total_files = self._total_bytes = self._files = self._size = self._new = 0

    def start(self, total_files: int, total_bytes: int, /) -> None:
        """Receive the totals."""
        with self._lock:
            self._total_files, self._total_bytes = total_files, total_bytes
            self._draw()

    def advance(self, files: int, size: int, /, new: int = 0) -> None:
        """Receive the progress since the last call."""
        with self._lock:
            self._files += files
            self._size += size
            self._new += new
            self._draw()

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()

    def _draw(self) -> None:
        if self._bar is None:
            if not (self._total_bytes or self._size or self._new):
                return
            from tqdm.auto import tqdm

            self._bar = tqdm(desc=self._verb, unit="B", unit_scale=True)
        self._bar.total = self._total_bytes or None
        done = max(self._size, min(self._new, self._total_bytes))  # a large file moves it before its end
        self._bar.set_postfix_str(f"{self._files} of {self._total_files or '?'} files", refresh=False)
        self._bar.update(done - self._bar.n)
