"""A progress bar on stderr for what takes longer than a second: bytes, rate, files, and what was new.

Nothing is drawn, and tqdm not even imported, before the second is over, or where stderr is no terminal.
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
    """Draws what the library reports (`dataver.progress.Progress`), in a `with`.

    Args:
        verb: what is being done.
        shown: whether anybody wants to see it.
        thing: what is counted.
        fresh: what to call bytes that had to be stored or moved; None where they say nothing.
    """

    def __init__(self, verb: str, *, shown: bool, thing: str = "file", fresh: str | None = None) -> None:
        self._verb, self._thing, self._fresh = verb, thing, fresh
        self._shown = shown and sys.stderr.isatty()
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._bar: tqdm[Any] | None = None
        self._total_files = self._total_bytes = self._files = self._size = self._new = 0

    def start(self, total_files: int, total_bytes: int, /) -> None:
        """Hear how much there is to do."""
        with self._lock:
            self._total_files, self._total_bytes = total_files, total_bytes
            if self._bar is not None:
                self._bar.total = total_bytes or None

    def advance(self, files: int, size: int, /, new: int = 0) -> None:
        """Hear of progress since the last call."""
        with self._lock:
            self._files += files
            self._size += size
            self._new += new
            if self._shown and time.monotonic() - self._began >= _PATIENCE:
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

            tqdm.monitor_interval = 0  # no thread of its own
            self._bar = tqdm(
                desc=self._verb,
                total=self._total_bytes or None,
                unit="B",
                unit_scale=True,
                leave=False,
                delay=1e-6,  # not before it has something to say
                file=sys.stderr,
                **_screen(),
            )
            self._bar.delay = 0
            elapsed = time.monotonic() - self._began
            self._bar.start_t -= elapsed
            self._bar.last_print_t -= elapsed  # the first rate is the whole time's
        self._bar.set_postfix_str(self._details(), refresh=False)
        self._bar.update(self._size - self._bar.n)
        if first:
            self._bar.refresh()

    def _details(self) -> str:
        files = count(self._files, self._thing)
        if self._total_files:
            files = f"{self._files:,} of {count(self._total_files, self._thing)}"
        if not self._size or self._fresh is None:
            return files
        return f"{files}, {size(self._new)} {self._fresh} ({100 * self._new // self._size} %)"


def _screen() -> dict[str, Any]:
    """Return how large to draw; on terminals that say 0 x 0, as some containers' do, tqdm draws nothing."""
    try:
        real = os.get_terminal_size(sys.stderr.fileno())
    except (OSError, ValueError):
        real = os.terminal_size((0, 0))
    return {"dynamic_ncols": True} if real.columns and real.lines else {"ncols": 100, "nrows": 24}
