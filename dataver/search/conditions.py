"""Selection of versions by a condition in the syntax of SQL's WHERE, over columns and metadata.

    size > 1e9 and license = 'MIT'          columns of the version and of its description
    rows > 1000000 or camera in (7, 8)      metadata: each key is a column
    tag = 'production' and created >= '2026-11'

The idea: SQLite evaluates the condition over a view that has a column for each key of the metadata. An
authorizer allows it only to read the index, and no function that reads or writes files exists in it.
"""

from __future__ import annotations

import re
import sqlite3
from typing import Any, Final

from dataver.errors import InvalidInput
from dataver.tables import quoted, quoted_name

__all__ = ["COLUMNS", "select_versions"]

COLUMNS: Final = {
    "name": "versions.dataset",
    "label": "versions.label",
    "tag": "tags.tag",
    "created": "versions.created",
    "author": "versions.author",
    "message": "versions.message",
    "files": "versions.files",
    "size": "versions.size",
    "description": "nullif(texts.text, '')",
    "license": "nullif(texts.license, '')",
    "owner": "nullif(texts.owner, '')",
    "digest": "'dv1:' || versions.tree",
}
"""Columns of a condition, besides the metadata; a key of the metadata with such a name is `metadata.KEY`."""

_KEYS: Final = """
SELECT DISTINCT key FROM texts, json_each(texts.metadata) WHERE instr(key, '"') = 0 ORDER BY key LIMIT 1500
"""
_FROM: Final = """
FROM versions JOIN texts ON texts.version = versions.id LEFT JOIN tags ON tags.version = versions.id
WHERE versions.deleted IS NULL AND versions.tree IS NOT NULL
"""
_QUOTED: Final = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")
_STEPS: Final = 50_000_000  # instructions of SQLite's machine after which a condition takes too long
_ALLOWED: Final = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION}


def select_versions(db: sqlite3.Connection, condition: str, *, prefix: str = "") -> list[tuple[str, str]]:
    """Return `(dataset, label)` of the versions that meet a condition, the newest first.

    Args:
        db: the index, with `texts` up to date.
        condition: the condition; texts in single or double quotes, columns with other characters than
            letters, digits and `_` in double quotes.
        prefix: the beginning of the dataset's name.

    Raises:
        InvalidInput: the condition is not valid, names an unknown column, or takes too long.
    """
    if not condition.strip():
        raise InvalidInput("the condition is empty.", hint="for example: rows > 1000000")
    columns = dict(COLUMNS)
    for (key,) in db.execute(_KEYS):
        name = f"metadata.{key}" if key.lower() in COLUMNS else key
        columns[name] = f"""json_extract(texts.metadata, {quoted(f'$."{key}"')})"""
    shown = ", ".join(f"{expression} AS {quoted_name(name)}" for name, expression in columns.items())
    db.execute(f"CREATE TEMP VIEW candidates AS SELECT {shown} {_FROM}")
    try:
        return _select(db, _with_texts(condition, columns), prefix, columns)
    finally:
        db.execute("DROP VIEW temp.candidates")


def _select(
    db: sqlite3.Connection, condition: str, prefix: str, columns: dict[str, str]
) -> list[tuple[str, str]]:
    asked = f"""
        SELECT name, label, max(created) FROM temp.candidates WHERE substr(name, 1, ?) = ? AND ({condition}
        ) GROUP BY name, label ORDER BY max(created) DESC
    """  # noqa: S608  # what the condition may do is bounded by the authorizer
    steps = iter(range(_STEPS // 1_000_000))
    db.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY)
    db.set_progress_handler(lambda: next(steps, None) is None, 1_000_000)
    try:
        rows: list[Any] = db.execute(asked, (len(prefix), prefix)).fetchall()
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise InvalidInput(
            f"the condition cannot be evaluated: {str(error).rstrip('.')}.",
            hint=f"the columns are {', '.join(sorted(columns))}; texts are quoted: license = 'MIT'",
        ) from error
    finally:
        db.set_progress_handler(None, 0)
        db.set_authorizer(None)
    return [(name, label) for name, label, _ in rows]


def _with_texts(condition: str, columns: dict[str, str]) -> str:
    """Turn double quotes into single ones, unless they name a column."""
    known = {name.lower() for name in columns}

    def text(found: re.Match[str]) -> str:
        value = found[0]
        if value.startswith('"') and (inner := value[1:-1].replace('""', '"')).lower() not in known:
            return quoted(inner)
        return value

    return _QUOTED.sub(text, condition)
