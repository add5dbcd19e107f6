"""Versions that contain a content, under any name, and the runs that read it.

The idea: `changes` contains the versions at which a content appears at a path and disappears from it, each
relative to the version's base; bases form a forest. So the versions with the content are the branches of that
forest between the two: one recursive query, at a cost proportional to the number of these versions.
"""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING

from dataver.errors import DataverError, IntegrityError, PathNotFound
from dataver.lineage.queries.results import ContentLocation, ContentRead, FileAnswer
from dataver.lineage.queries.rows import links_where, runs_of, versions_of
from dataver.tree.selection import Given, PathText, Selection, literal, path_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from dataver.formats.event import Subset

__all__ = [
    "CONTENT_SIZE",
    "Covers",
    "chosen_files",
    "contents_at",
    "contents_like",
    "describe_content",
    "files_of",
    "holders",
    "parse_listing",
]

CONTENT_SIZE = 16  # bytes of a file's digest in the index
_SOME = 100  # links in one query

# CROSS JOIN keeps the order of the loops: the few wanted contents outside, the many changes inside
_HOLDERS = """
WITH RECURSIVE held(content, version, path) AS (
    SELECT c.content, c.version, c.path FROM temp.wanted w
    CROSS JOIN changes c ON c.content = w.content AND c.kind = 1
    UNION
    SELECT held.content, child.id, held.path FROM held CROSS JOIN versions child ON child.base = held.version
    WHERE NOT EXISTS (
        SELECT 1 FROM changes gone WHERE gone.content = held.content AND gone.version = child.id
        AND gone.path = held.path AND gone.kind = 0)
)
SELECT content, version, path FROM held
"""


class Covers:
    """Test whether the subset of a link includes a path.

    Args:
        listing: returns the paths of a listing attachment; may raise.
    """

    def __init__(self, listing: Callable[[str], Iterable[str]]) -> None:
        self._listing = listing
        self._matchers: dict[tuple[str, ...], Callable[[str], bool]] = {}
        self._listed: dict[str, frozenset[str] | None] = {}

    def __call__(self, subset: Subset, path: str) -> bool | None:
        """Return True or False, or None if unknown (a shard, a missing listing)."""
        if subset.patterns and not self._matcher(subset.patterns)(path):
            return False
        if subset.exclude and self._matcher(subset.exclude)(path):
            return False
        if subset.paths and path not in subset.paths:
            return False
        if subset.listed is not None:
            listed = self._paths(subset.listed)
            return None if listed is None else path in listed
        return None if subset.shard is not None else True

    def _matcher(self, patterns: tuple[str, ...]) -> Callable[[str], bool]:
        if patterns not in self._matchers:
            self._matchers[patterns] = Selection(patterns).matcher()
        return self._matchers[patterns]

    def _paths(self, listed: str) -> frozenset[str] | None:
        if listed not in self._listed:
            try:
                self._listed[listed] = frozenset(self._listing(listed))
            except DataverError:
                self._listed[listed] = None
        return self._listed[listed]


def contents_at(db: sqlite3.Connection, path: str) -> list[bytes]:
    """Return all contents that any version ever had at a path."""
    rows = db.execute("SELECT DISTINCT content FROM changes WHERE path = ? AND kind = 1", [path])
    return sorted(content for (content,) in rows)


def files_of(db: sqlite3.Connection, version: int) -> dict[str, bytes] | None:
    """Return the content of each path of a version from `changes`, or None if they are incomplete.

    For a version whose tree is missing. A path's content is determined by the nearest version in the chain of
    bases that changes the path.
    """
    chain: dict[int, int] = {}
    at: int | None = version
    while at is not None:
        base, changed = db.execute("SELECT base, changed FROM versions WHERE id = ?", [at]).fetchone()
        if not changed:
            return None
        chain[at] = len(chain)
        at = base
    rows = db.execute(
        "SELECT version, kind, path, content FROM changes WHERE version IN (SELECT value FROM json_each(?))",
        [json.dumps(list(chain))],
    ).fetchall()
    rows.sort(
        key=lambda row: (-chain[row[0]], row[1])
    )  # farthest version first; of one version, removals before additions
    found = {path: content if kind else None for _, kind, path, content in rows}
    return {path: content for path, content in found.items() if content is not None}


def contents_like(db: sqlite3.Connection, digest: str) -> list[bytes]:
    """Return the contents whose digest starts with these hex digits; an odd last digit is ignored."""
    start = bytes.fromhex(digest[: len(digest) & ~1])[:CONTENT_SIZE]
    if len(start) == CONTENT_SIZE:
        row = db.execute("SELECT 1 FROM changes WHERE content = ? LIMIT 1", [start]).fetchone()
        return [start] if row else []
    after = int.from_bytes(start, "big") + 1
    if after >> (8 * len(start)):
        rows = db.execute("SELECT DISTINCT content FROM changes WHERE content >= ?", [start])
    else:
        end = after.to_bytes(len(start), "big")
        rows = db.execute(
            "SELECT DISTINCT content FROM changes WHERE content >= ? AND content < ?", [start, end]
        )
    return [content for (content,) in rows if content.hex().startswith(digest[: 2 * CONTENT_SIZE])]


def holders(db: sqlite3.Connection, contents: Iterable[bytes]) -> list[tuple[bytes, int, str]]:
    """Return `(content, version number, path)` of all occurrences of these contents."""
    db.execute("CREATE TEMP TABLE IF NOT EXISTS wanted (content BLOB PRIMARY KEY) WITHOUT ROWID")
    db.execute("DELETE FROM temp.wanted")
    db.executemany("INSERT OR IGNORE INTO temp.wanted VALUES (?)", ((content,) for content in contents))
    return db.execute(_HOLDERS).fetchall()


def describe_content(
    db: sqlite3.Connection, asked: str, contents: Sequence[bytes], covers: Covers, limit: int | None = None
) -> FileAnswer:
    """Return all versions with these contents, under any name, and the runs that read one.

    Args:
        db: the index.
        asked: text of the query, for the result.
        contents: the contents.
        covers: tests whether a link includes a path.
        limit: maximum number of reads, the latest ones; None means all.
    """
    held = holders(db, contents)
    versions = versions_of(db, [version for _, version, _ in held])
    at: dict[int, list[str]] = {}
    for _, version, path in held:
        at.setdefault(version, []).append(path)
    wanted = json.dumps(list(at))
    saw = list(islice(_sightings(db, wanted, at, covers), limit))
    (links,) = db.execute(
        "SELECT count(*) FROM links WHERE version IN (SELECT value FROM json_each(?))", [wanted]
    ).fetchone()
    found = [ContentLocation(versions[version], path, content) for content, version, path in held]
    found.sort(
        key=lambda each: (each.version.dataset or "", each.version.created is None, each.version.created)
    )
    return FileAnswer(asked=asked, contents=list(contents), holdings=found, saw=saw, links=links)


def _sightings(
    db: sqlite3.Connection, wanted: str, at: dict[int, list[str]], covers: Covers
) -> Iterator[ContentRead]:
    """Yield the reads, latest first; links are queried in batches, in the order of their index."""
    ids = [
        key
        for (key,) in db.execute(
            "SELECT id FROM links WHERE version IN (SELECT value FROM json_each(?)) ORDER BY time DESC",
            [wanted],
        )
    ]
    for start in range(0, len(ids), _SOME):
        some = ids[start : start + _SOME]
        marks = ",".join("?" * len(some))
        links = links_where(db, f"l.id IN ({marks})", some)
        runs = runs_of(db, [link.run_row for link in links])
        for link in reversed(links):
            for path in sorted(at[link.version_row or 0]):
                covered = covers(link.subset, path)
                if covered is not False:
                    yield ContentRead(runs[link.run_row], link, path, covered is True and link.used)


def chosen_files(files: dict[str, bytes], include: Given, where: str) -> set[bytes]:
    """Return the contents of matching files, from the index."""
    found: set[bytes] = set()
    for given in [include] if isinstance(include, str | PathText) else include:
        path = path_of(given)
        matches = Selection((literal(path) if path in files else path,)).matcher()
        chosen = {content for name, content in files.items() if matches(name)}
        if not chosen:
            raise PathNotFound(f"no file in {where} matches '{path}'.")
        found |= chosen
    return found


def parse_listing(data: bytes) -> list[str]:
    """Parse a listing attachment: a JSON list of paths.

    Raises:
        IntegrityError: it is not a JSON list of strings.
    """
    try:
        paths = json.loads(data)
    except ValueError as error:
        raise IntegrityError(f"the list of paths is not JSON: {error}") from error
    if type(paths) is not list or not all(type(path) is str for path in paths):
        raise IntegrityError("the list of paths is not a list of strings")
    return paths
