"""Statistics of the columns of a table: the document of Hugging Face's dataset viewer.

    {"num_examples": 3, "statistics": [{"column_name": "a", "column_type": "int", "column_statistics": {…}}],
     "partial": false}

https://huggingface.co/docs/dataset-viewer/statistics describes it. The idea: the table is read once, into a
temporary table of DuckDB with numbers, lengths and possible labels in place of texts; every statistic is a
query of it, over columns whose values fit the memory together, or a sort on the disk where one alone does
not. Medians, counts and histograms are exact.

Differences: NaN, infinite values, those from 1e140 and dates beyond the year 290,000 count as missing; dates
have statistics as times do; strings that look like times are strings; a label's frequencies are bounded
(`_LABELS`).
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dataver.formats.canonical_json import MAX_NUMBER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from duckdb import DuckDBPyConnection

    Row = tuple[Any, ...]

__all__ = ["Measured", "load", "measured", "quoted_name", "statistics", "storable"]

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
_TOGETHER: Final = 50  # columns of a query
_INTEGERS: Final = frozenset({
    "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT",
    "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT",
})  # fmt: skip
_AGGREGATES: Final = ("count", "min", "max", "avg", "stddev_samp", "median")
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


def measured(columns: Iterable[Row], labels: Mapping[str, Sequence[str]]) -> list[Measured]:
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
        distinct = dict(zip(strings, _row(db, f"SELECT {counts} FROM {head}"), strict=True))
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
    rows = _row(db, f"SELECT count(*) FROM {_TABLE}")[0]
    found: dict[int, dict[str, Any]] = {}
    if rows:
        found = _categories(db, columns, rows)
        _numbers(db, {at: each for at, each in enumerate(columns) if at not in found}, rows, memory, found)
    listed = [
        {
            "column_name": column.name,
            "column_type": found[at].pop("type", _TYPES.get(column.kind, column.kind)),
            "column_statistics": found[at],
        }
        for at, column in enumerate(columns)
        if at in found
    ]
    return {"num_examples": rows, "statistics": listed, "partial": False}


def _categories(db: DuckDBPyConnection, columns: Sequence[Measured], rows: int) -> dict[int, dict[str, Any]]:
    """Return the statistics of labels and truth values by the columns' numbers."""
    found = {}
    strings = [at for at, column in enumerate(columns) if column.kind == "string"]
    guesses: dict[int, int] = {}
    for some in _parts(strings, _TOGETHER):
        asked = ", ".join(f"approx_count_distinct(c{at})" for at in some)
        guesses |= zip(some, _row(db, f"SELECT {asked} FROM {_TABLE}"), strict=True)
    for at, column in enumerate(columns):
        if column.kind == "bool" or column.labels is not None or guesses.get(at, _GUESSED) < _GUESSED:
            query = (
                f"SELECT c{at} AS c, count(*) FROM {_TABLE} WHERE c IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1"
            )
            if made := _category(column, dict(db.execute(query).fetchall()), rows):
                found[at] = made
    return found


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


def _numbers(
    db: DuckDBPyConnection,
    columns: Mapping[int, Measured],
    rows: int,
    memory: int,
    found: dict[int, dict[str, Any]],
) -> None:
    """Add the statistics of numbers, times and lengths."""
    fit = memory // (8 * rows)  # columns whose values a median holds at once
    names = {at: f"length(c{at})" if each.kind == "string" else f"c{at}" for at, each in columns.items()}
    for some in _parts(list(columns), max(1, min(_TOGETHER, fit))):
        wanted = _AGGREGATES if fit else _AGGREGATES[:-1]
        asked = (f"{function}({names[at]})" for at in some for function in wanted)
        answers = dict(
            zip(some, _parts(_row(db, f"SELECT {', '.join(asked)} FROM {_TABLE}"), len(wanted)), strict=True)
        )
        edges = {at: _edges(columns[at].kind, row[1], row[2]) for at, row in answers.items() if row[0]}
        histograms = _histograms(db, {at: (names[at], columns[at], edges[at]) for at in edges})
        for at, (count, *numbers) in answers.items():
            median = numbers[4] if fit else _sorted_median(db, names[at], count)
            described = _described(
                columns[at].kind, [*numbers[:4], median], edges.get(at), histograms.get(at)
            )
            found[at] = _missing(rows - count, rows) | described


def _described(
    kind: str, numbers: Sequence[Any], edges: Sequence[Any] | None, histogram: list[int] | None
) -> dict[str, Any]:
    """Return the numbers by their names in the document, rounded or as times."""
    if edges is None:
        return dict.fromkeys(("min", "max", "mean", "median", "std", "histogram"))
    least, most, mean, std, median = numbers
    as_text = _time if kind == "datetime" else _rounded
    described = {"min": least, "max": most, "mean": mean, "median": median}
    if kind == "datetime" and std is not None:
        std = str(timedelta(seconds=round(std, _DECIMALS)))
    return {
        **{name: as_text(value) for name, value in described.items()},
        "std": _rounded(std),
        "histogram": {"hist": histogram, "bin_edges": [as_text(edge) for edge in edges]},
    }


def _edges(kind: str, least: Any, most: Any) -> list[Any]:
    """Return the edges of the bins: 10 of floats, at most 10 of integers, whose width is an integer."""
    if kind != "float":
        step = -(-(most - least + 1) // _BINS)
        return [*range(least, most + 1, step), most]
    if least == most:
        return [least, most]
    return [*(least + at * (most / _BINS - least / _BINS) for at in range(_BINS)), most]


def _histograms(
    db: DuckDBPyConnection, columns: Mapping[int, tuple[str, Measured, list[Any]]]
) -> dict[int, list[int]]:
    """Count the values from each edge to before the next; the last bin has its upper edge."""
    if not columns:
        return {}
    wanted, bounds = [], {}
    for at, (name, column, edges) in columns.items():
        if column.kind == "float":  # DuckDB's bins include their upper edges
            bounds[at] = [*(math.nextafter(edge, -math.inf) for edge in edges[1:-1]), edges[-1]]
            listed = ", ".join(f"{bound:.17e}" for bound in bounds[at])
            wanted.append(f"histogram({name}, [{listed}]::DOUBLE[])")
        else:
            bounds[at] = [*(edge - 1 for edge in edges[1:-1]), edges[-1]]
            type_ = column.type if column.kind == "int" else "BIGINT"
            wanted.append(f"histogram({name}, {bounds[at]}::{type_}[])")
    counts = _row(db, f"SELECT {', '.join(wanted)} FROM {_TABLE}")
    return {at: [each.pop(bound, 0) for bound in bounds[at]] for at, each in zip(bounds, counts, strict=True)}


def _sorted_median(db: DuckDBPyConnection, name: str, count: int) -> float | None:
    """Return a median by a sort, which uses the disk."""
    middle = f"LIMIT {2 - count % 2} OFFSET {max(0, count - 1) // 2}"
    query = f"SELECT {name} AS x FROM {_TABLE} WHERE x IS NOT NULL ORDER BY x {middle}"
    found: float | None = _row(db, f"SELECT avg(x) FROM ({query})")[0]
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


def quoted_name(text: str) -> str:
    """Return the name of a column for use in SQL."""
    return '"' + text.replace('"', '""') + '"'


def _row(db: DuckDBPyConnection, query: str) -> Row:
    found: Row = db.execute(query).fetchall()[0]
    return found


def _parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[at : at + size] for at in range(0, len(items), size))
