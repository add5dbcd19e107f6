"""What events, records and tags mean for the rows of the index.

The idea: each row is the *least upper bound* of what is said of it. Columns are joined one by one by minimum
or maximum, or the greatest of several statements holds as a whole; both are commutative, associative and
idempotent, so the rows follow from the set of what was said, whatever the order, doubling or batching.

Where a writer lies, that holds all the same: two events of one id are told apart by what they say, and what
would need a hash's second preimage is not defended against.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from dataver.formats.event import link_id
from dataver.formats.jsontext import format_time
from dataver.lineage.schema import run_number, version_number

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from dataver.formats.event import Event, Link, RunFacts
    from dataver.repository.records import Published

__all__ = [
    "EventRows",
    "add_events",
    "add_versions",
    "drop_versions",
    "forget_changes",
    "put_tags",
    "remove_orphans",
    "rows_of",
]

_RUN = """
INSERT INTO runs (id, key, started) VALUES (?, ?, ?)
ON CONFLICT (id) DO UPDATE SET key = excluded.key WHERE excluded.key < runs.key
"""

# what a process says is a whole; of one event id the statements are told apart by what they say
_PROCESS = """
INSERT INTO processes (run, process, sequence, event, name, started, ended, outcome, part_of, user, host,
    commit_id, facts)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (run, process) DO UPDATE SET sequence = excluded.sequence, event = excluded.event,
    name = excluded.name, started = excluded.started, ended = excluded.ended, outcome = excluded.outcome,
    part_of = excluded.part_of, user = excluded.user, host = excluded.host, commit_id = excluded.commit_id,
    facts = excluded.facts
WHERE (excluded.sequence, excluded.event, excluded.started, excluded.facts,
        excluded.name IS NOT NULL, ifnull(excluded.name, ''), ifnull(excluded.ended, ''),
        ifnull(excluded.outcome, ''), ifnull(excluded.part_of, ''))
    > (processes.sequence, processes.event, processes.started, processes.facts,
        processes.name IS NOT NULL, ifnull(processes.name, ''), ifnull(processes.ended, ''),
        ifnull(processes.outcome, ''), ifnull(processes.part_of, ''))
"""

_CONTEXT = """
INSERT INTO contexts (run, key, kind, facts, event) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (run, key) DO UPDATE SET kind = excluded.kind, facts = excluded.facts, event = excluded.event
WHERE (excluded.event, excluded.kind, excluded.facts) > (contexts.event, contexts.kind, contexts.facts)
"""

_STUB = """
INSERT INTO versions (id, record) VALUES (?, ?)
ON CONFLICT (id) DO UPDATE SET record = excluded.record
WHERE versions.tree IS NULL AND excluded.record < versions.record
"""

_LINK = """
INSERT INTO links (id, run, role, version, named, write_id, dataset, label, tree, subset, files, size, time,
    how, context)
VALUES (:id, :run, :role, :named, :named, :write_id, :dataset, :label, :tree, :subset, :files, :size, :time,
    :how, :context)
ON CONFLICT (id) DO UPDATE SET
    named = coalesce(min(links.named, excluded.named), links.named, excluded.named),
    write_id = coalesce(min(links.write_id, excluded.write_id), links.write_id, excluded.write_id),
    label = coalesce(min(links.label, excluded.label), links.label, excluded.label),
    files = max(links.files, excluded.files),
    size = max(links.size, excluded.size),
    time = min(links.time, excluded.time),
    how = min(links.how, excluded.how)
"""

# the version of an output is the one with its write id, else the one it names; the write id is given twice.
# (All other links are told apart by the record they name, so their version never changes.)
_RESOLVE = """
UPDATE links SET version = coalesce((SELECT min(id) FROM versions WHERE write_id = ?), named)
WHERE write_id = ? AND role = 'output'
"""

_SUM_UP = """
UPDATE runs SET (started, ended, outcome) = (
    SELECT min(started), CASE WHEN count(*) = count(ended) THEN max(ended) END,
        CASE WHEN sum(outcome IS 'failed') THEN 'failed'
             WHEN sum(outcome IS 'killed') THEN 'killed'
             WHEN sum(outcome IS 'finished') = count(*) THEN 'finished' END
    FROM processes WHERE run = runs.id),
name = (SELECT name FROM processes WHERE run = runs.id AND name IS NOT NULL
    ORDER BY started, process LIMIT 1),
user = (SELECT user FROM processes WHERE run = runs.id AND user IS NOT NULL
    ORDER BY started, process LIMIT 1),
host = (SELECT host FROM processes WHERE run = runs.id AND host IS NOT NULL
    ORDER BY started, process LIMIT 1),
commit_id = (SELECT commit_id FROM processes WHERE run = runs.id AND commit_id IS NOT NULL
    ORDER BY started, process LIMIT 1),
part_of = (SELECT part_of FROM processes WHERE run = runs.id AND part_of IS NOT NULL
    ORDER BY started, process LIMIT 1)
WHERE id = ?
"""

_VERSION = """
INSERT INTO versions (id, record, dataset, label, tree, write_id, created, author, message, files, size)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET record = excluded.record, dataset = excluded.dataset, label = excluded.label,
    tree = excluded.tree, write_id = excluded.write_id, created = excluded.created, author = excluded.author,
    message = excluded.message, files = excluded.files, size = excluded.size
"""


class EventRows(NamedTuple):
    """The rows that events ask for, ready to be written."""

    runs: list[tuple[Any, ...]]
    processes: list[tuple[Any, ...]]
    contexts: list[tuple[Any, ...]]
    versions: list[tuple[Any, ...]]
    links: list[dict[str, Any]]


def rows_of(events: Sequence[Event]) -> EventRows:
    """Return the rows of events; no database is needed for it, so no lock is held."""
    rows = EventRows([], [], [], [], [])
    stubs: set[str] = set()
    for event in events:
        run = event.run
        number = run_number(run.key)
        started = format_time(run.started, "a run")
        rows.runs.append((number, run.key, started))
        rows.processes.append(_process_row(number, started, event.id, run))
        rows.contexts.extend(
            (number, each.key, each.kind, _canonical(each.facts), event.id) for each in run.contexts
        )
        for link in event.links:
            if link.record is not None:
                stubs.add(link.record)
            rows.links.append(_link_row(number, run.key, link))
    rows.versions.extend((version_number(record), record) for record in sorted(stubs))
    return rows


def add_events(db: sqlite3.Connection, rows: EventRows) -> None:
    """Write rows of events, inside a transaction."""
    db.executemany(_RUN, rows.runs)
    db.executemany(_PROCESS, rows.processes)
    db.executemany(_CONTEXT, rows.contexts)
    db.executemany(_STUB, rows.versions)
    db.executemany(_LINK, rows.links)
    _resolve(db, (row["write_id"] for row in rows.links if row["role"] == "output"))
    db.executemany(_SUM_UP, [(number,) for number in sorted({row[0] for row in rows.runs})])


def add_versions(db: sqlite3.Connection, versions: Iterable[Published]) -> None:
    """Write rows of records, inside a transaction."""
    for record, name in versions:
        number = version_number(name)
        row = db.execute("SELECT record FROM versions WHERE id = ? AND tree IS NOT NULL", [number]).fetchone()
        if row is not None and row[0] <= name:
            continue  # it is known; or a hash was forged to look like it, and the lesser of both counts
        if row is not None:
            forget_changes(db, [number])
        parents = [(version_number(each.record), each.record) for each in record.parents]
        db.execute("INSERT OR IGNORE INTO datasets VALUES (?)", [record.dataset])
        db.execute(
            _VERSION,
            (
                number,
                name,
                record.dataset,
                record.label,
                record.tree.hex(),
                record.write_id,
                format_time(record.created, "a record"),
                record.author,
                record.message,
                record.files,
                record.size,
            ),
        )
        db.executemany(_STUB, parents)
        db.execute("DELETE FROM parents WHERE version = ?", [number])
        db.executemany(
            "INSERT INTO parents VALUES (?, ?, ?)",
            [(number, position, parent) for position, (parent, _) in enumerate(parents)],
        )
        _resolve(db, [record.write_id])


def drop_versions(db: sqlite3.Connection, numbers: Sequence[int]) -> None:
    """Forget records that the repository no longer holds; what others say of them stays."""
    for number in numbers:
        (write_id,) = db.execute("SELECT write_id FROM versions WHERE id = ?", [number]).fetchone()
        db.execute("DELETE FROM parents WHERE version = ?", [number])
        db.execute(
            "UPDATE versions SET dataset = NULL, label = NULL, tree = NULL, write_id = NULL, created = NULL, "
            "author = NULL, message = NULL, files = NULL, size = NULL WHERE id = ?",
            [number],
        )
        _resolve(db, [write_id])
    stale = [row[0] for row in db.execute("SELECT id FROM versions WHERE changed AND tree IS NULL")]
    stale += [
        row[0]
        for row in db.execute(
            "SELECT id FROM versions WHERE changed AND base IN (SELECT id FROM versions WHERE tree IS NULL)"
        )
    ]
    forget_changes(db, stale)
    remove_orphans(db)


def forget_changes(db: sqlite3.Connection, numbers: Sequence[int]) -> None:
    """Remove the rows of `changes` of these versions, so that they are made again; reads all of the table."""
    if not numbers:
        return
    db.execute("DELETE FROM changes WHERE version IN (SELECT value FROM json_each(?))", [json.dumps(numbers)])
    db.executemany(
        "UPDATE versions SET base = NULL, changed = 0, kept = NULL WHERE id = ?",
        [(each,) for each in numbers],
    )


def put_tags(db: sqlite3.Connection, tags: Iterable[tuple[str, str, str, int]]) -> None:
    """Write `(dataset, tag, record, number)` of tags that point somewhere, inside a transaction."""
    for dataset, tag, record, number in tags:
        version = version_number(record)
        db.execute("INSERT OR IGNORE INTO datasets VALUES (?)", [dataset])
        db.execute(_STUB, (version, record))
        db.execute("INSERT OR REPLACE INTO tags VALUES (?, ?, ?, ?)", (dataset, tag, version, number))


def remove_orphans(db: sqlite3.Connection) -> None:
    """Remove versions that are only names which nobody says any more, and datasets without any version."""
    db.execute(
        """DELETE FROM versions WHERE tree IS NULL
        AND id NOT IN (SELECT version FROM links WHERE version IS NOT NULL)
        AND id NOT IN (SELECT named FROM links WHERE named IS NOT NULL)
        AND id NOT IN (SELECT parent FROM parents) AND id NOT IN (SELECT version FROM tags)"""
    )
    db.execute(
        """DELETE FROM datasets WHERE name NOT IN (SELECT dataset FROM versions WHERE dataset IS NOT NULL)
        AND name NOT IN (SELECT dataset FROM tags)"""
    )


def _resolve(db: sqlite3.Connection, write_ids: Iterable[str | None]) -> None:
    db.executemany(_RESOLVE, [(each, each) for each in sorted({each for each in write_ids if each})])


def _process_row(number: int, started: str, event_id: str, run: RunFacts) -> tuple[Any, ...]:
    git = run.facts.get("git")
    commit = git.get("commit") if isinstance(git, dict) else None
    return (
        number,
        run.process,
        run.sequence,
        event_id,
        run.name,
        started,
        None if run.ended is None else format_time(run.ended, "a run"),
        run.outcome,
        run.part_of,
        _text(run.facts.get("user")),
        _text(run.facts.get("host")),
        _text(commit),
        _canonical(run.facts),
    )


def _link_row(number: int, run_key: str, link: Link) -> dict[str, Any]:
    return {
        "id": link_id(run_key, link),
        "run": number,
        "role": link.role,
        "named": None if link.record is None else version_number(link.record),
        "write_id": link.write_id,
        "dataset": link.dataset,
        "label": link.label,
        "tree": link.tree,
        "subset": _canonical(link.subset.values()),
        "files": link.files,
        "size": link.size,
        "time": format_time(link.time, "a link"),
        "how": link.how,
        "context": link.context,
    }


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _canonical(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
