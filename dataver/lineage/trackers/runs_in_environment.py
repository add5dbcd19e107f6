"""Runs of trackers that are only in the environment: the tracker's package is not imported in this process.

A launcher sets the variable, and the tracker would use it once imported. So links are recorded for the run;
writing to the tracker would require its package, and is omitted (invariant 8).
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from dataver.lineage.capture.detection import found
from dataver.lineage.systems import TRACKERS, System

if TYPE_CHECKING:
    from dataver.formats.event import Context
    from dataver.lineage.trackers.use import Use

__all__ = ["ANNOUNCED", "Announced", "announced", "announced_runs"]


class Announced(NamedTuple):
    """A tracker whose run is read from the environment.

    Attributes:
        row: the tracker.
    """

    row: System

    @property
    def system(self) -> str:
        """Its name in run keys."""
        return self.row.name

    @property
    def module(self) -> str:
        """Its package."""
        return self.row.modules[0]

    def current(self) -> Context | None:
        """Return the run in the environment, or None."""
        values = (os.environ.get(name, "") for name in self.row.run)
        ids = (value.rpartition(":")[2] if self.system == "clearml" else value for value in values)
        run = next(filter(None, ids), None)  # the variable of a ClearML master is <process>:<task>
        if run is None:
            return None
        wider = [value for name in self.row.around if (value := os.environ.get(name))]
        return found(self.system, "tracker", *wider, run).context

    def note(self, context: Context, use: Use) -> None:
        """Do nothing: the package is not imported."""


ANNOUNCED: Final = tuple(Announced(each) for each in TRACKERS if each.run)


def announced_runs() -> tuple[Context, ...]:
    """Return the runs in the environment of trackers that are not imported."""
    found = (each.current() for each in ANNOUNCED if each.module not in sys.modules)
    return tuple(context for context in found if context is not None)


def announced(system: str) -> Context | None:
    """Return the run of a tracker in the environment, or None."""
    return next(each for each in ANNOUNCED if each.system == system).current()
