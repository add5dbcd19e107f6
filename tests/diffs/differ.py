"""The type of the fixture `differ`."""

from collections.abc import Callable
from pathlib import Path

import dataver

__all__ = ["Differ", "Write"]

Write = Callable[[Path], object]
Differ = Callable[[str, Write, Write], dataver.Diff]
