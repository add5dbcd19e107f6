"""The preview of a table: its columns, with histograms if it has a profile, and some of its rows.

The first rows come from the profile if it has a sample. Others are read: of Parquet those of one row group,
of the smallest columns first until `_BYTES` were read; of text the beginning up to those rows.
"""

import json
import math
from typing import Any, Final

from dataver import Version
from dataver.errors import NotFound
from dataver.extras import require_extra
from dataver.profiles.kinds import Head, Profile, Source
from dataver.profiles.rows import rows_at
from dataver.profiles.table_heads import arrow_columns
from dataver.tables import format_of
from dataver.ui.asked import Asked

__all__ = ["table"]

_ROWS: Final = 50
_COLUMNS: Final = 50
_BYTES: Final = 1_900_000
_LATER: Final = 8 << 20  # bytes, of rows further back than the first ones
_FAR: Final = 5_000  # rows of text: those before them are read, too
_CELL: Final = 300  # characters
_LABELS: Final = 10
_BARS: Final = 100


def table(asked: Asked, version: Version, source: Source, profile: Profile) -> dict[str, Any]:
    """Return the columns and rows of a table from row `row` and column `column` on."""
    row, column, only = asked.number("row", 0), asked.number("column", 0), asked.text("only")
    listed = {each["name"]: each for each in profile.get("columns", ())}
    columns = dict([(only, listed[only])] if only in listed else list(listed.items())[column:][:_COLUMNS])
    sample, rows, note, spent = profile.get("sample", ()), profile.get("rows"), None, 0
    if sample and row + _ROWS <= max(len(sample), _ROWS if rows == len(sample) else 0):
        values = {name: [_cell(each["row"].get(name)) for each in sample[row:][:_ROWS]] for name in columns}
    else:
        if row > _FAR and format_of(source.name) != "parquet":
            raise NotFound(f"rows after {_FAR:,} are not shown.", hint=f"dataver fetch {version.ref}")
        require_extra("tables", "the preview of a table")
        head = Head(source, _LATER if row or only else _BYTES)
        before = head.left
        found, note = rows_at(head, row, _ROWS, list(columns))
        spent = before - max(head.left, 0)
        values = {name: _values(found.column(name)) for name in found.column_names}
        if format_of(source.name) != "parquet":
            listed = {each.name: each._asdict() for each in arrow_columns(found.schema)}
            columns = dict(list(listed.items())[column:][:_COLUMNS])
    length = max(map(len, values.values()), default=0)
    cells = [[values[name][at] if name in values else None for name in columns] for at in range(length)]
    measured = profile.get("statistics", {}).get("statistics", ())
    drawn = {each["column_name"]: _drawn(each) for each in measured if each["column_name"] in columns}
    if not profile.get("full"):
        hint = f"To see histograms of the columns: dataver profile {version.ref}"
        note = f"{note} {hint}" if note else hint
    if 0 < len(values) < len(columns):
        read = f"{len(values):,} of {len(columns):,} columns are read, as a page reads few bytes."
        note = f"{read} {note or ''}"
    more = len(cells) == _ROWS if rows is None else row + len(cells) < rows
    after = column + len(columns) if column + len(columns) < len(listed) and not only else None
    place = {"row": row, "rows": rows, "next": row + len(cells) if more and cells else None, "after": after}
    place |= {"column": column, "columns": len(listed), "previous": max(0, row - _ROWS) if row else None}
    place["before"] = max(0, column - _COLUMNS) if column else None
    shown = [{**columns[name], "drawn": drawn.get(name), "unread": name not in values} for name in columns]
    return {"kind": "table", "columns": shown, "rows": cells, "read": spent, "note": note, "place": place}


def _values(column: Any) -> list[Any]:
    try:
        return list(map(_cell, column.to_pylist()))
    except (ValueError, OverflowError):  # a time that Python cannot represent
        return list(map(_cell, column.cast("string").to_pylist()))


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return value if math.isfinite(value) and abs(value) < 1 << 53 else str(value)
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False, default=_short)
    text = _short(value)
    return text if len(text) <= _CELL else text[:_CELL] + "…"


def _short(value: Any) -> str:
    return f"<{len(value):,} bytes>" if isinstance(value, bytes) else str(value)


def _drawn(column: dict[str, Any]) -> dict[str, Any]:
    """Return what is drawn of a column's statistics: counts, and their names or ends."""
    found = column["column_statistics"]
    labels = sorted(found.get("frequencies", {}).items(), key=lambda each: -each[1])[:_LABELS]
    counts = [count for _, count in labels] or (found.get("histogram") or {}).get("hist", [])[:_BARS]
    return {
        "counts": [float(count) for count in counts],
        "labels": [[label[:100], count] for label, count in labels],
        "values": int(found.get("n_unique", len(labels))),
        "lengths": column["column_type"] in ("string_text", "list"),
        "least": _cell(found.get("min")),
        "most": _cell(found.get("max")),
        "missing": found["nan_count"],
    }
