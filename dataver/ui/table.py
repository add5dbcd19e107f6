"""The preview of a table: its columns, with histograms if it has a profile, and some of its rows.

The first rows come from the profile if it has a sample. Others are read: of Parquet the wanted columns of one
row group, until `_BYTES` of them were asked for; of text the beginning up to those rows.
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
_LATER: Final = 16 << 20  # bytes, of rows further back than the first ones
_FAR: Final = 5_000  # rows of text: those before them are read, too
_CELL: Final = 300  # characters
_LABELS: Final = 10


def table(asked: Asked, version: Version, source: Source, profile: Profile) -> dict[str, Any]:
    """Return the columns and rows of a table from row `row` and column `column` on."""
    row, column = asked.number("row", 0), asked.number("column", 0)
    names = [each["name"] for each in profile.get("columns", ())]
    columns = {each["name"]: each for each in profile.get("columns", ())[column : column + _COLUMNS]}
    sample, rows, note, spent = profile.get("sample", ()), profile.get("rows"), None, 0
    if sample and row + _ROWS <= max(len(sample), _ROWS if rows == len(sample) else 0):
        cells = [[_cell(each["row"].get(name)) for name in columns] for each in sample[row : row + _ROWS]]
    else:
        if row > _FAR and format_of(source.name) != "parquet":
            raise NotFound(f"rows after {_FAR:,} are not shown.", hint=f"dataver fetch {version.ref}")
        head = Head(source, _LATER if row else _BYTES)
        left = head.left
        found, note = _read(head, row, list(columns))
        spent = left - max(head.left, 0)
        read = {each.name: each._asdict() for each in arrow_columns(found.schema)}
        if format_of(source.name) != "parquet" or not columns:
            names = list(read)
            read = dict(list(read.items())[column : column + _COLUMNS])
        columns = {
            name: {**each, **columns.get(name, {}), "type": each["type"]} for name, each in read.items()
        }
        cells = list(map(list, zip(*(_values(found.column(name)) for name in columns), strict=True)))
    measured = profile.get("statistics", {}).get("statistics", ())
    drawn = {each["column_name"]: _drawn(each) for each in measured if each["column_name"] in columns}
    if not profile.get("full"):
        hint = f"`dataver profile {version.ref}` finds out what the columns hold, and draws their histograms"
        note = f"{note} {hint}" if note else hint
    after = row + len(cells)
    more = len(cells) == _ROWS if rows is None else after < rows
    return {
        "kind": "table",
        "columns": [{**each, "drawn": drawn.get(name)} for name, each in columns.items()],
        "rows": cells,
        "read": spent,
        "note": note,
        "place": {
            "row": row, "rows": rows, "previous": max(0, row - _ROWS) if row else None,
            "next": after if more and cells else None, "column": column, "columns": len(names),
            "before": max(0, column - _COLUMNS) if column else None,
            "after": column + len(columns) if column + len(columns) < len(names) else None,
        },
    }  # fmt: skip


def _read(head: Head, row: int, names: list[str]) -> tuple[Any, str | None]:
    require_extra("tables", "the preview of a table")
    return rows_at(head, row, _ROWS, names)


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
    counts = [count for _, count in labels] or list((found.get("histogram") or {}).get("hist", ()))
    return {
        "counts": [float(count) for count in counts],
        "labels": [[label[:100], count] for label, count in labels],
        "values": found.get("n_unique", len(labels)),
        "lengths": column["column_type"] in ("string_text", "list"),
        "least": _cell(found.get("min")),
        "most": _cell(found.get("max")),
        "missing": found["nan_count"],
    }
