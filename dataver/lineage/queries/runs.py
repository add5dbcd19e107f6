"""Queries of one run with its inputs and outputs, and of lists of runs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataver.arguments import check_word
from dataver.errors import NotFound
from dataver.formats.canonical_json import format_time
from dataver.formats.event import OUTCOMES
from dataver.lineage.queries.resolve import find_run, find_version
from dataver.lineage.queries.results import IndexedRun, RunAnswer
from dataver.lineage.queries.rows import links_where, runs_of

if TYPE_CHECKING:
    import sqlite3
    from datetime import datetime

__all__ = ["RunFilter", "describe_run", "list_runs"]

_OUTCOMES = (*OUTCOMES, "open")
_MANY = 2_000
_FOUND = """(
    instr(lower(r.name), lower(?))
    OR instr(r.key, ?) = 1 OR instr(substr(r.key, instr(r.key, ':') + 1), ?) = 1
    OR EXISTS (SELECT 1 FROM contexts c WHERE c.run = r.id
        AND (instr(c.key, ?) = 1 OR instr(substr(c.key, instr(c.key, ':') + 1), ?) = 1)))"""
_DATASET = "SELECT 1 FROM datasets WHERE name = ? UNION ALL SELECT 1 FROM links WHERE dataset = ? LIMIT 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Filter of listed runs; an attribute that is None matches all runs.

    Attributes:
        version: runs linked to this version, or without a selector to any version of the dataset.
        system: runs of this system, such as `mlflow` or `slurm`, or of one context, such as `slurm:17`.
        name: text in the run's name.
        find: text in the run's name, or the beginning of its key or id or of those of its contexts.
        user: the user who started it.
        host: its machine.
        commit: the start of a git commit.
        outcome: `finished`, `failed`, `killed`, or `open` for a run that has not ended.
        since: started at this time or later.
        until: started before this time.
        everything: also list runs whose links were assigned to another run.

    Raises:
        InvalidInput: there is no such outcome.
    """

    version: str | None = None
    system: str | None = None
    name: str | None = None
    find: str | None = None
    user: str | None = None
    host: str | None = None
    commit: str | None = None
    outcome: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    everything: bool = False

    def __post_init__(self) -> None:
        check_word("outcome", self.outcome, _OUTCOMES)


def describe_run(db: sqlite3.Connection, text: str) -> RunAnswer:
    """Return a run with its inputs and outputs.

    Raises:
        NotFound: no such run.
        InvalidInput: `text` matches several runs.
    """
    number, context = find_run(db, text)
    condition, values = "l.run = ?", [number]
    if context is not None:  # a tracker's run inside a run: links from the time it was active
        links = links_where(db, "l.run = ? AND (l.context IS NULL OR l.context = ?)", [number, context])
    else:
        links = links_where(db, condition, values)
    rows = db.execute(
        "SELECT facts FROM processes WHERE run = ? ORDER BY started, process", [number]
    ).fetchall()
    return RunAnswer(
        run=runs_of(db, [number])[number],
        inputs=[link for link in links if link.role == "input"],
        outputs=[link for link in links if link.role == "output"],
        facts=json.loads(rows[0][0]) if rows else {},
        processes=len(rows),
    )


def list_runs(db: sqlite3.Connection, chosen: RunFilter, limit: int | None = None) -> list[IndexedRun]:
    """Return runs, latest first.

    Raises:
        NotFound: the filter's version or dataset does not exist.
    """
    conditions, values = _conditions(db, chosen)
    where = " AND ".join(conditions) or "TRUE"
    rows = db.execute(
        f"SELECT r.id FROM runs r WHERE {where} ORDER BY r.started DESC, r.id LIMIT ?",  # noqa: S608
        [*values, -1 if limit is None else limit],
    )
    numbers = [number for (number,) in rows]
    found = runs_of(db, numbers)
    return [found[number] for number in numbers]


def _conditions(db: sqlite3.Connection, chosen: RunFilter) -> tuple[list[str], list[object]]:
    """Return conditions on `runs r`, all of them constant strings, and the values to bind."""
    found: list[tuple[str, list[object]]] = []
    if not chosen.everything:
        found.append(("r.part_of IS NULL", []))
    if chosen.version is not None:
        found.append(_of_version(db, chosen.version))
    if chosen.system is not None:
        found.append(_of_system(chosen.system))
    if chosen.name is not None:
        found.append(("instr(lower(r.name), lower(?))", [chosen.name]))
    if chosen.find is not None:
        found.append((_FOUND, [chosen.find] * 5))
    if chosen.commit is not None:
        found.append(("substr(r.commit_id, 1, length(?)) = ?", [chosen.commit, chosen.commit]))
    if chosen.outcome is not None:
        is_open = chosen.outcome == "open"
        found.append(("r.ended IS NULL", []) if is_open else ("r.outcome = ?", [chosen.outcome]))
    for condition, value in (("r.user = ?", chosen.user), ("r.host = ?", chosen.host)):
        if value is not None:
            found.append((condition, [value]))
    for condition, moment in (("r.started >= ?", chosen.since), ("r.started < ?", chosen.until)):
        if moment is not None:
            found.append((condition, [format_time(moment, "the time")]))
    return [condition for condition, _ in found], [value for _, values in found for value in values]


def _of_system(system: str) -> tuple[str, list[object]]:
    """Return the condition for a whole system, with many runs, or for one context, with few."""
    start = system if ":" in system else f"{system}:"
    ends: list[object] = [start, start + "\U0010ffff"]
    if ":" in system:
        return (
            "(r.key BETWEEN ? AND ? OR r.id IN (SELECT run FROM contexts WHERE key BETWEEN ? AND ?))",
            ends * 2,
        )
    condition = "EXISTS (SELECT 1 FROM contexts c WHERE c.run = r.id AND c.key BETWEEN ? AND ?)"
    return f"(r.key BETWEEN ? AND ? OR {condition})", ends * 2


def _of_version(db: sqlite3.Connection, ref: str) -> tuple[str, list[object]]:
    if "@" in ref or ref.startswith("dv1:"):
        return "r.id IN (SELECT run FROM links WHERE version = ?)", [find_version(db, ref)]
    if not db.execute(_DATASET, [ref, ref]).fetchone():
        raise NotFound(
            f"there is no dataset '{ref}' in the lineage.",
            hint="list the datasets with `dataver list`; fetch the newest with `dataver lineage sync`",
        )
    linked = "links WHERE version IN (SELECT id FROM versions WHERE dataset = ?)"
    (many,) = db.execute(f"SELECT count(*) FROM (SELECT 1 FROM {linked} LIMIT {_MANY})", [ref]).fetchone()  # noqa: S608
    if many < _MANY:
        return (
            f"""r.id IN (SELECT run FROM {linked}
            UNION SELECT run FROM links WHERE version IS NULL AND dataset = ?)""",  # noqa: S608
            [ref, ref],
        )
    # with so many links it is fast to test the latest runs one by one
    condition = "SELECT 1 FROM links l LEFT JOIN versions v ON v.id = l.version WHERE l.run = r.id"
    return f"EXISTS ({condition} AND coalesce(v.dataset, l.dataset) = ?)", [ref]
