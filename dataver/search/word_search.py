"""Search by words: over texts of versions, paths of files and columns of tables.

Texts are names, messages, descriptions, metadata and readmes. A word matches every word that begins with it,
in any case; all words must match. Texts are ranked by BM25 (Robertson and Zaragoza, *The Probabilistic
Relevance Framework: BM25 and Beyond*, 2009), in which a name counts more than a readme, as SQLite's FTS5
computes it.
"""

from __future__ import annotations

import json
import re
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from dataver.errors import InvalidInput

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

__all__ = ["Hit", "search_columns", "search_paths", "search_texts"]

_SHOWN: Final = 5  # columns of a table
_FOUND: Final = "\x01"
_MARKED: Final = re.compile(rf"{_FOUND}(\w+)")
_WORD: Final = re.compile(r"\w+", re.UNICODE)
_FIELDS: Final = ("name", "message", "description", "license", "owner", "readme", "metadata")
_WEIGHTS: Final = "10, 4, 6, 2, 2, 1, 3"  # of the fields

_TEXTS: Final = f"""
SELECT texts.ref, {", ".join(f"snippet(texts_fts, {n}, char(1), '', '…', 12)" for n in range(len(_FIELDS)))}
FROM texts_fts JOIN texts ON texts.rowid = texts_fts.rowid LEFT JOIN versions ON versions.id = texts.version
WHERE texts_fts MATCH ? AND substr(texts.dataset, 1, ?) = ?
ORDER BY bm25(texts_fts, {_WEIGHTS}), versions.created DESC, texts.ref LIMIT ?
"""  # noqa: S608  # excerpts of 12 words, with a sign before each word that was found
_PATHS: Final = """
SELECT paths.path FROM paths_fts JOIN paths ON paths.id = paths_fts.rowid WHERE paths_fts MATCH ?
"""
_COLUMNS: Final = """
SELECT DISTINCT changes.path FROM columns_fts JOIN columns ON columns.id = columns_fts.rowid
JOIN changes ON changes.content = columns.content AND changes.kind = 1 WHERE columns_fts MATCH ?
"""
# `changes` has the versions at which a path gets and loses a content, relative to their bases, which form a
# forest: so the versions with the path are its branches between the two
_HELD: Final = """
WITH RECURSIVE held (path, content, version) AS (
    {first}
    UNION
    SELECT held.path, held.content, child.id FROM held CROSS JOIN versions child ON child.base = held.version
    WHERE NOT EXISTS (
        SELECT 1 FROM changes gone WHERE gone.content = held.content AND gone.version = child.id
        AND gone.path = held.path AND gone.kind = 0)
)
SELECT v.dataset || '@' || v.label, held.path, max(v.created), held.content
FROM held JOIN versions v ON v.id = held.version
WHERE v.deleted IS NULL AND v.tree IS NOT NULL AND substr(v.dataset, 1, :length) = :prefix
GROUP BY v.dataset, held.path ORDER BY held.path, v.dataset
"""
_PATHS_HELD: Final = _HELD.format(
    first="""SELECT c.path, c.content, c.version FROM json_each(:paths) w
    CROSS JOIN changes c ON c.path = w.value AND c.kind = 1"""
)
_TABLES_HELD: Final = _HELD.format(
    first="""SELECT c.path, c.content, c.version FROM json_each(:paths) w
    CROSS JOIN changes c ON c.path = w.value AND c.kind = 1
    WHERE c.content IN (SELECT columns.content FROM columns_fts JOIN columns ON columns.id = columns_fts.rowid
                        WHERE columns_fts MATCH :query)"""
)
_NAMES: Final = "SELECT names FROM columns WHERE content = ?"


class Hit(NamedTuple):
    """One result of a search.

    Attributes:
        ref: the version, `dataset@label`, or the dataset's name if its description as a whole matches.
        field: where the words were found: "name", "message", "description", "license", "owner", "readme",
            "metadata", "path" or "column".
        text: the text around them; the path of the file; or the path of the table and some of its columns.
    """

    ref: str
    field: str
    text: str


def search_texts(db: sqlite3.Connection, words: str, *, prefix: str, limit: int) -> list[Hit]:
    """Return the versions and datasets whose texts have all words, the best first.

    Raises:
        InvalidInput: there is no word.
    """
    rows = db.execute(_TEXTS, (_query(words), len(prefix), prefix, limit)).fetchall()
    return [_hit(row) for row in rows]


def search_paths(db: sqlite3.Connection, words: str, *, prefix: str, limit: int) -> list[Hit]:
    """Return files whose paths have all words, once a dataset, with the latest version that has each.

    Raises:
        InvalidInput: there is no word.
    """
    found = _held(db, _PATHS, _PATHS_HELD, _query(words), prefix, limit)
    return [Hit(ref, "path", path) for ref, path, _ in islice(found, limit)]


def search_columns(db: sqlite3.Connection, words: str, *, prefix: str, limit: int) -> list[Hit]:
    """Return tables whose columns have all words, once a dataset, with the latest version that has each.

    Raises:
        InvalidInput: there is no word.
    """
    hits, wanted = [], [word.lower() for word in _WORD.findall(words)]
    for ref, path, content in islice(_held(db, _COLUMNS, _TABLES_HELD, _query(words), prefix, limit), limit):
        names = db.execute(_NAMES, [content]).fetchone()[0].split("\n")
        shown = [name for name in names if any(word in name.lower() for word in wanted)]
        hits.append(Hit(ref, "column", f"{path}: {', '.join(shown[:_SHOWN])}"))
    return hits


def _held(
    db: sqlite3.Connection, matching: str, held: str, query: str, prefix: str, size: int
) -> Iterator[tuple[str, str, bytes]]:
    """Yield the version, the path and the content of files that match."""
    paths = (path for (path,) in db.execute(matching, [query]))
    while some := list(islice(paths, size)):
        values = {"paths": json.dumps(some), "query": query, "length": len(prefix), "prefix": prefix}
        for ref, path, _, content in db.execute(held, values).fetchall():
            yield ref, path, content
        size *= 4  # each query finds all tables with the words again


def _query(words: str) -> str:
    """Return the query of FTS5 for words, none of which is taken as its syntax."""
    found = _WORD.findall(words)
    if not found:
        raise InvalidInput(f"{words!r} has no word to search for.", hint="write letters or digits")
    return " ".join(f'"{word}"*' for word in found)


def _hit(row: tuple[str, ...]) -> Hit:
    excerpts = dict(zip(_FIELDS, row[1:], strict=True))
    words = {name: len(set(_MARKED.findall(text.lower()))) for name, text in excerpts.items()}
    field = max(_FIELDS, key=words.__getitem__)  # the first of those with the most words
    return Hit(row[0], field, " ".join(excerpts[field].replace(_FOUND, "").split()))
