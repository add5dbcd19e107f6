"""Comet: the dataset info of the experiment, and one "other" a use.

Comet keeps one dataset info an experiment: it names the last version that was fetched. So every version also
stands under `dataver.<role>.<name>`; a later version of a dataset in one experiment under `….<name>@<label>`.
Works in offline experiments.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

from dataver.lineage.capture.found import found
from dataver.lineage.trackers.announced import announced
from dataver.lineage.trackers.wording import content, facts, uri

if TYPE_CHECKING:
    from dataver.formats.event import Context
    from dataver.lineage.trackers.base import Use

__all__ = ["TRACKER", "Comet"]


class Comet:
    """Comet."""

    system = "comet"
    module = "comet_ml"

    def current(self) -> Context | None:
        """Return the running experiment, else the one that `COMET_EXPERIMENT_KEY` announces."""
        experiment = _running()
        return self.of(experiment) if experiment is not None else announced("comet")

    def of(self, given: object) -> Context | None:
        """Return the experiment of a Comet experiment."""
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
            LookupError: the experiment is over.
        """
        experiment = _running()
        if experiment is None or experiment.get_key() != context.id:
            raise LookupError(f"the experiment {context.key} is over")
        if use.role == "input":
            experiment.log_dataset_info(name=use.dataset, version=use.label or content(use), path=uri(use))
        told = json.dumps(facts(use), ensure_ascii=False, sort_keys=True)
        name = f"dataver.{use.role}.{use.dataset}"
        if experiment.others.get(name, told) != told:
            name = f"dataver.{use.role}.{use.ref}"
        experiment.log_other(name, told)


def _running() -> Any:
    running = getattr(sys.modules["comet_ml"], "get_running_experiment", None)
    return running() if running is not None else None


TRACKER: Final = Comet()
