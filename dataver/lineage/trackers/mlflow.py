"""MLflow: a version is an input dataset of the run; an output is a tag of it.

- The dataset has dataver's name, and the first 32 hex digits of the tree's digest (MLflow allows 36
  characters), so `search_runs("dataset.name = 'vision/cats' and dataset.digest = '…'")` finds its runs.
- MLflow keeps one dataset for each (experiment, name, digest), the first one logged. So the dataset's fields
  depend only on its content and the subset; label, requested reference and repository URL are tags of the
  input. A later use of the same content in the same run has no effect there (MLflow keeps the first); the
  lineage index has them all.
- A subset of a version has its own digest and source, so that `mlflow.data.get_source(…).load()` loads it:
  the first 23 digits, `-`, and 12 digits that depend on the subset. `dataset.digest LIKE '<23 digits>%'`
  finds the whole and the subsets. A subset with too long a description has the digest of the whole version.
- `mlflow.active_run()` is specific to the calling thread. `MlflowClient` takes a run's id, and so writes from
  another thread and to finished runs; the run's own tracking server is cached for it.
"""

from __future__ import annotations

import functools
import json
import sys
from typing import TYPE_CHECKING, Any, Final

from dataver.lineage.capture.detection import found
from dataver.lineage.capture.redact import redact_url
from dataver.lineage.trackers.cached_contexts import ContextsOfObjects
from dataver.lineage.trackers.runs_in_environment import announced
from dataver.lineage.trackers.wording import content, facts, subset_text, uri

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataver.formats.event import Context, Subset
    from dataver.lineage.trackers.use import Use

# Imports in functions: the tracker's package, if the process has imported it.

__all__ = ["SOURCE_TYPE", "TRACKER", "Mlflow", "digest_of", "source_of"]

SOURCE_TYPE: Final = "dataver"
_DIGEST: Final = 32  # hex digits
_START: Final = 23  # first hex digits of a subset's digest, equal to the version's
_PART: Final = 12  # last hex digits of it, which depend on the subset
_SUBSET: Final = 5000  # maximum characters of a subset in a source
_TAG: Final = 500  # maximum characters of an input tag's value
_RUN_TAG: Final = 5000  # maximum characters of a run's tag in every MLflow store
_CONTEXT: Final = "input"  # neutral: training or evaluation is unknown
_REMEMBERED: Final = 256  # runs
_OUTCOMES: Final = {"FAILED": "failed", "KILLED": "killed"}


def digest_of(tree: str, subset: Subset | None = None) -> str:
    """Return the dataset's digest for MLflow."""
    if not _part(subset):
        return tree[:_DIGEST]
    from dataver.hashing import digest

    return f"{tree[:_START]}-{digest(_part(subset).encode()).hex()[:_PART]}"


def source_of(dataset: str, tree: str, repository_id: str, subset: Subset | None = None) -> dict[str, Any]:
    """Return the dataset's source: facts that depend only on content and subset."""
    found: dict[str, Any] = {
        "dataset": dataset,
        "repository": repository_id,
        "tree": tree,
        "uri": f"dataver://{dataset}@dv1:{tree}",
    }
    return found | {"subset": subset.values()} if subset is not None and _part(subset) else found


def _part(subset: Subset | None) -> str:
    """Return a subset as JSON; "" for the whole version, and if it is too long."""
    return "" if not subset or len(text := subset_text(subset, sys.maxsize)) > _SUBSET else text


class Mlflow:
    """Tracker for MLflow."""

    system = "mlflow"
    module = "mlflow"

    def __init__(self) -> None:
        self._servers: dict[str, str] = {}  # run id → tracking URI
        self._subsets: dict[tuple[str, str, str], str] = {}
        self._known: dict[str, Context] = {}
        self._contexts = ContextsOfObjects()
        self._outputs: dict[tuple[str, str], dict[str, None]] = {}

    def current(self) -> Context | None:
        """Return this thread's active run, else the one in `MLFLOW_RUN_ID`."""
        active = getattr(sys.modules["mlflow"], "active_run", None)  # mlflow-tracing has none
        run = active() if active is not None else None
        if run is not None:
            return self._contexts.of(run, self.of)
        named = announced("mlflow")
        return self._context(named.id) if named is not None else None

    def watch(self, begins: Callable[..., None], ends: Callable[..., None]) -> None:
        """Call `begins` for each run that `start_run` creates, and `ends` for each that is terminated."""
        fluent: Any = sys.modules.get("mlflow.tracking.fluent")
        if fluent is None:
            return
        for thread, stack in fluent._active_run_stack.get_all_thread_values().items():
            for run in stack:
                begins(self.of(run), thread)
        from mlflow.tracking.client import MlflowClient

        made, terminated = fluent.ActiveRun.__init__, MlflowClient.set_terminated

        @functools.wraps(made)
        def begin(run: Any, *args: Any, **kwargs: Any) -> None:
            made(run, *args, **kwargs)
            context = self.of(run)
            if context is not None:
                begins(context)

        @functools.wraps(terminated)
        def end(client: Any, run_id: str, status: str | None = None, *args: Any, **kwargs: Any) -> Any:
            try:
                return terminated(client, run_id, status, *args, **kwargs)
            finally:
                ends(
                    self._known.get(run_id) or self._context(run_id), _OUTCOMES.get(status or "", "finished")
                )

        fluent.ActiveRun.__init__ = begin
        MlflowClient.set_terminated = end

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
        """Log an input dataset, or an output's tag; the client's own timeouts apply."""
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
            digest=digest_of(use.tree, use.subset),
            source_type=SOURCE_TYPE,
            source=json.dumps(source_of(use.dataset, use.tree, use.repository_id, use.subset)),
            profile=None if use.subset else json.dumps({"files": use.files, "size": use.size}),
        )
        tags = {"mlflow.data.context": _CONTEXT, "dataver.uri": uri(use)}
        tags |= {f"dataver.{name}": value for name, value in facts(use, _TAG).items()}
        told = [InputTag(key=name, value=value[:_TAG]) for name, value in tags.items()]
        client.log_inputs(context.id, [DatasetInput(dataset=dataset, tags=told)])
        subset = subset_text(use.subset, _RUN_TAG)
        before = self._subsets.setdefault((context.id, use.ref, use.tree), subset)
        if before != subset:  # MLflow keeps the first tags of an input
            client.set_tag(context.id, f"dataver.subset.{use.ref.replace('@', '/')}"[:250], subset)

    def _context(self, run_id: str, **shown: Any) -> Context:
        mlflow: Any = sys.modules["mlflow"]
        server = mlflow.get_tracking_uri()
        if len(self._servers) >= _REMEMBERED and run_id not in self._servers:
            oldest = next(iter(self._servers))
            self._known.pop(oldest, None)
            self._servers.pop(oldest)
        self._servers[run_id] = server
        context = found("mlflow", "tracker", run_id, tracking_uri=redact_url(server), **shown).context
        if shown:
            self._known[run_id] = context
        return context


TRACKER: Final = Mlflow()
