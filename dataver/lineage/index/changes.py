"""Changes of each version relative to its base: the rows by which content is found under any name.

The idea: a version's rows are the difference to its first parent with complete rows, or, without one, all of
its files. So the size of the table is proportional to the changes, and it is derived from the repository
alone: parents are processed before their children, and a version whose base changes is processed again. A
deleted version keeps its rows; if it has none, they are made while its tree exists.

Reads trees, whose blocks are compared with their digests (invariant 1). A version with an unreadable tree is
reported and has no rows, and its children use another base.
"""

from __future__ import annotations

import contextlib
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dataver.errors import FormatTooNew, IntegrityError, message_of
from dataver.formats.entry import Kind
from dataver.lineage.index.event_rows import forget_changes
from dataver.progress import SILENT
from dataver.tree import diff

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator

    from dataver.lineage.index.index import LineageIndex
    from dataver.progress import Progress
    from dataver.repository import RepositoryCore

__all__ = ["CONTENT_SIZE", "fill_changes"]

CONTENT_SIZE: Final = 16  # bytes of a file's digest in the index

_GONE: Final = "trees/"  # prefix of keys in `seen` for missing trees of deleted versions
_BATCH: Final = 20_000  # rows in Python at a time
_FILES: Final = (Kind.FILE, Kind.EXECUTABLE)
_STAGE: Final = "CREATE TEMP TABLE IF NOT EXISTS filling (content BLOB, path TEXT, kind INTEGER)"
# in key order: adjacent rows are written together, which is faster for a table larger than the cache
_TAKE: Final = (
    "INSERT INTO changes SELECT content, ?, path, kind FROM temp.filling ORDER BY content, path, kind"
)

_KEPT: Final = """
UPDATE versions SET kept = (SELECT files FROM versions WHERE id = ?) - (SELECT count(*) FROM temp.filling
    WHERE kind = 0 AND content NOT IN (SELECT content FROM temp.filling WHERE kind = 1))
WHERE id = ?
"""


class _UnreadableError(Exception):
    """A tree is missing or damaged, as opposed to the index."""


class _Version(NamedTuple):
    name: str
    tree: bytes
    base: int | None
    changed: bool
    deleted: bool
    parents: list[int]


def fill_changes(
    repo: RepositoryCore,
    index: LineageIndex,
    versions: Iterable[int] | None = None,
    *,
    progress: Progress = SILENT,
) -> list[tuple[str, str]]:
    """Complete the rows of `changes`; return `(dataset@label, reason)` of versions that are unreadable.

    Args:
        repo: the repository of the trees.
        index: an index with the versions (see `pull`).
        versions: numbers of versions to process with their ancestors; None means all.
        progress: receives versions.

    Raises:
        StoreError: the store cannot be reached, or the index not be written; completed versions are kept.
    """
    known = _versions(index)
    order = _parents_first(known, known if versions is None else versions)
    problems: list[tuple[str, str]] = []
    progress.start(len(order), 0)
    done: set[int] = set()
    gone = _trees_gone(index) - {each.tree for each in known.values() if not each.deleted}
    for number in order:
        version = known[number]
        bases = [parent for parent in version.parents if parent in done]
        if version.changed and version.base == (bases[0] if bases else None):
            done.add(number)
        elif version.tree not in gone:
            problem = _fill(repo, index, number, known, bases)
            if problem is None:
                done.add(number)
            elif version.deleted:
                _record_missing(index, version.tree)
            else:
                problems.append((version.name, problem))
        progress.advance(1, 0)
    return problems


def _trees_gone(index: LineageIndex) -> set[bytes]:
    """Return the trees of deleted versions that an earlier call found missing."""
    with index.asking() as db:
        rows = db.execute("SELECT key FROM seen WHERE key > ? AND key < ?", [_GONE, _GONE + "g"])
        return {bytes.fromhex(key.removeprefix(_GONE)) for (key,) in rows}


def _record_missing(index: LineageIndex, tree: bytes) -> None:
    with index.writing() as db:
        db.execute("INSERT OR IGNORE INTO seen VALUES (?, NULL)", [_GONE + tree.hex()])


def _versions(index: LineageIndex) -> dict[int, _Version]:
    with index.asking() as db:
        parents: dict[int, list[int]] = {}
        for version, parent in db.execute("SELECT version, parent FROM parents ORDER BY version, position"):
            parents.setdefault(version, []).append(parent)
        rows = db.execute(
            "SELECT id, dataset, label, tree, base, changed, deleted FROM versions "
            "WHERE tree IS NOT NULL ORDER BY id"
        )
        return {
            number: _Version(
                f"{dataset}@{label}",
                bytes.fromhex(tree),
                base,
                bool(changed),
                deleted is not None,
                parents.get(number, []),
            )
            for number, dataset, label, tree, base, changed, deleted in rows
        }


def _parents_first(known: dict[int, _Version], wanted: Iterable[int]) -> list[int]:
    """Return the wanted versions and all their ancestors, each after its parents."""
    order: dict[int, None] = {}
    entered: set[int] = set()
    for start in wanted:
        waiting = [start]
        while waiting:
            number = waiting[-1]
            if number in entered or number not in known:
                waiting.pop()
                if number in known:
                    order.setdefault(number)
                continue
            entered.add(number)
            waiting += [parent for parent in reversed(known[number].parents) if parent not in entered]
    return list(order)


def _fill(
    repo: RepositoryCore, index: LineageIndex, number: int, known: dict[int, _Version], bases: list[int]
) -> str | None:
    """Write the rows of one version; return the error of its tree, or None."""
    problem = ""
    for base in (*bases, None):
        before = None if base is None else known[base].tree
        try:
            with index.asking() as db:
                _stage(db, _rows(repo, known[number].tree, before))
        except _UnreadableError as error:
            problem = message_of(error)
            continue
        with index.writing() as db:
            _write_changes(db, number, base)
        return None
    return problem


def _rows(repo: RepositoryCore, tree: bytes, before: bytes | None) -> Iterator[tuple[bytes, str, int]]:
    try:
        yield from _changed(repo, tree, before)
    except (IntegrityError, FormatTooNew) as error:
        raise _UnreadableError(error.message) from error


def _changed(repo: RepositoryCore, tree: bytes, before: bytes | None) -> Iterator[tuple[bytes, str, int]]:
    load = repo.blocks.load
    if before is None:
        for leaf in repo.tree(tree).leaves():
            for row, kind in enumerate(leaf.kinds):
                if kind in _FILES:
                    yield leaf.file_digest(row)[:CONTENT_SIZE], leaf.paths[row], 1
        return
    for path, old, new in diff(before, tree, load, extents=False):
        gone = old.digest[:CONTENT_SIZE] if old is not None else b""
        come = new.digest[:CONTENT_SIZE] if new is not None else b""
        if gone != come:
            if gone:
                yield gone, path, 0
            if come:
                yield come, path, 1


def _stage(db: sqlite3.Connection, rows: Iterator[tuple[bytes, str, int]]) -> None:
    """Write rows to a temporary table, without a lock on the index and without memory for them."""
    db.execute(_STAGE)
    db.execute("BEGIN")
    try:
        db.execute("DELETE FROM temp.filling")
        while some := list(islice(rows, _BATCH)):
            db.executemany("INSERT INTO temp.filling VALUES (?, ?, ?)", some)
        db.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(Exception):
            db.execute("ROLLBACK")
        raise


def _write_changes(db: sqlite3.Connection, number: int, base: int | None) -> None:
    row: Any = db.execute("SELECT changed, base, tree FROM versions WHERE id = ?", [number]).fetchone()
    if row is None or row[2] is None or (row[0] and row[1] == base):
        return  # it was dropped meanwhile, or another process has written the rows
    if row[0]:
        forget_changes(db, [number])
    db.execute(_TAKE, [number])
    db.execute("UPDATE versions SET changed = 1, base = ? WHERE id = ?", [base, number])
    if base is not None:
        db.execute(_KEPT, [base, number])
    db.execute("DELETE FROM temp.filling")
