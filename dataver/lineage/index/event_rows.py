"""Conversion of events, records and tags to rows of the index.

The idea: each row is the *least upper bound* of the facts about it. Columns are merged separately by minimum
or maximum, or the greatest of several statements is used as a whole. Both are commutative, associative and
idempotent, so the rows depend only on the set of facts, not on order, duplicates or batches.

This is also true for malicious writers: two events with the same id are ordered by their content. Second
preimages of hashes are out of scope. Numbers of runs and versions are derived from content, too.

A rank started by `torchrun` without a tracker's run belongs to the run of its launch (`torchrun:…`). A
tracker's run of another rank has the launch as a context. If exactly one run has that context, the links of
the launch are assigned to it; if several have it, the assignment is ambiguous, and the launch keeps them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dataver.formats.canonical_json import format_time
from dataver.formats.event import link_id
from dataver.hashing.digest import CONTEXT_RUN, derived
from dataver.repository.records import Published

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from dataver.formats.event import Event, Link, RunFacts
    from dataver.formats.tombstone import Tombstone

__all__ = [
    "EventRows",
    "add_events",
    "add_tombstones",
    "add_versions",
    "assign_launches",
    "drop_versions",
    "forget_changes",
    "put_tags",
    "remove_orphans",
    "rows_of",
    "run_number",
    "version_number",
]

_RUN = """
INSERT INTO runs (id, key, started) VALUES (?, ?, ?)
ON CONFLICT (id) DO UPDATE SET key = excluded.key WHERE excluded.key < runs.key
"""

# the facts of a process are replaced as a whole; those of the same event id are ordered by content
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
    how = max(links.how, excluded.how)  -- what was only available, and then fetched or read, was used
"""

# The version of an output is the one with its write id, which is bound twice, else the one with its record.
# All other links are identified by their record, so their version never changes.
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
    message = excluded.message, files = excluded.files, size = excluded.size, deleted = NULL
"""

# row for a tombstone without a record; a known version keeps its values
_NAMED = """
INSERT INTO versions (id, record, dataset, label, tree) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET dataset = excluded.dataset, label = excluded.label, tree = excluded.tree
WHERE versions.tree IS NULL
"""
_SYSTEM: Final = "torchrun:"
_OWNERS: Final = """
SELECT c.run FROM contexts c JOIN runs r ON r.id = c.run
WHERE c.key = ? AND NOT (r.key >= 'torchrun:' AND r.key < 'torchrun;') LIMIT 2
"""
_ASSIGN: Final = "UPDATE links SET said = :launch, run = :owner WHERE run = :launch OR said = :launch"
_RELEASE: Final = "UPDATE links SET run = said, said = NULL WHERE said = :launch"
_PART_OF: Final = """
UPDATE runs SET part_of = coalesce((SELECT key FROM runs WHERE id = :owner),
    (SELECT part_of FROM processes WHERE run = :launch AND part_of IS NOT NULL
     ORDER BY started, process LIMIT 1))
WHERE id = :launch
"""


class EventRows(NamedTuple):
    """Rows of events, ready to be written."""

    runs: list[tuple[Any, ...]]
    processes: list[tuple[Any, ...]]
    contexts: list[tuple[Any, ...]]
    versions: list[tuple[Any, ...]]
    links: list[dict[str, Any]]


def rows_of(events: Sequence[Event]) -> EventRows:
    """Return the rows of events; without a database, so no lock is held."""
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
    named = [row for row in rows.links if row["role"] == "output" and row["named"] is not None]
    contested = _named_otherwise(db, named)
    db.executemany(_RUN, rows.runs)
    db.executemany(_PROCESS, rows.processes)
    db.executemany(_CONTEXT, rows.contexts)
    db.executemany(_STUB, rows.versions)
    db.executemany(_LINK, rows.links)
    _resolve(db, (row["write_id"] for row in rows.links if row["role"] == "output"))
    if contested or _named_otherwise(db, named):
        remove_orphans(db)
    db.executemany(_SUM_UP, [(number,) for number in sorted({row[0] for row in rows.runs})])
    assign_launches(db, [row[1] for row in (*rows.runs, *rows.contexts)])


def add_versions(db: sqlite3.Connection, versions: Iterable[Published]) -> None:
    """Write rows of records, inside a transaction."""
    for record, name in versions:
        number = version_number(name)
        row = db.execute("SELECT record FROM versions WHERE id = ? AND tree IS NOT NULL", [number]).fetchone()
        if row is not None and row[0] <= name:
            db.execute("UPDATE versions SET deleted = NULL WHERE id = ?", [number])
            continue  # known; or a forged collision of the number, of which the lesser record wins
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


def add_tombstones(db: sqlite3.Connection, tombstones: Iterable[Tombstone]) -> None:
    """Write rows of deleted versions, with the records in their tombstones, inside a transaction."""
    for each in tombstones:
        number = version_number(each.record)
        if each.was is not None:
            add_versions(db, [Published(each.was, each.record)])
        else:
            db.execute("INSERT OR IGNORE INTO datasets VALUES (?)", [each.dataset])
            db.execute(_NAMED, (number, each.record, each.dataset, each.label, each.tree.hex()))
        deleted = format_time(each.deleted, "a tombstone")
        db.execute("UPDATE versions SET deleted = ? WHERE id = ?", [deleted, number])


def drop_versions(db: sqlite3.Connection, numbers: Sequence[int]) -> None:
    """Delete the data of records that the repository no longer has; links to them are kept."""
    for number in numbers:
        (write_id,) = db.execute("SELECT write_id FROM versions WHERE id = ?", [number]).fetchone()
        db.execute("DELETE FROM parents WHERE version = ?", [number])
        db.execute(
            "UPDATE versions SET dataset = NULL, label = NULL, tree = NULL, write_id = NULL, created = NULL, "
            "author = NULL, message = NULL, files = NULL, size = NULL, deleted = NULL WHERE id = ?",
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
    """Delete the `changes` of these versions, so that they are made again; scans the whole table."""
    if not numbers:
        return
    db.execute("DELETE FROM changes WHERE version IN (SELECT value FROM json_each(?))", [json.dumps(numbers)])
    db.executemany(
        "UPDATE versions SET base = NULL, changed = 0, kept = NULL WHERE id = ?",
        [(each,) for each in numbers],
    )


def put_tags(db: sqlite3.Connection, tags: Iterable[tuple[str, str, str, int]]) -> None:
    """Write `(dataset, tag, record, number)` of tags that have not been removed, inside a transaction."""
    for dataset, tag, record, number in tags:
        version = version_number(record)
        db.execute("INSERT OR IGNORE INTO datasets VALUES (?)", [dataset])
        db.execute(_STUB, (version, record))
        db.execute("INSERT OR REPLACE INTO tags VALUES (?, ?, ?, ?)", (dataset, tag, version, number))


def remove_orphans(db: sqlite3.Connection) -> None:
    """Delete versions without a record that no row refers to, and datasets without versions."""
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


def _named_otherwise(db: sqlite3.Connection, links: Iterable[dict[str, Any]]) -> bool:
    """Return whether the index has one of these outputs with another record; the lesser one is used."""
    asked = "SELECT 1 FROM links WHERE id = :id AND named <> :named"
    return any(db.execute(asked, link).fetchone() is not None for link in links)


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


def run_number(key: str) -> int:
    """Return the number of a run in the index: 63 bits of a hash of its key."""
    return _number(derived(CONTEXT_RUN, key.encode("utf-8")))


def version_number(record: str) -> int:
    """Return the number of a version in the index: the first 63 bits of its record id (64 hex)."""
    return _number(bytes.fromhex(record))


def _number(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "big") >> 1


def assign_launches(db: sqlite3.Connection, keys: Iterable[str]) -> None:
    """Assign the links of launches to runs, inside a transaction.

    Args:
        db: the index.
        keys: keys of changed runs and contexts.
    """
    for key in sorted({each for each in keys if each.startswith(_SYSTEM)}):
        launch = db.execute("SELECT id FROM runs WHERE key = ?", [key]).fetchone()
        if launch is None:
            continue  # every rank has a run of its own
        owners = db.execute(_OWNERS, [key]).fetchall()
        values = {"launch": launch[0], "owner": owners[0][0] if len(owners) == 1 else None}
        db.execute(_RELEASE if values["owner"] is None else _ASSIGN, values)
        db.execute(_PART_OF, values)
