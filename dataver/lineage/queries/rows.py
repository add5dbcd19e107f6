"""Conversion of rows to values, in batches: the last step of every query."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dataver.formats.event import Context, Subset
from dataver.lineage.queries.results import IndexedLink, IndexedRun, IndexedVersion

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

__all__ = ["LINK_COLUMNS", "link_of", "links_where", "runs_of", "versions_of"]

LINK_COLUMNS = """l.role, r.key, l.run, l.version, l.dataset, l.label, v.record, l.tree, l.subset, l.files,
    l.size, l.time, l.how, l.context, v.dataset, v.label"""


def versions_of(db: sqlite3.Connection, numbers: Iterable[int]) -> dict[int, IndexedVersion]:
    """Return versions by their number; one without a record gets the name in a link."""
    found = {}
    rows = db.execute(
        """SELECT id, record, dataset, label, tree, created, message, files, size, deleted FROM versions
        WHERE id IN (SELECT value FROM json_each(?))""",
        [_listed(numbers)],
    )
    for number, record, dataset, label, tree, created, message, files, size, deleted in rows:
        found[number] = IndexedVersion(
            row=number,
            record=record,
            dataset=dataset,
            label=label,
            tree=tree,
            created=_time(created),
            message=message or "",
            files=files or 0,
            size=size or 0,
            deleted=_time(deleted),
        )
    return {
        number: version if version.dataset else _named_by_link(db, version)
        for number, version in found.items()
    }


def _named_by_link(db: sqlite3.Connection, version: IndexedVersion) -> IndexedVersion:
    row = db.execute(
        "SELECT dataset, label, tree FROM links WHERE version = ? ORDER BY time, id LIMIT 1", [version.row]
    ).fetchone()
    if row is None:
        return version
    return IndexedVersion(row=version.row, record=version.record, dataset=row[0], label=row[1], tree=row[2])


def runs_of(db: sqlite3.Connection, numbers: Iterable[int]) -> dict[int, IndexedRun]:
    """Return runs by their number, with their contexts: its own first, then trackers."""
    wanted = _listed(numbers)
    contexts: defaultdict[int, list[Context]] = defaultdict(list)
    rows = db.execute(
        "SELECT run, key, kind, facts FROM contexts WHERE run IN (SELECT value FROM json_each(?))", [wanted]
    )
    for number, key, kind, facts in rows:
        system, _, native = key.partition(":")
        contexts[number].append(Context(system=system, id=native, kind=kind, facts=json.loads(facts)))
    found: dict[int, IndexedRun] = {}
    rows = db.execute(
        """SELECT id, key, name, started, ended, outcome, user, host, commit_id, part_of FROM runs
        WHERE id IN (SELECT value FROM json_each(?))""",
        [wanted],
    )
    for number, key, name, started, ended, outcome, user, host, commit, part_of in rows:
        ranked = sorted(
            (each.key != key, each.kind != "tracker", each.key, each) for each in contexts[number]
        )
        found[number] = IndexedRun(
            row=number,
            key=key,
            name=name,
            started=datetime.fromisoformat(started),
            ended=_time(ended),
            outcome=outcome,
            user=user,
            host=host,
            commit=commit,
            part_of=part_of,
            contexts=tuple(each for *_, each in ranked),
        )
    return found


def links_where(db: sqlite3.Connection, condition: str, values: Sequence[Any]) -> list[IndexedLink]:
    """Return links, oldest first; `condition` is a constant of the caller, the values are bound."""
    rows = db.execute(
        f"SELECT {LINK_COLUMNS} FROM links l JOIN runs r ON r.id = l.run"  # noqa: S608
        f" LEFT JOIN versions v ON v.id = l.version WHERE {condition} ORDER BY l.time, l.id",
        values,
    )
    return [link_of(row) for row in rows]


def link_of(row: Sequence[Any]) -> IndexedLink:
    """Return the link of a row of `LINK_COLUMNS`; names are from the record, if it is known."""
    (
        role,
        key,
        run,
        version,
        dataset,
        label,
        record,
        tree,
        subset,
        files,
        size,
        time,
        how,
        context,
        name,
        named,
    ) = row
    return IndexedLink(
        role=role,
        run=key,
        dataset=name or dataset,
        label=named or label,
        record=record,
        tree=tree,
        subset=Subset.of(json.loads(subset)),
        files=files,
        size=size,
        time=datetime.fromisoformat(time),
        how=how,
        context=context,
        run_row=run,
        version_row=version,
    )


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _listed(numbers: Iterable[int]) -> str:
    """Return numbers as one JSON value, so that a query of any size binds one parameter."""
    return json.dumps(list(dict.fromkeys(numbers)))
