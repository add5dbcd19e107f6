"""Weights & Biases: a version is in the run's config; online it is also an artifact by reference.

- `config["dataver"][<role>][<name>]` has the details; it works offline, is synced later, and filters runs in
  tables. A second version of a dataset in one run has the key `<name>@<label>`.
- Online, `use_artifact` (or `log_artifact` for outputs) records an artifact whose only entry refers to
  `dataver://<name>@dv1:<64 hex>`: no data is sent, and equal content is one artifact version, with all its
  runs in W&B's graph. Offline, W&B refuses `use_artifact`.
- The key of a run is its path: `wandb:<entity>/<project>/<id>`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from dataver.lineage.capture.detection import found
from dataver.lineage.trackers.cached_contexts import ContextsOfObjects, before_method
from dataver.lineage.trackers.runs_in_environment import announced
from dataver.lineage.trackers.wording import uri, with_use

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataver.formats.event import Context
    from dataver.lineage.trackers.use import Use

# Imports in functions: the tracker's package, if the process has imported it.

__all__ = ["TRACKER", "Wandb", "artifact_of"]

_NAME: Final = 128  # maximum characters of an artifact's name


class Wandb:
    """Tracker for Weights & Biases."""

    system = "wandb"
    module = "wandb"
    updates = True

    def __init__(self) -> None:
        self._contexts = ContextsOfObjects()

    def current(self) -> Context | None:
        """Return the process's run (with `reinit="create_new"`, the latest), else that in the environment."""
        run = _running()
        return self._contexts.of(run, self.of) if run is not None else announced("wandb")

    def watch(self, begins: Callable[..., None], ends: Callable[..., None]) -> None:
        """Call `ends` before a run is finished: afterwards W&B rejects writes."""
        kind: Any = getattr(sys.modules.get("wandb.sdk.wandb_run"), "Run", None)
        if kind is None:
            return

        def end(run: Any, exit_code: int | None = None, *_: Any, **__: Any) -> None:
            context = self._contexts.of(run, self.of)
            if context is not None:
                ends(context, "failed" if exit_code else "finished", before=True)

        before_method(kind, "_finish", end)
        run = _running()
        if run is not None:
            begins(self._contexts.of(run, self.of))

    def of(self, given: object) -> Context | None:
        """Return the run of a W&B `Run`."""
        if not type(given).__module__.startswith("wandb."):
            return None
        run: Any = given
        around = [part for part in (run.entity, run.project) if part]
        return found(
            "wandb",
            "tracker",
            *around,
            run.id,
            name=run.name,
            url=None if run.offline else run.url,
        ).context

    def note(self, context: Context, use: Use) -> None:
        """Update the run's config and, if the run is online, log the artifact.

        Raises:
            LookupError: the run has ended.
        """
        run = _running()
        if run is None or (own := self.of(run)) is None or own.key != context.key:
            raise LookupError(f"the run {context.key} has ended")
        noted = with_use(dict(run.config.get("dataver", {})), use)
        run.config.update({"dataver": noted}, allow_val_change=True)
        if not run.offline:
            artifact = artifact_of(use)
            _ = run.use_artifact(artifact) if use.role == "input" else run.log_artifact(artifact)


def artifact_of(use: Use) -> Any:
    """Return the W&B artifact that refers to a version; works without a server."""
    from wandb import Artifact

    name = use.dataset.replace("/", "--")[:_NAME]
    metadata = {"dataset": use.dataset, "digest": f"dv1:{use.tree}", "repository_id": use.repository_id}
    artifact = Artifact(name, type="dataset", description=uri(use), metadata=metadata)
    artifact.add_reference(uri(use), name="dataset", checksum=False)
    return artifact


def _running() -> Any:
    wandb: Any = sys.modules["wandb"]
    run = getattr(wandb, "run", None)
    if run is not None:
        return run
    setup = getattr(sys.modules.get("wandb.sdk.wandb_setup"), "_singleton", None)
    return getattr(setup, "most_recent_active_run", None)


TRACKER: Final = Wandb()
