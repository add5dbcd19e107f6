"""Neptune 1.x: a version is in the run's metadata, under `dataver/<role>/<dataset>`.

Neptune has no "current run": the run is passed as an object, `fetch(…, run=neptune_run)`, or its id is in
`NEPTUNE_CUSTOM_RUN_ID`. Weak references to passed runs are kept, for writing to them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

from dataver.lineage.capture.detection import found
from dataver.lineage.trackers.announced import announced
from dataver.lineage.trackers.wording import facts

if TYPE_CHECKING:
    from dataver.formats.event import Context
    from dataver.lineage.trackers.use import Use

__all__ = ["TRACKER", "Neptune"]


class Neptune:
    """Tracker for Neptune."""

    system = "neptune"
    module = "neptune"

    def __init__(self) -> None:
        self._runs: WeakValueDictionary[str, Any] = WeakValueDictionary()

    def current(self) -> Context | None:
        """Return the run in `NEPTUNE_CUSTOM_RUN_ID`, or None."""
        return announced("neptune")

    def of(self, given: object) -> Context | None:
        """Return the run of a Neptune `Run`."""
        if not type(given).__module__.startswith("neptune."):
            return None
        run: Any = given
        project, number = getattr(run, "_project_name", None), getattr(run, "_sys_id", None)
        if not (project and number) or number.startswith("OFFLINE"):
            context = found("neptune", "tracker", run._id).context  # a run gets its number when it is synced
        else:
            context = found("neptune", "tracker", project, number).context
        self._runs[context.key] = run
        return context

    def note(self, context: Context, use: Use) -> None:
        """Write the details to the run's metadata.

        Raises:
            LookupError: the run was not passed, or no longer exists.
        """
        run = self._runs.get(context.key)
        if run is None:
            raise LookupError(f"the object of {context.key} is unknown; pass it as run=")
        told = {"how": "", "subset": "", **facts(use)}  # empty values overwrite those of an earlier use
        for name, value in told.items():
            run[f"dataver/{use.role}/{use.dataset}/{use.label or use.tree[:32]}/{name}"] = value


TRACKER: Final = Neptune()
