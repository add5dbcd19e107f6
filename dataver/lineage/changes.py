"""What each version changes against its base: the rows by which content is found under any name.

The idea: a version's rows are the difference to its first parent whose own rows are complete, or, without
one, all of its files. So the table grows with what changed, and follows from the repository: parents are done
before their children, and a version whose base turns out to be another one is done again.

Reads trees, whose blocks are checked by their digests (invariant 1). A tree that cannot be read leaves its
version without rows, is named, and its children count from another base.
"""

from __future__ import annotations

import contextlib
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dataver.errors import FormatTooNew, IntegrityError
from dataver.formats.entry import Kind
from dataver.lineage.applying import forget_changes
from dataver.progress import SILENT
from dataver.tree import diff

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator

    from dataver.lineage.index import LineageIndex
    from dataver.progress import Progress
    from dataver.repository import Repository

__all__ = ["CONTENT_SIZE", "fill_changes"]

CONTENT_SIZE: Final = 16  # bytes of a file's digest that the index keeps

_BATCH: Final = 20_000  # rows gathered in Python at a time
_FILES: Final = (Kind.FILE, Kind.EXECUTABLE)
_STAGE: Final = "CREATE TEMP TABLE IF NOT EXISTS filling (content BLOB, path TEXT, kind INTEGER)"
# in the order of the key: neighbours are written together, which a table larger than the cache needs
_TAKE: Final = (
    "INSERT INTO changes SELECT content, ?, path, kind FROM temp.filling ORDER BY content, path, kind"
)

_KEPT: Final = """
UPDATE versions SET kept = (SELECT files FROM versions WHERE id = ?) - (SELECT count(*) FROM temp.filling
    WHERE kind = 0 AND content NOT IN (SELECT content FROM temp.filling WHERE kind = 1))
WHERE id = ?
"""


class _UnreadableError(Exception):
    """A tree is missing or damaged; the index is not."""


class _Version(NamedTuple):
    name: str
    tree: bytes
    base: int | None
    changed: bool
    parents: list[int]


def fill_changes(
    repo: Repository,
    index: LineageIndex,
    versions: Iterable[int] | None = None,
    *,
    progress: Progress = SILENT,
) -> list[tuple[str, str]]:
    """Complete the rows of `changes`; return `(dataset@label, reason)` of versions that cannot be read.

    Args:
        repo: where the trees are.
        index: an index that knows the versions (`pull`).
        versions: numbers of the versions wanted, whose ancestors are done with them; None means all.
        progress: told of versions.

    Raises:
        StoreError: the store cannot be reached, or the index not be written; what is done stays.
    """
    known = _versions(index)
    order = _parents_first(known, known if versions is None else versions)
    problems: list[tuple[str, str]] = []
    progress.start(len(order), 0)
    done: set[int] = set()
    for number in order:
        version = known[number]
        bases = [parent for parent in version.parents if parent in done]
        if version.changed and version.base == (bases[0] if bases else None):
            done.add(number)
        else:
            problem = _fill(repo, index, number, known, bases)
            if problem is None:
                done.add(number)
            else:
                problems.append((version.name, problem))
        progress.advance(1, 0)
    return problems


def _versions(index: LineageIndex) -> dict[int, _Version]:
    with index.asking() as db:
        parents: dict[int, list[int]] = {}
        for version, parent in db.execute("SELECT version, parent FROM parents ORDER BY version, position"):
            parents.setdefault(version, []).append(parent)
        rows = db.execute(
            "SELECT id, dataset, label, tree, base, changed FROM versions WHERE tree IS NOT NULL ORDER BY id"
        )
        return {
            number: _Version(
                f"{dataset}@{label}", bytes.fromhex(tree), base, bool(changed), parents.get(number, [])
            )
            for number, dataset, label, tree, base, changed in rows
        }


def _parents_first(known: dict[int, _Version], wanted: Iterable[int]) -> list[int]:
    """Return the wanted versions and all their ancestors, each behind its parents."""
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
    repo: Repository, index: LineageIndex, number: int, known: dict[int, _Version], bases: list[int]
) -> str | None:
    """Write the rows of one version; return what is wrong with its tree, or None."""
    problem = ""
    for base in (*bases, None):
        before = None if base is None else known[base].tree
        try:
            with index.asking() as db:
                _stage(db, _rows(repo, known[number].tree, before))
        except _UnreadableError as error:
            problem = str(error)
            continue
        with index.writing() as db:
            _take(db, number, base)
        return None
    return problem


def _rows(repo: Repository, tree: bytes, before: bytes | None) -> Iterator[tuple[bytes, str, int]]:
    try:
        yield from _changed(repo, tree, before)
    except (IntegrityError, FormatTooNew) as error:
        raise _UnreadableError(error.message) from error


def _changed(repo: Repository, tree: bytes, before: bytes | None) -> Iterator[tuple[bytes, str, int]]:
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
    """Put rows aside, where they lock nobody out and need no memory."""
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


def _take(db: sqlite3.Connection, number: int, base: int | None) -> None:
    row: Any = db.execute("SELECT changed, base, tree FROM versions WHERE id = ?", [number]).fetchone()
    if row is None or row[2] is None or (row[0] and row[1] == base):
        return  # it was forgotten meanwhile, or another process was quicker
    if row[0]:
        forget_changes(db, [number])
    db.execute(_TAKE, [number])
    db.execute("UPDATE versions SET changed = 1, base = ? WHERE id = ?", [base, number])
    if base is not None:
        db.execute(_KEPT, [base, number])
    db.execute("DELETE FROM temp.filling")
