"""All lineage as OpenLineage run events, one JSON value each (openlineage.io, specification 2-0-2).

A run is two events: START, and COMPLETE, FAIL or ABORT with everything it consumed and produced; one that
goes on has RUNNING instead. A dataset is named in the repository's namespace and carries the exact version,
which consumers must not replace by "the latest". Run ids are UUIDs, as the specification asks, made from run
keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

from dataver._about import __version__
from dataver.lineage.questions.reading import links_where, runs_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from datetime import datetime

    from dataver.lineage.questions.answers import Link, Run

__all__ = ["openlineage_events"]

_PRODUCER = f"https://pypi.org/project/dataver/{__version__}"
_SPEC = "https://openlineage.io/spec"
_TYPES = {"finished": "COMPLETE", "failed": "FAIL", "killed": "ABORT", None: "COMPLETE"}
_BATCH = 500  # runs in memory at a time


def openlineage_events(db: sqlite3.Connection, repository_url: str) -> Iterator[dict[str, Any]]:
    """Yield the events of all runs, in the order of their start."""
    after = ("", -1)
    while rows := db.execute(
        "SELECT started, id FROM runs WHERE (started, id) > (?, ?) ORDER BY started, id LIMIT ?",
        [*after, _BATCH],
    ).fetchall():
        after = rows[-1]
        runs = runs_of(db, [number for _, number in rows])
        for _, number in rows:
            yield from _of_run(runs[number], links_where(db, "l.run = ?", [number]), repository_url)


def _of_run(run: Run, links: list[Link], namespace: str) -> Iterator[dict[str, Any]]:
    values: dict[str, Any] = {
        "producer": _PRODUCER,
        "schemaURL": f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "run": {"runId": str(uuid5(NAMESPACE_URL, f"dataver:run:{run.key}")), "facets": _run_facets(run)},
        "job": {"namespace": run.key.partition(":")[0], "name": run.name or run.key, "facets": {}},
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


def _run_facets(run: Run) -> dict[str, Any]:
    tags = [{"key": each.system, "value": each.id, "source": "dataver"} for each in run.contexts]
    tags += [
        {"key": name, "value": value, "source": "dataver"}
        for name, value in (("user", run.user), ("host", run.host), ("commit", run.commit))
        if value
    ]
    return {"tags": _facet("TagsRunFacet", "1-0-0", tags=tags)} if tags else {}


def _dataset(link: Link, namespace: str) -> dict[str, Any]:
    facets = {
        "version": _facet("DatasetVersionDatasetFacet", "1-0-1", datasetVersion=link.label or link.digest),
        "dataver": {
            **_facet("BaseFacet", "", digest=link.digest, record=link.record, subset=link.subset.values())
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
    if locations:
        condition = {"type": "location", "locations": locations}
        found["subset"] = _facet(
            "InputSubsetInputDatasetFacet", "1-0-0", page="BaseSubsetDatasetFacet", inputCondition=condition
        )
    return _named(link, namespace, facets, inputFacets=found)


def _named(link: Link, namespace: str, facets: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"namespace": namespace, "name": link.dataset, "facets": facets, **more}


def _facet(kind: str, version: str, page: str = "", **values: Any) -> dict[str, Any]:
    if not version:
        schema = f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/{kind}"
    else:
        schema = f"{_SPEC}/facets/{version}/{page or kind}.json#/$defs/{kind}"
    return {"_producer": _PRODUCER, "_schemaURL": schema, **values}


def _time(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
