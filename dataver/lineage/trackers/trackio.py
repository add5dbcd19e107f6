"""Trackio: a version is in the run's config, under `config["dataver"][<role>][<name>]`.

A second version of a dataset in one run has the key `<name>@<label>`. Trackio stores the config with the
first metrics of a run, so a later use sends it again with an entry without metrics. A run that logs nothing
is not stored by Trackio.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

from dataver.lineage.capture.detection import found
from dataver.lineage.trackers.cached_contexts import ContextsOfObjects, before_method
from dataver.lineage.trackers.wording import with_use

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataver.formats.event import Context
    from dataver.lineage.trackers.use import Use

__all__ = ["TRACKER", "Trackio"]


class Trackio:
    """Tracker for Trackio."""

    system = "trackio"
    module = "trackio"
    updates = True

    def __init__(self) -> None:
        self._contexts = ContextsOfObjects()
        self._runs: WeakValueDictionary[str, Any] = WeakValueDictionary()

    def current(self) -> Context | None:
        """Return the run of this thread or context."""
        variables: Any = sys.modules.get("trackio.context_vars")
        run = variables.current_run.get() if variables is not None else None
        return self._contexts.of(run, self.of) if run is not None else None

    def watch(self, begins: Callable[..., None], ends: Callable[..., None]) -> None:
        """Call `begins` for each new run, and `ends` before a run is finished, which stores its config."""
        kind: Any = getattr(sys.modules.get("trackio.run"), "Run", None)
        if kind is None:
            return
        made = kind.__init__

        @functools.wraps(made)
        def begin(run: Any, *args: Any, **kwargs: Any) -> None:
            made(run, *args, **kwargs)
            begins(self._contexts.of(run, self.of))

        kind.__init__ = begin
        before_method(
            kind, "finish", lambda run: ends(self._contexts.of(run, self.of), "finished", before=True)
        )
        running = self.current()
        if running is not None:
            begins(running)

    def of(self, given: object) -> Context | None:
        """Return the run of a Trackio `Run`."""
        if not type(given).__module__.startswith("trackio."):
            return None
        run: Any = given
        context = found("trackio", "tracker", run.project, run.id, name=run.name).context
        self._runs[context.key] = run
        return context

    def note(self, context: Context, use: Use) -> None:
        """Update the run's config.

        Raises:
            LookupError: the run's object no longer exists.
        """
        run = self._runs.get(context.key)
        if run is None:
            raise LookupError(f"the run {context.key} has ended")
        run.config["dataver"] = with_use(run.config.get("dataver", {}), use)
        with run._queue_lock:
            queued = [entry for entry in run._queued_logs if entry["config"]]
            for entry in queued:  # of several configs sent together, Trackio stores the first
                entry["config"] = dict(run.config)
        if run._config_logged and not queued:
            run._config_logged = False
            run.log({}, step=0)


TRACKER: Final = Trackio()
