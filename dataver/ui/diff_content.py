"""What changed in a file, as `diff --json` shows it, with fewer columns and shorter values."""

import json
import re
from collections.abc import Container, Iterator, Sequence
from typing import Any, Final

from dataver.diffs import ContentDiff, TableDiff

__all__ = ["content"]

_NAMES: Final = 200
_LINES: Final = 3_000
_TEXT: Final = 400  # characters of a value or a line
_DRIFT: Final = 0.1  # least population stability index that is shown
_HUNK: Final = re.compile(r"@@ -(\d+)[^+]*\+(\d+)")


def content(found: ContentDiff, items: int, columns: int) -> dict[str, Any]:
    """Return a difference with at most `items` rows of each kind, values or tensors, and some columns."""
    values = found.values(items)
    if isinstance(found, TableDiff):
        values |= _table(found, values, columns)
    elif found.kind == "text":
        lines = values["diff"]
        values |= {"diff": list(_numbered(lines[2:_LINES])), "further": len(lines[_LINES:])}
    elif "changes" in values:
        values["changes"] = [_short(each, each) for each in values["changes"]]
    return {"kind": found.kind, "different": bool(found), "summary": found.summary(), **values}


def _table(found: TableDiff, values: dict[str, Any], most: int) -> dict[str, Any]:
    """Return the rows with the key, the changed and the first other columns, and what of columns changed."""
    columns = {kind: each[:_NAMES] for kind, each in values["columns"].items()}
    dropped = [each["name"] for each in columns["dropped"]] if found.rows["removed"] else []
    olds = {each["new"]: each["old"] for each in columns["renamed"]}
    all_names = found.added(0).column_names
    cells = found.cells
    names = list(dict.fromkeys([*found.key, *cells, *all_names, *dropped]))
    shown = {*names[:most], *(olds.get(name, name) for name in names[:most])}
    one_sided = {*olds, *(each["name"] for each in columns["added"])}
    drift = {name: value for name, value in values["drift"].items() if value >= _DRIFT}
    moved = list(dict.fromkeys([*cells, *drift]))[:_NAMES]
    for each in values["changed"]:
        each |= {"key": _short(each["key"], shown), "row": _short(each["row"], shown)}
        each["cells"] = {name: _short(cell, cell) for name, cell in each["cells"].items() if name in shown}
    return {
        "columns": columns,
        "added": [_short(each, shown) for each in values["added"]],
        "removed": [_short(each, shown) for each in values["removed"]],
        "names": names[:most],
        "further": len(names[most:]),
        "olds": olds,
        "keys": [name for name in all_names if name not in one_sided][:_NAMES],
        "moved": [{"name": each, "cells": cells.get(each, 0), "drift": drift.get(each)} for each in moved],
    }


def _numbered(lines: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the lines of a unified diff with their numbers in the old and in the new text."""
    old = new = 0
    for line in lines:
        if hunk := _HUNK.match(line):
            old, new = int(hunk[1]), int(hunk[2])
            yield {"mark": "@", "old": None, "new": None, "text": line}
            continue
        mark = line[:1]
        numbers = {"old": old if mark != "+" else None, "new": new if mark != "-" else None}
        yield {"mark": mark, **numbers, "text": _cut(line[1:])}
        old, new = old + (mark != "+"), new + (mark != "-")


def _short(values: dict[str, Any], names: Container[str]) -> dict[str, Any]:
    """Return the values of some names, each cut if it is long."""
    return {name: _cut(value) for name, value in values.items() if name in names}


def _cut(value: Any) -> Any:
    """Return a value, or the beginning of its text if that is long."""
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return value if len(text) <= _TEXT else f"{text[:_TEXT]}…"
