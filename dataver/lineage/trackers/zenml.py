"""ZenML: a version is metadata of the step that read or made it.

A step is a run here: `zenml:<pipeline run>/<step>`. The step's context is of the calling thread (and of what
is started with a copy of its context variables). How a version passes from step to step is
`dataver.integrations.zenml`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from dataver.lineage.capture.found import found
from dataver.lineage.trackers.wording import facts

if TYPE_CHECKING:
    from dataver.formats.event import Context
    from dataver.lineage.trackers.base import Use

__all__ = ["TRACKER", "ZenML"]


class ZenML:
    """ZenML."""

    system = "zenml"
    module = "zenml"

    def current(self) -> Context | None:
        """Return the step that runs in this thread, or None."""
        steps: Any = sys.modules.get("zenml.steps.step_context")
        context = steps.StepContext.get() if steps is not None else None
        if context is None:
            return None
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
        """Log metadata on the step; works from any thread, and when the step has ended."""
        from zenml import log_metadata

        told: dict[str, Any] = {**facts(use), "files": use.files, "size": use.size}
        name = f"dataver.{use.role}.{use.ref if use.label else use.dataset}"
        log_metadata(metadata={name: told}, step_id=UUID(context.facts["step_run"]))


TRACKER: Final = ZenML()
