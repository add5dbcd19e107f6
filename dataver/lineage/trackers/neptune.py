"""Neptune 1.x: a version stands under `dataver/<role>/<dataset>` of the run's metadata.

Neptune has no "current run": it is known from the run's object, `fetch(…, run=neptune_run)`, or, by its id
alone, from `NEPTUNE_CUSTOM_RUN_ID`. Runs that were passed are remembered weakly, to write to them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

from dataver.lineage.capture.found import found
from dataver.lineage.trackers.announced import announced
from dataver.lineage.trackers.wording import facts

if TYPE_CHECKING:
    from dataver.formats.event import Context
    from dataver.lineage.trackers.base import Use

__all__ = ["TRACKER", "Neptune"]


class Neptune:
    """Neptune."""

    system = "neptune"
    module = "neptune"

    def __init__(self) -> None:
        self._runs: WeakValueDictionary[str, Any] = WeakValueDictionary()

    def current(self) -> Context | None:
        """Return the run that `NEPTUNE_CUSTOM_RUN_ID` announces, or None."""
        return announced("neptune")

    def of(self, given: object) -> Context | None:
        """Return the run of a Neptune `Run`."""
        if not type(given).__module__.startswith("neptune."):
            return None
        run: Any = given
        project, number = getattr(run, "_project_name", None), getattr(run, "_sys_id", None)
        if not (project and number) or number.startswith("OFFLINE"):
            context = found("neptune", "tracker", run._id).context  # the number comes when it is synced
        else:
            context = found("neptune", "tracker", project, number).context
        self._runs[context.key] = run
        return context

    def note(self, context: Context, use: Use) -> None:
        """Write the details into the run.

        Raises:
            LookupError: the run was not passed, or is gone.
        """
        run = self._runs.get(context.key)
        if run is None:
            raise LookupError(f"the object of {context.key} is not known here; pass it as run=")
        for name, value in facts(use).items():
            run[f"dataver/{use.role}/{use.dataset}/{use.label or use.tree[:32]}/{name}"] = value


TRACKER: Final = Neptune()
