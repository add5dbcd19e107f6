"""The columns of two tables: their pairs, and expressions that compare values of different types."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from dataver.profiles.table_heads import binary_schema, type_name
from dataver.tables import first_row, format_of, read

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from duckdb import DuckDBPyConnection

    from dataver.diffs.content import File

__all__ = [
    "NUMBERS", "TIMES", "Column", "Pair", "hashed", "load", "pair_by_name", "pair_by_content",
]  # fmt: skip

_INTEGERS: Final = re.compile(r"U?(TINY|SMALL|BIG)INT|U?INTEGER|HUGEINT")
NUMBERS: Final = re.compile(rf"{_INTEGERS.pattern}|FLOAT|DOUBLE|DECIMAL\(.*\)")
TIMES: Final = re.compile(r"DATE|TIMESTAMP(_S|_MS|_NS)?")
_FLOATS: Final = re.compile("FLOAT|DOUBLE")
_WEAK: Final = re.compile(r"[\[(]|HUGEINT|INTERVAL|UUID|VARIANT")
"""Types of which different values have the same hash in DuckDB: it is that of the high XOR the low half."""


class Column(NamedTuple):
    """A column: its name, Arrow's and DuckDB's name of its type, and its name in SQL."""

    name: str
    type: str
    duckdb: str
    sql: str


class Pair(NamedTuple):
    """A column of both tables. If its types differ, values are compared as numbers, times or text."""

    old: Column
    new: Column

    def compared(self) -> tuple[str, str]:
        """Return expressions of the old and the new value that are equal if the values are."""
        one, other = self
        kinds = one.duckdb, other.duckdb
        if one.duckdb == other.duckdb != "INTERVAL":  # to DuckDB, a month is 30 days
            return one.sql, other.sql
        for pattern, wide in ((_INTEGERS, "HUGEINT"), (_FLOATS, "DOUBLE")):
            if all(pattern.fullmatch(kind) for kind in kinds):
                return f"{one.sql}::{wide}", f"{other.sql}::{wide}"
        if all(NUMBERS.fullmatch(kind) for kind in kinds):
            places = max(map(_places, kinds))
            return _number(one, places), _number(other, places)
        if all(TIMES.fullmatch(kind) for kind in kinds):
            return _time(one), _time(other)
        return _text(one, other.duckdb), _text(other, one.duckdb)


def hashed(sql: str, kind: str) -> str:
    """Return arguments of `hash` for a value of a type of DuckDB: also its text, where the hash is weak."""
    return f"{sql}, {sql}::VARCHAR" if _WEAK.search(kind) else sql


def _places(kind: str) -> int:
    """Return the number of decimal places of a type."""
    return int(kind[:-1].rpartition(",")[2]) if kind.startswith("DECIMAL") else 0


def _number(column: Column, places: int) -> str:
    """Return a number as text without trailing zeros, exactly; `places` is the most of both types."""
    sql, kind = column.sql, column.duckdb
    if _FLOATS.fullmatch(kind):
        exact = f"try_cast({sql} AS {f'DECIMAL(38, {places})' if places else 'HUGEINT'})"
        return f"CASE WHEN {exact}::{kind} = {sql} THEN {_plain(exact, places)} ELSE {sql}::VARCHAR END"
    own = _places(kind)
    return _plain(f"{sql}::DECIMAL(38, {own})" if own else sql, own)


def _plain(sql: str, places: int) -> str:
    return f"rtrim(rtrim({sql}::VARCHAR, '0'), '.')" if places else f"{sql}::VARCHAR"


def _time(column: Column) -> str:
    """Return a time as text, midnight as the date: no type has both the range and the precision of all."""
    return f"regexp_replace({column.sql}::VARCHAR, ' 00:00:00$', '')"


def _text(column: Column, other: str) -> str:
    """Return a value as text; text that is a value of the other type is written as that type's text.

    Not if it changes by that: "1.6" and "007" are no integers, noon no date. The nearest float is the text's.
    """
    sql = column.sql
    if column.duckdb != "VARCHAR" or "(" in other or "[" in other:
        return f"{sql}::VARCHAR"
    value, exact = f"try_cast({sql} AS {other})", "true"
    if _INTEGERS.fullmatch(other):
        exact = f"{value}::VARCHAR = trim({sql})"
    elif TIMES.fullmatch(other):
        finer = "TIMESTAMP" if other == "DATE" else "TIMESTAMP_NS"
        exact = f"coalesce(try_cast({sql} AS {finer}) = try_cast({value} AS {finer}), true)"
    return f"CASE WHEN {exact} THEN coalesce({value}::VARCHAR, {sql}) ELSE {sql} END"


def load(db: DuckDBPyConnection, file: File, table: str) -> tuple[list[Column], str | None]:
    """Make a view of a file; return its columns and what is irregular, as `tables.read`.

    A text format is parsed once.

    Raises:
        InvalidInput: the file cannot be read as a table.
    """
    path, binary = file.fetch(), format_of(file.path) in ("parquet", "arrow")
    make = "VIEW" if binary else "TABLE"
    _, irregular = read(
        db,
        path,
        lambda source: db.execute(f"CREATE {make} all_{table} AS FROM {source}"),
        name=file.path,
    )
    first = db.sql(f"FROM all_{table} LIMIT 0")
    names = [f"{table[0]}{number}" for number in range(len(first.columns))]
    db.execute(f"CREATE VIEW {table} AS SELECT * FROM all_{table} AS t({', '.join(names)})")
    if binary:
        with path.open("rb") as opened:
            schema, _ = binary_schema(opened, file.path)
    else:
        schema = first.to_arrow_table().schema
    types = [type_name(field.type) for field in schema]
    return list(map(Column, first.columns, types, map(str, first.types), names)), irregular


def pair_by_name(olds: Iterable[Column], news: Iterable[Column]) -> list[Pair]:
    """Return the columns of both tables, in the order of the new one."""
    by_name = {each.name: each for each in olds}
    return [Pair(by_name[each.name], each) for each in news if each.name in by_name]


def pair_by_content(
    db: DuckDBPyConnection,
    olds: Sequence[Column],
    news: Sequence[Column],
    tables: tuple[str, str],
    key: Sequence[str] = (),
) -> list[Pair]:
    """Return columns of the same type and content that have different names.

    Args:
        db: the connection.
        olds: columns that only the old table has.
        news: columns that only the new table has.
        tables: SQL of both tables, with the same number of rows.
        key: arguments of `hash` that tell rows apart; without them, the order of the values is ignored.
    """
    if not olds or not news:
        return []
    contents: list[dict[Column, tuple[object, ...]]] = []
    for columns, table in zip((olds, news), tables, strict=True):
        parts = [", ".join((hashed(each.sql, each.duckdb), *key)) for each in columns]
        sums = ", ".join(
            f"sum(hash({part})), bit_xor(hash({part})), count({each.sql})"
            for part, each in zip(parts, columns, strict=True)
        )
        row = first_row(db, f"SELECT {sums}, count(*) FROM {table}")
        found = {each: (*row[3 * n : 3 * n + 3], row[-1], each.duckdb) for n, each in enumerate(columns)}
        contents.append({each: value for each, value in found.items() if value[2]})  # not only NULL
    pairs = []
    left = contents[1]
    for old, value in contents[0].items():
        new = next((each for each, other in left.items() if other == value), None)
        if new is not None:
            pairs.append(Pair(old, new))
            del left[new]
    return pairs
