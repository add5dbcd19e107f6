"""The texts of versions and datasets in the local index, brought up to date from the repository.

    texts    a row for each living version and each described dataset: names, message, description, readme
    paths    one row for each distinct path of a file, in any number of versions
    columns  one row for each distinct table that has a profile: the names of its columns

The idea: the index of lineage already has the versions and, in `changes`, their paths; these tables add what
people write, and the full-text indexes over both (`dataver.lineage.index.schema`). A row is made again if its
description has another stamp in the listing. So an update reads only new objects, and the tables can be
deleted (invariant 5).
"""

from __future__ import annotations

import json
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dataver import parallel
from dataver.errors import DataverError, IntegrityError, StoreError
from dataver.formats.profile import decode_profile
from dataver.lineage.index.changes import CONTENT_SIZE, fill_changes
from dataver.log import info as log_info
from dataver.repository.descriptions import find_readme, undescribed
from dataver.repository.layout import DESCRIPTIONS, parse_description_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dataver.formats.description import Description
    from dataver.formats.profile import Lines
    from dataver.lineage.index.index import LineageIndex
    from dataver.progress import Progress
    from dataver.repository import RepositoryCore
    from dataver.repository.records import Published

# Imports in functions: few versions have a readme to index.

__all__ = ["refresh_columns", "refresh_paths", "refresh_texts"]

_BATCH: Final = 200  # rows a transaction

_PUT: Final = """
INSERT OR REPLACE INTO texts
    (ref, dataset, label, version, stamp, message, text, license, owner, readme, metadata)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_VERSIONS: Final = "SELECT id, dataset, label FROM versions WHERE tree IS NOT NULL AND deleted IS NULL"
_NEW_PATHS: Final = """
INSERT OR IGNORE INTO paths (path) SELECT path FROM changes WHERE kind = 1 AND version IN
    (SELECT id FROM versions WHERE changed AND id NOT IN (SELECT version FROM listed))
"""
_UNLISTED: Final = "SELECT 1 FROM versions WHERE changed AND id NOT IN (SELECT version FROM listed) LIMIT 1"
_LISTED: Final = "INSERT OR IGNORE INTO listed SELECT id FROM versions WHERE changed"


class _Subject(NamedTuple):
    """A version or, without a label, a dataset; and the number and stamp of its current description."""

    dataset: str
    label: str | None
    version: int | None
    number: int
    stamp: str

    @property
    def ref(self) -> str:
        return self.dataset if self.label is None else f"{self.dataset}@{self.label}"


def refresh_texts(repo: RepositoryCore, index: LineageIndex, progress: Progress) -> None:
    """Update the texts of an index whose versions are up to date; unreadable versions are left out.

    Raises:
        StoreError: the store cannot be reached, or the index not be written; completed rows are kept.
    """
    subjects = {each.ref: each for each in _subjects(repo, index)}
    with index.asking() as db:
        known = {
            ref: (version, stamp)
            for ref, version, stamp in db.execute("SELECT ref, version, stamp FROM texts")
        }
    fresh = [each for each in subjects.values() if known.get(each.ref) != (each.version, each.stamp)]
    progress.start(len(fresh), 0)

    def read(subject: _Subject) -> tuple[object, ...] | None:
        try:
            return _row(repo, subject)
        except DataverError as error:  # it was deleted meanwhile, or is damaged
            log_info("%s is not searched: %s", subject.ref, error.message)
            return None

    width = parallel.REQUESTS if repo.store.local_root is None else 1
    with parallel.pool(width, "texts") as pool:
        for some in _batches(pool.map(read, fresh)):
            with index.writing() as db:
                db.executemany(_PUT, filter(None, some))
            progress.advance(len(some), 0)
    gone = known.keys() - subjects.keys()
    if gone or fresh:
        with index.writing() as db:
            db.executemany("DELETE FROM texts WHERE ref = ?", [(ref,) for ref in gone])
            db.execute("INSERT INTO texts_fts (texts_fts) VALUES ('rebuild')")


def refresh_paths(repo: RepositoryCore, index: LineageIndex, progress: Progress) -> None:
    """Update the paths of an index whose versions are up to date; errors as of `refresh_texts`."""
    with index.asking() as db:
        living = [number for number, _, _ in db.execute(_VERSIONS)]
    fill_changes(repo, index, living, progress=progress)
    with index.asking() as db:
        unlisted = db.execute(_UNLISTED).fetchone()
    if unlisted:
        with index.writing() as db:
            last = db.execute("SELECT ifnull(max(id), 0) FROM paths").fetchone()
            db.execute(_NEW_PATHS)  # reads all of `changes`
            db.execute("INSERT INTO paths_fts (rowid, path) SELECT id, path FROM paths WHERE id > ?", last)
            db.execute(_LISTED)


def refresh_columns(repo: RepositoryCore, index: LineageIndex) -> None:
    """Add the columns of tables of which the repository has new profiles; unreadable profiles are left out.

    Raises:
        StoreError: the index cannot be written; completed rows are kept.
    """
    try:
        objects = [info.key for info, key in repo.profiles.objects() if key.group == "tables"]
    except StoreError as error:
        log_info("columns are not searched: %s", error.message)
        return
    with index.asking() as db:
        known = {key for (key,) in db.execute("SELECT key FROM profiled")}
    for some in _batches(key for key in objects if key not in known):
        rows: list[tuple[bytes, str]] = []
        read = []
        try:
            for key, content in zip(some, repo.profiles.load_all(some), strict=True):
                if not isinstance(content, DataverError):
                    rows += _columns(content[1])
                    read.append(key)
        except StoreError as error:
            log_info("not all columns are searched: %s", error.message)
        with index.writing() as db:
            last = db.execute("SELECT ifnull(max(id), 0) FROM columns").fetchone()
            db.executemany("INSERT OR IGNORE INTO columns (content, names) VALUES (?, ?)", rows)
            db.execute(
                "INSERT INTO columns_fts (rowid, names) SELECT id, names FROM columns WHERE id > ?", last
            )
            db.executemany("INSERT OR IGNORE INTO profiled VALUES (?)", [(key,) for key in read])


def _columns(lines: Lines) -> Iterator[tuple[bytes, str]]:
    for name, line in lines.items():
        with suppress(IntegrityError):  # others may have written it
            if names := "\n".join(each["name"] for each in decode_profile(line).get("columns", ())):
                yield name[:CONTENT_SIZE], names


def _subjects(repo: RepositoryCore, index: LineageIndex) -> Iterator[_Subject]:
    """Yield every living version and every described dataset that has one."""
    described: dict[tuple[str, str | None], tuple[int, str]] = {}
    for info in repo.store.list(DESCRIPTIONS):
        if key := parse_description_key(info.key):
            name = (key.dataset, key.label)
            described[name] = max(described.get(name, (0, "")), (key.number, f"{key.number} {info.stamp}"))
    with index.asking() as db:
        rows = db.execute(_VERSIONS).fetchall()
    for number, dataset, label in rows:
        yield _Subject(dataset, label, number, *described.get((dataset, label), (0, "")))
    datasets = {dataset for _, dataset, _ in rows}
    for (dataset, label), (number, stamp) in described.items():
        if label is None and dataset in datasets:
            yield _Subject(dataset, None, None, number, stamp)


def _row(repo: RepositoryCore, subject: _Subject) -> tuple[object, ...]:
    """Return the row of a version or dataset; reads its record, description and readme."""
    dataset, label, version, number, stamp = subject
    published = None if label is None else repo.records.get(dataset, label)
    found = repo.descriptions.current(dataset, label) if number else None
    if found is None or found.record != (published and published.record_id):
        found = undescribed(dataset, published)  # or another version had the label when it was described
    message = "" if published is None else published.record.message
    readme = _readme(repo, published, found)
    metadata = json.dumps(found.metadata, ensure_ascii=False, sort_keys=True)
    named = (subject.ref, dataset, label, version, stamp, message)
    return (*named, found.text, found.license, found.owner, readme, metadata)


def _readme(repo: RepositoryCore, published: Published | None, found: Description) -> str:
    if found.readme is not None:
        return found.readme
    if published is None:
        return ""
    from dataver.checkout import read_file

    entry = find_readme(repo.tree(published.record.tree))
    return "" if entry is None else b"".join(read_file(repo, entry)).decode("utf-8", "replace")


def _batches(rows: Iterable[Any]) -> Iterator[list[Any]]:
    rows = iter(rows)
    while some := list(islice(rows, _BATCH)):
        yield some
