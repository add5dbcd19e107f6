"""Export of all lineage as OpenLineage run events, one JSON value each (openlineage.io, specification 2-0-2).

A run is two events: START, and COMPLETE, FAIL or ABORT with all inputs and outputs; a run that has not ended
has RUNNING instead. A dataset is named in the repository's namespace and has the exact version, which
consumers must not replace by "the latest". Run ids are UUIDs derived from run keys, as the specification
requires.

Consumers such as Marquez group runs by job, so a job is the repeated unit: an orchestrator's task, a script
or notebook, a tracker's experiment. Its namespace, like that of the data, is the repository's URI.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

from dataver._about import __version__
from dataver.lineage.queries.results import words_of
from dataver.lineage.queries.rows import links_where, runs_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from datetime import datetime

    from dataver.lineage.queries.results import IndexedLink, IndexedRun

__all__ = ["openlineage_events"]

_PRODUCER = f"https://pypi.org/project/dataver/{__version__}"
_SPEC = "https://openlineage.io/spec"
_TYPES = {"finished": "COMPLETE", "failed": "FAIL", "killed": "ABORT", None: "COMPLETE"}
_TASKS = (
    "dag",
    "flow",
    "job",
    "experiment",
    "name",
    "task",
    "step",
)  # of a task of an orchestrator, in order
_GROUPS = ("experiment", "project")  # of a tracker's run
_LAUNCHERS = {"python", "torchrun", "accelerate", "bash", "sh", "ray", "uv", "jupyter", "papermill"}
_SCRIPTS = {".py", ".ipynb", ".sh", ".R", ".jl"}
_BATCH = 500  # runs in memory at a time


def openlineage_events(db: sqlite3.Connection, repository_url: str) -> Iterator[dict[str, Any]]:
    """Yield the events of all runs, in the order of their start."""
    namespace = _uri(repository_url)
    after = ("", -1)
    while rows := db.execute(
        "SELECT started, id FROM runs WHERE (started, id) > (?, ?) ORDER BY started, id LIMIT ?",
        [*after, _BATCH],
    ).fetchall():
        after = rows[-1]
        runs = runs_of(db, [number for _, number in rows])
        for _, number in rows:
            job = {"namespace": namespace, "name": _job(runs[number], _facts(db, number)), "facets": {}}
            yield from _of_run(runs[number], links_where(db, "l.run = ?", [number]), job)


def _facts(db: sqlite3.Connection, run: int) -> dict[str, Any]:
    row = db.execute(
        "SELECT facts FROM processes WHERE run = ? ORDER BY started, process LIMIT 1", [run]
    ).fetchone()
    return {} if row is None else dict(json.loads(row[0]))


def _uri(url: str) -> str:
    """Return a repository's URL as a URI; that of a folder is `file:///…`."""
    return url if "://" in url else Path(url).absolute().as_uri()


def _job(run: IndexedRun, facts: dict[str, Any]) -> str:
    """Return the name of the job of which a run is one execution."""
    argv = words_of(facts)
    candidates = (
        _of_contexts(run, "orchestrator", _TASKS),
        _script(argv, facts),
        _of_contexts(run, "tracker", _GROUPS),
        _of_contexts(run, "cluster", ("name",)) or _of_contexts(run, "ci", ("workflow", "job")),
        "python -c" if argv[:1] == ["-c"] else None,
        run.name,
    )
    return next((each for each in candidates if each), run.key.partition(":")[0])


def _of_contexts(run: IndexedRun, kind: str, names: tuple[str, ...]) -> str | None:
    """Return system and named facts of the first context of a kind that has any."""
    for context in run.contexts:
        parts = [str(context.facts[name]) for name in names if context.facts.get(name)]
        if context.kind == kind and parts:
            return f"{context.system}:{'.'.join(parts)}"
    return None


def _script(argv: list[str], facts: dict[str, Any]) -> str | None:
    """Return the file name of a command line's script or notebook, prefixed with its git repository."""
    words = [PurePath(each.replace("\\", "/")) for each in argv]
    if (
        words and words[0].name.partition(".")[0].rstrip("0123456789") in _LAUNCHERS
    ):  # `dataver run -- python …`
        words = [each for each in words[1:] if each.suffix in _SCRIPTS]
    if not words or words[0].suffix not in _SCRIPTS or words[0].name == "ipykernel_launcher.py":
        return None
    script = words[0].parent.name if words[0].name == "__main__.py" else words[0].name
    git = facts.get("git")
    remote = str(git.get("remote") or "") if isinstance(git, dict) else ""
    project = remote.rstrip("/").replace(":", "/").rpartition("/")[2].removesuffix(".git")
    return f"{project}/{script}" if project else script


def _of_run(run: IndexedRun, links: list[IndexedLink], job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    namespace = job["namespace"]
    values: dict[str, Any] = {
        "producer": _PRODUCER,
        "schemaURL": f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "run": {"runId": str(uuid5(NAMESPACE_URL, f"dataver:run:{run.key}")), "facets": _run_facets(run)},
        "job": job,
    }
    yield {"eventType": "START", "eventTime": _time(run.started), **values, "inputs": [], "outputs": []}
    last = max([link.time for link in links] + [run.started])
    yield {
        "eventType": "RUNNING" if run.ended is None else _TYPES[run.outcome],
        "eventTime": _time(run.ended or last),
        **values,
        "inputs": [_dataset(link, namespace) for link in links if link.role == "input"],
        "outputs": [_dataset(link, namespace) for link in links if link.role == "output"],
    }


def _run_facets(run: IndexedRun) -> dict[str, Any]:
    tags = [{"key": each.system, "value": each.id, "source": "dataver"} for each in run.contexts]
    tags += [
        {"key": name, "value": value, "source": "dataver"}
        for name, value in (("user", run.user), ("host", run.host), ("commit", run.commit))
        if value
    ]
    return {"tags": _facet("TagsRunFacet", "1-0-0", tags=tags)} if tags else {}


def _dataset(link: IndexedLink, namespace: str) -> dict[str, Any]:
    facets = {
        "version": _facet("DatasetVersionDatasetFacet", "1-0-1", datasetVersion=link.label or link.digest),
        "dataver": {
            **_facet(
                "BaseFacet",
                "",
                digest=link.digest,
                how=link.how,
                record=link.record,
                subset=link.subset.values(),
            )
        },
    }
    if link.role == "output":
        statistics = _facet(
            "OutputStatisticsOutputDatasetFacet", "1-0-2", size=link.size, fileCount=link.files
        )
        return _named(link, namespace, facets, outputFacets={"outputStatistics": statistics})
    found = {
        "inputStatistics": _facet(
            "InputStatisticsInputDatasetFacet", "1-0-0", size=link.size, fileCount=link.files
        )
    }
    locations = list(link.subset.patterns or link.subset.paths)
    if locations and not link.subset.exclude:  # OpenLineage has no condition for what is left out
        condition = {"type": "location", "locations": locations}
        found["subset"] = _facet(
            "InputSubsetInputDatasetFacet", "1-0-0", page="BaseSubsetDatasetFacet", inputCondition=condition
        )
    return _named(link, namespace, facets, inputFacets=found)


def _named(link: IndexedLink, namespace: str, facets: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"namespace": namespace, "name": link.dataset, "facets": facets, **more}


def _facet(kind: str, version: str, page: str = "", **values: Any) -> dict[str, Any]:
    if not version:
        schema = f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/{kind}"
    else:
        schema = f"{_SPEC}/facets/{version}/{page or kind}.json#/$defs/{kind}"
    return {"_producer": _PRODUCER, "_schemaURL": schema, **values}


def _time(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
