"""Comet: the dataset info of the experiment, and one "other" for each use.

Comet keeps one dataset info for each experiment, which is the last version fetched. So every version is also
an "other" `dataver.<role>.<name>`; a later version of a dataset in one experiment is `….<name>@<label>`.
Works in offline experiments.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

from dataver.lineage.capture.detection import found
from dataver.lineage.trackers.cached_contexts import ContextsOfObjects, before_method
from dataver.lineage.trackers.runs_in_environment import announced
from dataver.lineage.trackers.wording import content, facts, uri

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataver.formats.event import Context
    from dataver.lineage.trackers.use import Use

__all__ = ["TRACKER", "Comet"]


class Comet:
    """Tracker for Comet."""

    system = "comet"
    module = "comet_ml"
    updates = True

    def __init__(self) -> None:
        self._contexts = ContextsOfObjects()

    def current(self) -> Context | None:
        """Return the running experiment, else the one in `COMET_EXPERIMENT_KEY`."""
        experiment = _running()
        if experiment is not None:
            return self._contexts.of(experiment, self.of)
        return announced("comet")

    def watch(self, begins: Callable[..., None], ends: Callable[..., None]) -> None:
        """Call `ends` before an experiment is ended: afterwards Comet rejects writes."""
        module: Any = sys.modules.get("comet_ml.experiment") or sys.modules["comet_ml"]
        kind = getattr(module, "CometExperiment", None) or getattr(module, "BaseExperiment", None)

        def end(experiment: Any, *_: Any, **__: Any) -> None:
            context = self._contexts.of(experiment, self.of)
            if context is not None:
                ends(context, "finished", before=True)

        if kind is not None:
            before_method(kind, "end", end)
        experiment = _running()
        if experiment is not None:
            begins(self._contexts.of(experiment, self.of))

    def of(self, given: object) -> Context | None:
        """Return the run of a Comet experiment object."""
        if not type(given).__module__.startswith("comet_ml."):
            return None
        experiment: Any = given
        return found(
            "comet",
            "tracker",
            experiment.get_key(),
            name=getattr(experiment, "name", None),
            project=getattr(experiment, "project_name", None),
        ).context

    def note(self, context: Context, use: Use) -> None:
        """Log the dataset info and the details.

        Raises:
            LookupError: the experiment has ended.
        """
        experiment = _running()
        if experiment is None or experiment.get_key() != context.id:
            raise LookupError(f"the experiment {context.key} has ended")
        if use.role == "input":
            experiment.log_dataset_info(name=use.dataset, version=use.label or content(use), path=uri(use))
        told = json.dumps(facts(use), ensure_ascii=False, sort_keys=True)
        name = f"dataver.{use.role}.{use.dataset}"
        before = experiment.others.get(name)
        if before is not None and json.loads(before)["digest"] != content(use):
            name = f"dataver.{use.role}.{use.ref}"
        experiment.log_other(name, told)


def _running() -> Any:
    running = getattr(sys.modules["comet_ml"], "get_running_experiment", None)
    return running() if running is not None else None


TRACKER: Final = Comet()
