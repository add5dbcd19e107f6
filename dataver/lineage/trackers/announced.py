"""Runs that only the environment names: the tracker's package is not imported in this process.

A launcher sets the variable, and the tracker would adopt it once imported. So the run is known, and the link
is noted under it; writing to the tracker would need its package, and is left out (invariant 8).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dataver.lineage.capture.found import found

if TYPE_CHECKING:
    from dataver.formats.event import Context
    from dataver.lineage.trackers.base import Use

__all__ = ["ANNOUNCED", "Announced", "announced"]


@dataclass(frozen=True, slots=True)
class Announced:
    """A tracker whose run the environment names.

    Attributes:
        system: its name in run keys.
        module: its package.
        variables: the first of them that is set holds the run's id.
        around: variables that hold what the id is unique in, widest first; those not set are left out.
    """

    system: str
    module: str
    variables: tuple[str, ...]
    around: tuple[str, ...] = ()

    def current(self) -> Context | None:
        """Return the run that the environment names, or None."""
        values = (os.environ.get(name, "") for name in self.variables)
        ids = (value.rpartition(":")[2] if self.system == "clearml" else value for value in values)
        run = next(filter(None, ids), None)  # a ClearML master announces itself as <process>:<task>
        if run is None:
            return None
        wider = [value for name in self.around if (value := os.environ.get(name))]
        return found(self.system, "tracker", *wider, run).context

    def note(self, context: Context, use: Use) -> None:
        """Do nothing: the package is not imported."""


ANNOUNCED: Final = (
    Announced("mlflow", "mlflow", ("MLFLOW_RUN_ID",)),
    Announced(
        "clearml",
        "clearml",
        ("CLEARML_PROC_MASTER_ID", "TRAINS_PROC_MASTER_ID", "CLEARML_TASK_ID", "TRAINS_TASK_ID"),
    ),
    Announced("wandb", "wandb", ("WANDB_RUN_ID",), ("WANDB_ENTITY", "WANDB_PROJECT")),
    Announced("comet", "comet_ml", ("COMET_EXPERIMENT_KEY",)),
    Announced("neptune", "neptune", ("NEPTUNE_CUSTOM_RUN_ID",), ("NEPTUNE_PROJECT",)),
)


def announced(system: str) -> Context | None:
    """Return the run of that tracker that the environment names, or None."""
    return next(each for each in ANNOUNCED if each.system == system).current()
