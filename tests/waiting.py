"""Waiting for what another thread or process does, on a machine of any speed."""

import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["PATIENCE", "until"]

PATIENCE = 120.0
"""Seconds after which a test fails that still waits; a machine under load is thirty times as slow."""


_T = TypeVar("_T")


def until(done: Callable[[], _T]) -> _T:
    """Call `done` again and again; return its first true result.

    Raises:
        TimeoutError: there was none in `PATIENCE`.
    """
    end = time.monotonic() + PATIENCE
    while not (found := done()):
        if time.monotonic() > end:
            raise TimeoutError(f"nothing happened in {PATIENCE:.0f} s")
        time.sleep(0.005)
    return found
