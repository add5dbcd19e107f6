"""ZenML: a version is metadata of the step that read or produced it.

A step is a run: `zenml:<pipeline run>/<step>`. The step's context belongs to the calling thread (and to code
that runs with a copy of its context variables). `dataver.integrations.zenml` passes versions between steps.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from dataver.lineage.capture.detection import found
from dataver.lineage.trackers.cached_contexts import ContextsOfObjects
from dataver.lineage.trackers.wording import facts

if TYPE_CHECKING:
    from dataver.formats.event import Context
    from dataver.lineage.trackers.use import Use

# Imports in functions: the tracker's package, if the process has imported it.

__all__ = ["TRACKER", "ZenML"]


class ZenML:
    """Tracker for ZenML."""

    system = "zenml"
    module = "zenml"

    def __init__(self) -> None:
        self._contexts = ContextsOfObjects()

    def current(self) -> Context | None:
        """Return the running step of this thread, or None."""
        steps: Any = sys.modules.get("zenml.steps.step_context")
        context = steps.StepContext.get() if steps is not None else None
        return self._contexts.of(context, self._of) if context is not None else None

    def outcome(self, context: Context) -> str | None:
        """Fetch the outcome of a step from ZenML's store; None if it has not ended."""
        from zenml.client import Client

        status = str(Client().get_run_step(UUID(context.facts["step_run"])).status)
        return {"completed": "finished", "cached": "finished", "failed": "failed"}.get(status)

    @staticmethod
    def _of(context: Any) -> Context:
        return found(
            "zenml",
            "tracker",
            context.pipeline_run.id,
            context.step_name,
            run=context.pipeline_run.name,
            step=context.step_name,
            step_run=context.step_run.id,
        ).context

    def note(self, context: Context, use: Use) -> None:
        """Log metadata on the step; works from any thread, also after the end of the step."""
        from zenml import log_metadata

        told: dict[str, Any] = {**facts(use), "files": use.files, "size": use.size}
        name = f"dataver.{use.role}.{use.ref if use.label else use.dataset}"
        log_metadata(metadata={name: told}, step_id=UUID(context.facts["step_run"]))


TRACKER: Final = ZenML()
