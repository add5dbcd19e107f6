"""Statistics of the columns of a table: the document of Hugging Face's dataset viewer.

    {"num_examples": 3, "statistics": [{"column_name": "a", "column_type": "int", "column_statistics": {…}}],
     "partial": false}

https://huggingface.co/docs/dataset-viewer/statistics describes it. The idea: the table is read once, into a
temporary table of DuckDB with numbers, lengths and possible labels in place of texts; the statistics of each
column are queries of it, and a sort on the disk where its values do not fit the memory. Medians, counts and
histograms are exact.

Differences: NaN, infinite values, those from 1e140 and dates beyond the year 290,000 count as missing; dates
have statistics as times do; strings that look like times are strings; a label's frequencies are bounded
(`_LABELS`).
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dataver.formats.canonical_json import MAX_NUMBER
from dataver.tables import first_row, quoted_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from duckdb import DuckDBPyConnection

__all__ = ["Measured", "load", "measured", "statistics", "storable"]

_TABLE: Final = "measured"
_BINS: Final = 10
_DECIMALS: Final = 5
_FEW: Final = 10  # distinct strings that are labels in any number of rows
_MANY: Final = 1000  # distinct strings that are never labels
_PROPORTION: Final = 0.2
_LABELS: Final = 64 << 10  # characters of a column's labels together
_GUESSED: Final = 2000  # an estimate of distinct strings above which there are more than `_MANY`
_HEAD: Final = 20_000  # rows in which texts are recognised before the table is read
_TYPES: Final = {"string": "string_text", "text": "string_text"}
_INTEGERS: Final = frozenset({
    "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT",
    "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT",
})  # fmt: skip
_LARGEST: Final = 1e140  # of which a variance is finite
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Measured(NamedTuple):
    """A column that has statistics.

    Attributes:
        name: its name.
        kind: int, float, bool, datetime, list, string, or text: strings of which only lengths are kept.
        type: DuckDB's type.
        labels: names of a class label's values, or None.
    """

    name: str
    kind: str
    type: str
    labels: Sequence[str] | None = None


def measured(columns: Iterable[tuple[Any, ...]], labels: Mapping[str, Sequence[str]]) -> list[Measured]:
    """Return the columns of DuckDB's DESCRIBE that have statistics; `labels` names those of class labels."""
    kinds = ((row[0], row[1], _kind(row[1])) for row in columns)
    return [
        Measured(name, kind, type_, labels.get(name) if kind == "int" else None)
        for name, type_, kind in kinds
        if kind
    ]


def _kind(type_: str) -> str | None:
    if type_ in _INTEGERS:
        return "int"
    if type_ in ("FLOAT", "DOUBLE") or type_.startswith("DECIMAL"):
        return "float"
    if type_.startswith(("TIMESTAMP", "DATE")) and not type_.endswith("]"):
        return "datetime"
    if type_.endswith("]"):
        return "list"
    if type_.startswith("ENUM") or type_ in ("VARCHAR", "JSON", "UUID"):
        return "string"
    return "bool" if type_ == "BOOLEAN" else None


def load(db: DuckDBPyConnection, table: str, columns: Sequence[Measured], most: int | None) -> list[Measured]:
    """Read a table expression into the temporary table; return the columns, texts recognised.

    Args:
        db: the connection.
        table: a table expression (`dataver.tables.scan`).
        columns: those to measure.
        most: the number of rows to read, from the first; None reads all.
    """
    strings = [column.name for column in columns if column.kind == "string"]
    if strings:
        counts = ", ".join(f"count(DISTINCT {quoted_name(name)})" for name in strings)
        head = f"(SELECT {', '.join(map(quoted_name, strings))} FROM {table} LIMIT {_HEAD})"
        distinct = dict(zip(strings, first_row(db, f"SELECT {counts} FROM {head}"), strict=True))
        columns = [
            each._replace(kind="text") if distinct.get(each.name, 0) >= _MANY else each for each in columns
        ]
    values = ", ".join(f"{_value(each)} AS c{at}" for at, each in enumerate(columns))
    limit = "" if most is None else f" LIMIT {most}"
    db.execute(f"SET preserve_insertion_order = {most is not None}")  # a fifth less time without
    db.execute(f"CREATE OR REPLACE TEMP TABLE {_TABLE} AS SELECT {values or '1'} FROM {table}{limit}")
    db.execute("RESET preserve_insertion_order")
    return list(columns)


def _value(column: Measured) -> str:
    name = quoted_name(column.name)
    if column.kind == "float":
        return f"CASE WHEN abs({name}::DOUBLE) < {_LARGEST} THEN {name}::DOUBLE END"
    if column.kind == "datetime":
        time = f"try_cast({name} AS TIMESTAMP)"  # a date may lie beyond
        return f"CASE WHEN isfinite({time}) THEN floor(epoch({time}))::BIGINT END"
    if column.kind == "list":
        return f"len({name})"
    if column.kind == "text":
        return f"length({name}::VARCHAR)"
    return f"{name}::VARCHAR" if column.kind == "string" else name


def statistics(db: DuckDBPyConnection, columns: Sequence[Measured], memory: int) -> dict[str, Any]:
    """Return the document of the loaded table; the caller sets `partial`.

    Args:
        db: the connection.
        columns: the result of `load`.
        memory: bytes that the values of one query may take.
    """
    (rows,) = first_row(db, f"SELECT count(*) FROM {_TABLE}")
    listed = []
    for at, column in enumerate(columns) if rows else ():
        name = f"c{at}"
        found = _categories(db, name, column, rows) or _numbers(db, name, column, rows, 8 * rows <= memory)
        kind = found.pop("type", _TYPES.get(column.kind, column.kind))
        listed.append({"column_name": column.name, "column_type": kind, "column_statistics": found})
    return {"num_examples": rows, "statistics": listed, "partial": False}


def _categories(db: DuckDBPyConnection, name: str, column: Measured, rows: int) -> dict[str, Any] | None:
    """Return the statistics of a column of labels or truth values; None for others."""
    if column.kind == "string":
        (guess,) = first_row(db, f"SELECT approx_count_distinct({name}) FROM {_TABLE}")
    if not (
        column.kind == "bool" or column.labels is not None or (column.kind == "string" and guess < _GUESSED)
    ):
        return None
    query = f"SELECT {name}, count(*) FROM {_TABLE} WHERE {name} IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1"
    return _category(column, dict(db.execute(query).fetchall()), rows)


def _category(column: Measured, counts: dict[Any, int], rows: int) -> dict[str, Any] | None:
    missing = _missing(rows - sum(counts.values()), rows)
    if column.kind == "bool":
        return {**missing, "frequencies": {str(key): counts[key] for key in sorted(counts)}}
    if column.labels is not None:
        if any(value >= len(column.labels) or value < -1 for value in counts):
            return None  # the labels of the schema are not those of the values
        without = counts.get(-1, 0)
        return {
            **missing,
            "type": "class_label",
            "no_label_count": without,
            "no_label_proportion": _rounded(without / rows),
            "n_unique": len(column.labels),
            "frequencies": {label: counts.get(at, 0) for at, label in enumerate(column.labels)},
        }
    few = len(counts) <= _FEW or (len(counts) / rows <= _PROPORTION and len(counts) < _MANY)
    if not few or sum(map(len, counts)) > _LABELS:
        return None
    return {**missing, "type": "string_label", "n_unique": len(counts), "frequencies": counts}


def _numbers(db: DuckDBPyConnection, name: str, column: Measured, rows: int, fit: bool) -> dict[str, Any]:
    """Return the statistics of numbers, times or lengths; their median by a sort if they do not fit."""
    value = f"length({name})" if column.kind == "string" else name
    asked = f"count(v), min(v), max(v), avg(v), stddev_samp(v){', median(v)' if fit else ''}"
    count, *numbers = first_row(db, f"SELECT {asked} FROM (SELECT {value} AS v FROM {_TABLE})")
    found = _missing(rows - count, rows)
    if not count:
        return found | dict.fromkeys(("min", "max", "mean", "median", "std", "histogram"))
    least, most, mean, std, median = numbers if fit else [*numbers, _sorted_median(db, value, count)]
    as_text = _time if column.kind == "datetime" else _rounded
    if column.kind == "datetime" and std is not None:
        std = str(timedelta(seconds=round(std, _DECIMALS)))
    described = {"min": least, "max": most, "mean": mean, "median": median}
    counts, edges = _histogram(db, value, column, least, most)
    return {
        **found,
        **{key: as_text(number) for key, number in described.items()},
        "std": _rounded(std),
        "histogram": {"hist": counts, "bin_edges": [as_text(edge) for edge in edges]},
    }


def _histogram(
    db: DuckDBPyConnection, value: str, column: Measured, least: Any, most: Any
) -> tuple[list[int], list[Any]]:
    """Return the numbers of values in each bin, and the edges; only the last bin has its upper edge.

    Of floats there are 10 bins, of integers at most 10, whose width is an integer.
    """
    if column.kind == "float":
        width, type_ = most / _BINS - least / _BINS, "DOUBLE"
        edges = [*(least + at * width for at in range(_BINS if least < most else 1)), most]
        ends = [math.nextafter(edge, -math.inf) for edge in edges[1:-1]]
    else:
        type_ = column.type if column.kind == "int" else "BIGINT"
        edges = [*range(least, most + 1, -(-(most - least + 1) // _BINS)), most]
        ends = [edge - 1 for edge in edges[1:-1]]
    ends.append(most)  # DuckDB's bins include their upper edges
    (counts,) = first_row(db, f"SELECT histogram({value}, $1::{type_}[]) FROM {_TABLE}", [ends])
    return [counts.pop(end, 0) for end in ends], edges


def _sorted_median(db: DuckDBPyConnection, value: str, count: int) -> float | None:
    """Return a median by a sort, which uses the disk."""
    middle = f"LIMIT {2 - count % 2} OFFSET {(count - 1) // 2}"
    query = f"SELECT {value} AS x FROM {_TABLE} WHERE x IS NOT NULL ORDER BY x {middle}"
    found: float | None = first_row(db, f"SELECT avg(x) FROM ({query})")[0]
    return found


def _missing(count: int, rows: int) -> dict[str, Any]:
    return {"nan_count": count, "nan_proportion": _rounded(count / rows)}


def _rounded(value: Any) -> Any:
    value = storable(value)
    return round(value, _DECIMALS) if isinstance(value, float) else value


def storable(value: Any) -> Any:
    """Return a value, as a float if it is a whole number that a profile cannot hold."""
    return float(value) if isinstance(value, int) and abs(value) > MAX_NUMBER else value


def _time(seconds: float) -> str:
    """Return a time in seconds since 1970, or the number where Python has no such year."""
    try:
        return (_EPOCH + timedelta(seconds=math.floor(seconds))).strftime("%Y-%m-%d %H:%M:%S")
    except OverflowError:
        return f"{seconds:.0f}"
