"""A progress bar on stderr for operations that take longer than a second: bytes, rate, files, new bytes.

Before that, or if stderr is not a terminal, nothing is drawn and tqdm is not imported.
"""

import os
import sys
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from dataver_cli.output import count, size

if TYPE_CHECKING:
    from tqdm import tqdm

__all__ = ["Bar"]

_PATIENCE = 1.0  # seconds of work before a bar is worth drawing


class Bar:
    """A progress bar that receives updates (`dataver.progress.Progress`); used in a `with` statement.

    Args:
        verb: name of the operation.
        shown: whether to draw.
        thing: noun of the counted items.
        fresh: adjective for bytes that had to be stored or transferred; None to omit them.
    """

    def __init__(self, verb: str, *, shown: bool, thing: str = "file", fresh: str | None = None) -> None:
        self._verb, self._thing, self._fresh = verb, thing, fresh
        self._shown = shown and sys.stderr.isatty()
        self.silent = not self._shown
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._bar: tqdm[Any] | None = None
        self._total_files = self._total_bytes = self._files = self._size = self._new = 0

    def start(self, total_files: int, total_bytes: int, /) -> None:
        """Set the total amount of work."""
        with self._lock:
            self._total_files, self._total_bytes = total_files, total_bytes
            if self._bar is not None:
                self._bar.total = total_bytes or None

    def advance(self, files: int, size: int, /, new: int = 0) -> None:
        """Add the progress since the last call."""
        with self._lock:
            self._files += files
            self._size += size
            self._new += new
            known = self._total_bytes or self._files or self._new
            if self._shown and known and time.monotonic() - self._began >= _PATIENCE:
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
        first = self._bar is None
        if self._bar is None:
            from tqdm import tqdm

            tqdm.monitor_interval = 0  # no monitor thread
            self._bar = tqdm(
                desc=self._verb,
                total=self._total_bytes or None,
                unit="B",
                unit_scale=True,
                leave=False,
                delay=1e-6,  # do not draw before the first update
                file=sys.stderr,
                **_screen(),
            )
            self._bar.delay = 0
            elapsed = time.monotonic() - self._began
            self._bar.start_t -= elapsed
            self._bar.last_print_t -= elapsed  # the first rate covers the whole time
        self._bar.set_postfix_str(self._details(), refresh=False)
        self._bar.update(self._done - self._bar.n)
        if first:
            self._bar.refresh()

    @property
    def _done(self) -> int:
        """Bytes done: of complete files, or of the new ones so far if a large file is not complete."""
        if self._fresh is None:
            return self._size
        return max(self._size, min(self._new, self._total_bytes or self._new))

    def _details(self) -> str:
        files = count(self._files, self._thing)
        if self._total_files:
            files = f"{self._files:,} of {count(self._total_files, self._thing)}"
        if not self._done or self._fresh is None:
            return files
        return f"{files}, {size(self._new)} {self._fresh} ({100 * self._new // self._done} %)"


def _screen() -> dict[str, Any]:
    """Return the size of the screen; tqdm draws nothing on terminals of 0 x 0, as in some containers."""
    try:
        real = os.get_terminal_size(sys.stderr.fileno())
    except (OSError, ValueError):
        real = os.terminal_size((0, 0))
    return {"dynamic_ncols": True} if real.columns and real.lines else {"ncols": 100, "nrows": 24}
