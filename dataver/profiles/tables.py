"""Profiles of tables: columns, rows, statistics and a sample of the rows.

    {"kind": "table", "full": true, "columns": [{"name", "type", "nullable"}], "rows": 3,
     "statistics": {…}, "sample": [{"row_idx": 0, "row": {…}, "truncated_cells": []}]}

The idea: types have Arrow's names. A cheap profile has the columns: of Parquet and Arrow from the footer, of
text from the first lines, whose types are guessed. A full one is DuckDB's (`dataver.tables`), one table of a
process at a time, since each may take all of the memory. Each part of a profile has a limit of its own, and
`partial` names those that were met.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from dataver import tables
from dataver.errors import InvalidInput
from dataver.formats.canonical_json import encode_json
from dataver.profiles import statistics
from dataver.profiles.table_heads import Column, arrow_columns, binary_schema, class_labels, head_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pyarrow as pa
    from duckdb import DuckDBPyConnection

    from dataver.profiles.kinds import Profile, Source

__all__ = ["cheap", "full", "interrupt"]

_BYTES: Final = 5 << 30  # of values that are read, as of Hugging Face; the first rows of a larger table
_COLUMNS: Final = 1000  # with statistics, and in a sample
_ROWS: Final = 64  # of a sample
_CELL: Final = 1000  # characters of a cell of a sample
_PARTS: Final = {"columns": 192 << 10, "statistics": 448 << 10, "sample": 256 << 10}  # bytes of JSON

_AS_IS: Final = frozenset({
    "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"
})  # fmt: skip

_turns: dict[int, threading.Lock] = {}  # by process: a parent's lock may never be released
_running: dict[int, DuckDBPyConnection] = {}  # by thread


def cheap(source: Source) -> Profile:
    """Return the columns, and the rows of Parquet, from the footer or the first lines."""
    with source.open() as file:
        if tables.format_of(source.name) not in ("parquet", "arrow"):
            columns, problem = head_columns(file, source.name)
            return _listed(columns) | ({} if problem is None else {"problem": problem})
        schema, rows = binary_schema(file, source.name)
    return _listed(arrow_columns(schema)) | ({} if rows is None else {"rows": rows})


def full(source: Source) -> Profile:
    """Return the columns, the rows, the statistics and a sample, of all rows unless `partial` says so."""
    path, name = source.path(), source.name
    schema, rows = None, None
    if tables.format_of(name) in ("parquet", "arrow"):
        with path.open("rb") as file:
            schema, rows = binary_schema(file, name)
    if not source.size:
        raise InvalidInput("it is empty")
    plain = schema is None and not name.lower().endswith((".gz", ".zst"))

    def use(table: str) -> Profile:
        most = None if plain and source.size < _BYTES else _limit(db, table)
        return _profile(db, table, schema, most)

    turn, thread = _turns.setdefault(os.getpid(), threading.Lock()), threading.get_ident()
    with turn, tables.connect(path) as db:
        _running[thread] = db
        try:
            found, problem = tables.read(db, path, use, name=name)
        finally:
            del _running[thread]
    if rows is not None and rows != found["rows"] and "partial" not in found:
        problem = f"its footer says {rows:,} rows"
    return found | ({"problem": problem} if problem else {})


def interrupt(threads: Iterable[int]) -> None:
    """Interrupt the full profiles that these threads make: they fail."""
    for thread in threads:
        with suppress(Exception):  # it may have ended meanwhile
            _running[thread].interrupt()


def _profile(db: DuckDBPyConnection, table: str, schema: pa.Schema | None, most: int | None) -> Profile:
    described = db.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()
    if schema is None:
        schema = db.sql(f"SELECT * FROM {table} LIMIT 0").to_arrow_table().schema
    columns = statistics.measured(described[:_COLUMNS], class_labels(schema))
    document = statistics.statistics(db, statistics.load(db, table, columns, most), tables.MEMORY // 4)
    rows, measured = document["num_examples"], document["statistics"]
    partial = [f"the first {rows:,} rows were read"] if most is not None and rows >= most else []
    fit = _fitting(measured, _PARTS["statistics"])
    if fit < len(measured) or len(described) > _COLUMNS:
        del measured[fit:]
        partial.append(f"{fit:,} of {len(described):,} columns have statistics")
    document["partial"] = bool(partial)
    found = _listed(arrow_columns(schema)) | {"rows": rows, "statistics": document}
    found["sample"] = _sample(db, table, described[:_COLUMNS])
    partial += [found["partial"]] if "partial" in found else []
    return found | ({"partial": "; ".join(partial)} if partial else {})


def _limit(db: DuckDBPyConnection, table: str) -> int:
    """Return the number of rows whose values take about `_BYTES`, by the first rows."""
    head = db.sql(f"SELECT * FROM {table} LIMIT 2048").to_arrow_table()
    return 1 + _BYTES * int(head.num_rows) // (1 + int(head.nbytes))


def _sample(db: DuckDBPyConnection, table: str, described: Sequence[tuple[Any, ...]]) -> list[dict[str, Any]]:
    """Return the first rows as JSON objects, in the form of Hugging Face's `/first-rows`."""
    names = [row[0] for row in described]
    shown = ", ".join(_shown(row[0], row[1]) for row in described)
    listed: list[dict[str, Any]] = []
    for number, cells in enumerate(db.execute(f"SELECT {shown} FROM {table} LIMIT {_ROWS}").fetchall()):
        long = [name for name, cell in zip(names, cells, strict=True) if _is_long(cell)]
        values = [cell[:_CELL] if _is_long(cell) else statistics.storable(cell) for cell in cells]
        row = dict(zip(names, values, strict=True))
        listed.append({"row_idx": number, "row": row, "truncated_cells": long})
    return listed[: _fitting(listed, _PARTS["sample"])]


def _shown(name: str, type_: str) -> str:
    """Return the expression of a cell that JSON can represent; of long texts only their beginning is read."""
    quoted = tables.quoted_name(name)
    if type_ in _AS_IS:
        return quoted
    if type_ in ("FLOAT", "DOUBLE"):
        return f"CASE WHEN isfinite({quoted}) THEN {quoted} END"
    if type_.startswith("DECIMAL"):
        return f"{quoted}::DOUBLE"
    if type_ == "BLOB":
        return f"'<' || octet_length({quoted}) || ' bytes>'"
    text = f"to_json({quoted})" if type_.endswith((")", "]")) and not type_.startswith("ENUM") else quoted
    return f"left({text}::VARCHAR, {_CELL + 1})"


def _is_long(cell: object) -> bool:
    return isinstance(cell, str) and len(cell) > _CELL


def _listed(columns: Sequence[Column]) -> Profile:
    """Return the columns of a profile, as many as fit."""
    listed = [column._asdict() for column in columns]
    fit = _fitting(listed, _PARTS["columns"])
    cut = {"partial": f"the first {fit:,} of {len(listed):,} columns are listed"} if fit < len(listed) else {}
    return {"columns": listed[:fit], **cut}


def _fitting(items: Sequence[dict[str, Any]], most: int) -> int:
    """Return how many items, from the first, fit a number of bytes of JSON."""
    for number, item in enumerate(items):
        most -= len(encode_json(item, "the profile")) + 1
        if most < 0:
            return number
    return len(items)
