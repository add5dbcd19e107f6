"""MLflow: a version is an input dataset of the run; an output is a tag of it.

- The dataset's name is ours, its digest the first 32 hex digits of the tree's (MLflow takes 36 characters),
  so `search_runs("dataset.name = 'vision/cats' and dataset.digest = '…'")` finds every run that saw it.
- MLflow keeps one dataset for each (experiment, name, digest), the first that comes. So what is said of the
  dataset follows from its content; what belongs to this use (label, the reference asked for, the subset,
  the repository's URL) is in the input's tags. A later use of the same content in the same run changes
  nothing there (MLflow keeps the first); the lineage index has them all.
- `mlflow.active_run()` is of the calling thread alone. `MlflowClient` takes a run's id, and so writes from
  another thread and to finished runs; the run's own tracking server is remembered for it.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

from dataver.lineage.capture.found import found
from dataver.lineage.capture.redact import redact_url
from dataver.lineage.trackers.announced import announced
from dataver.lineage.trackers.wording import content, facts, uri

if TYPE_CHECKING:
    from dataver.formats.event import Context
    from dataver.lineage.trackers.base import Use

__all__ = ["SOURCE_TYPE", "TRACKER", "Mlflow", "digest_of", "source_of"]

SOURCE_TYPE: Final = "dataver"
_DIGEST: Final = 32  # hex digits
_TAG: Final = 500  # characters of an input tag's value
_RUN_TAG: Final = 5000  # characters of a run's tag that every store takes
_CONTEXT: Final = "input"  # dataver does not know whether it is for training or for evaluation
_REMEMBERED: Final = 256  # runs


def digest_of(tree: str) -> str:
    """Return what MLflow calls the dataset's digest."""
    return tree[:_DIGEST]


def source_of(dataset: str, tree: str, repository_id: str) -> dict[str, str]:
    """Return the dataset's source: facts that never change for this content in this repository."""
    return {
        "dataset": dataset,
        "repository": repository_id,
        "tree": tree,
        "uri": f"dataver://{dataset}@dv1:{tree}",
    }


class Mlflow:
    """MLflow."""

    system = "mlflow"
    module = "mlflow"

    def __init__(self) -> None:
        self._servers: dict[str, str] = {}  # run id → tracking URI
        self._outputs: dict[tuple[str, str], dict[str, None]] = {}

    def current(self) -> Context | None:
        """Return this thread's active run, else the only one of others, else what `MLFLOW_RUN_ID` names."""
        mlflow: Any = sys.modules["mlflow"]
        active = getattr(mlflow, "active_run", None)  # mlflow-tracing has none
        run = (active() if active is not None else None) or self._elsewhere()
        if run is not None:
            return self.of(run)
        named = announced("mlflow")
        return self._context(named.id) if named is not None else None

    def recent(self) -> Context | None:
        """Return the one run that was active in any thread; None if there were several."""
        fluent: Any = sys.modules.get("mlflow.tracking.fluent")
        if fluent is None:
            return None
        ended = set(fluent._last_active_run_id.get_all_thread_values().values()) - {None}
        return self._context(ended.pop()) if len(ended) == 1 else None

    @staticmethod
    def _elsewhere() -> Any:
        """Return the run that is active in another thread; None if there are several."""
        fluent: Any = sys.modules.get("mlflow.tracking.fluent")
        if fluent is None:
            return None
        stacks = fluent._active_run_stack.get_all_thread_values().values()
        active = {run.info.run_id: run for stack in stacks for run in stack}
        return next(iter(active.values())) if len(active) == 1 else None

    def of(self, given: object) -> Context | None:
        """Return the run of an MLflow `Run`."""
        info = getattr(given, "info", None)
        run_id = getattr(info, "run_id", None)
        if not isinstance(run_id, str) or not type(given).__module__.startswith("mlflow."):
            return None
        return self._context(
            run_id, name=getattr(info, "run_name", None), experiment=getattr(info, "experiment_id", None)
        )

    def note(self, context: Context, use: Use) -> None:
        """Log an input dataset, or an output's tag; the client's own timeouts bound it."""
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=self._servers.get(context.id))
        if use.role == "output":
            outputs = self._outputs.setdefault((context.id, use.dataset), {})
            outputs[f"{use.ref} {content(use)}"] = None
            client.set_tag(context.id, f"dataver.output.{use.dataset}"[:250], ", ".join(outputs)[:_RUN_TAG])
            return
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(
            name=use.dataset,
            digest=digest_of(use.tree),
            source_type=SOURCE_TYPE,
            source=json.dumps(source_of(use.dataset, use.tree, use.repository_id)),
            profile=None if use.subset else json.dumps({"files": use.files, "size": use.size}),
        )
        tags = {"mlflow.data.context": _CONTEXT, "dataver.uri": uri(use)}
        tags |= {f"dataver.{name}": value for name, value in facts(use, _TAG).items()}
        told = [InputTag(key=name, value=value[:_TAG]) for name, value in tags.items()]
        client.log_inputs(context.id, [DatasetInput(dataset=dataset, tags=told)])

    def _context(self, run_id: str, **shown: Any) -> Context:
        mlflow: Any = sys.modules["mlflow"]
        server = mlflow.get_tracking_uri()
        if len(self._servers) >= _REMEMBERED and run_id not in self._servers:
            self._servers.pop(next(iter(self._servers)))
        self._servers[run_id] = server
        return found("mlflow", "tracker", run_id, tracking_uri=redact_url(server), **shown).context


TRACKER: Final = Mlflow()
