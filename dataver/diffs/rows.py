"""Comparison of the rows of two tables in DuckDB.

The idea: one join by the key finds the rows that differ and writes them to the table `changes` of a temporary
database on disk; all answers come from there. Whole rows are compared by a hash of 128 bits. So memory is
bounded by the connection's limit, however large the tables are.

Columns and tables are numbered in SQL: no name from a file becomes part of a statement.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dataver.diffs.columns import Column, Pair, hashed, load, pair_by_content, pair_by_name
from dataver.errors import InvalidInput
from dataver.tables import first_row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckdb import DuckDBPyConnection

    from dataver.diffs.content import File

__all__ = ["Rows"]

_KEYS: Final = re.compile(r"U?(TINY|SMALL|BIG)INT|U?INTEGER|HUGEINT|VARCHAR|UUID|DATE|TIMESTAMP.*")
_LIKE_A_KEY: Final = re.compile(r"(.*[_\W])?(id|uuid|guid|key)|.*[a-z](Id|ID)", re.IGNORECASE)
_ROW_NUMBER: Final = re.compile(r"(unnamed: 0|index|__index_level_\d+__|column0+|)", re.IGNORECASE)
_UNIQUE: Final = 0.8  # least share of distinct values of a key, whose number is estimated within some percent


class Rows:
    """Two tables, their columns, and the table `changes`.

    In SQL, `a` and `b` are the old and the new table; `xN` in both is the compared value of pair N. In
    `changes`, the columns of both tables have their own names; `op` is added, removed or changed, and `fN`
    whether pair N differs in a changed row.

    Attributes:
        columns: columns of the old and of the new table.
        pairs: columns of both.
        keys: numbers of the pairs that are the key; empty if whole rows are compared.
        total: numbers of rows of the old and the new table.
        irregular: what is irregular in the old and in the new file, or None.
        repeated: numbers of rows whose key occurs more than once in one of the tables.
    """

    def __init__(self, db: DuckDBPyConnection) -> None:
        self.db = db
        self.columns: tuple[list[Column], list[Column]] = ([], [])
        self.pairs: list[Pair] = []
        self.keys: list[int] = []
        self._unique = True
        self.irregular: list[str | None] = [None, None]
        self.total, self.repeated = [0, 0], [0, 0]

    def load(self, file: File, side: int) -> None:
        """Read the old (0) or the new file (1)."""
        table = ("old", "new")[side]
        columns, self.irregular[side] = load(self.db, file, table)
        self.columns[side].extend(columns)
        self.total[side] = self.count(table)

    def pair(self, names: Sequence[str] | None) -> None:
        """Find the columns of both tables, by name and by content, and the key.

        The contents are those of the rows whose key both tables have. Without a key, rows are told apart by
        all their other values, in tables of the same length.

        Args:
            names: columns that are the key; None means one that is unique and not NULL in both tables.

        Raises:
            InvalidInput: a name is not that of a column of both tables.
        """
        self.pairs = pair_by_name(*self.columns)
        self._view()
        self.keys = self._key(names)
        if all(self.unpaired()) and (self.keys or self.total[0] == self.total[1]):
            old, new = "ab"
            if self.keys:
                on = self._same_key("t", "o")
                old, new = (
                    f"(SELECT t.* FROM {one} t SEMI JOIN {two} o ON {on})" for one, two in ("ab", "ba")
                )
            context = [self._hashed[n] for n in self.keys or range(len(self.pairs))]
            self.pairs += pair_by_content(self.db, *self.unpaired(), (old, new), context)
            self._view()
            self.keys = self._key(names)  # it may have been renamed
        both = [pair.new.name for pair in self.pairs]
        for name in names or ():
            if both and name not in both:
                raise InvalidInput(
                    f"'{name}' is not a column of both tables, so it cannot be their key.",
                    hint=f"both have: {', '.join(both[:20])}",
                )
        self._unique = names is None or not self._repeat(self.keys)

    def unpaired(self) -> tuple[list[Column], list[Column]]:
        """Return the columns that only the old and only the new table has."""
        olds, news = ({pair[side] for pair in self.pairs} for side in (0, 1))
        return (
            [each for each in self.columns[0] if each not in olds],
            [each for each in self.columns[1] if each not in news],
        )

    def compare(self) -> None:
        """Make `changes`."""
        flags = "".join(f", false AS f{n}" for n in self.others())
        self.db.execute(
            f"CREATE TABLE changes AS SELECT {self._names()}, '' AS op{flags} FROM old, new LIMIT 0"
        )
        if not self.keys:
            self._add_whole_rows("a", "b")
        elif self._unique:
            self._add_by_key("a", "b")
        else:
            on = self._same_key("t", "r")
            once = [f"(SELECT t.* FROM {view} t ANTI JOIN repeated r ON {on})" for view in "ab"]
            self._add_by_key(*once)
            twice = [f"(SELECT t.* FROM {view} t SEMI JOIN repeated r ON {on})" for view in "ab"]
            self.repeated = [self.count(table) for table in twice]
            self._add_whole_rows(*twice)

    def others(self) -> list[int]:
        """Return the numbers of the pairs that are not in the key."""
        return [n for n in range(len(self.pairs)) if n not in self.keys]

    def count(self, table: str) -> int:
        """Return the number of rows of a table."""
        return int(first_row(self.db, f"SELECT count(*) FROM {table}")[0])

    def _view(self) -> None:
        compared = [pair.compared() for pair in self.pairs]
        for view, table, side in (("a", "old", 0), ("b", "new", 1)):
            values = "".join(f", {each[side]} AS x{n}" for n, each in enumerate(compared))
            self.db.execute(f"CREATE OR REPLACE VIEW {view} AS SELECT *{values} FROM {table}")
        types = self.db.sql("FROM a LIMIT 0").types[len(self.columns[0]) :]
        self._hashed = [hashed(f"x{n}", str(kind)) for n, kind in enumerate(types)]

    def _key(self, names: Sequence[str] | None) -> list[int]:
        by_name = {pair.new.name: n for n, pair in enumerate(self.pairs)}
        return self._find_key() if names is None else [by_name[name] for name in names if name in by_name]

    def _find_key(self) -> list[int]:
        """Return the first column that is unique and not NULL in both tables, one like `id` before others."""
        found = [n for n, (old, new) in enumerate(self.pairs)
                 if old.duckdb == new.duckdb and _KEYS.fullmatch(new.duckdb)]  # fmt: skip
        for view, rows in zip("ab", self.total, strict=True):
            if found:
                counts = ", ".join(f"count(x{n}), approx_count_distinct(x{n})" for n in found)
                values = iter(first_row(self.db, f"SELECT {counts} FROM {view}"))
                kept = zip(found, values, values, strict=True)
                found = [n for n, filled, distinct in kept if filled == rows <= distinct / _UNIQUE]
        ranks = {n: self.pairs[n].new.name for n in found}
        found.sort(
            key=lambda n: (not _LIKE_A_KEY.fullmatch(ranks[n]), bool(_ROW_NUMBER.fullmatch(ranks[n])), n)
        )
        return next(([n] for n in found if not self._repeat([n])), [])

    def _repeat(self, keys: list[int]) -> int:
        """Make the table `repeated` of the keys that occur more than once in a table; return their number."""
        names = ", ".join(f"x{n}" for n in keys)
        if not names:
            return 0
        each = (f"SELECT {names} FROM {view} GROUP BY ALL HAVING count(*) > 1" for view in "ab")
        self.db.execute(f"CREATE OR REPLACE TABLE repeated AS {' UNION '.join(each)}")
        return self.count("repeated")

    def _same_key(self, one: str, other: str) -> str:
        return " AND ".join(f"{one}.x{n} IS NOT DISTINCT FROM {other}.x{n}" for n in self.keys)

    def _names(self, sides: Sequence[int] = (0, 1)) -> str:
        return ", ".join(each.sql for side in sides for each in self.columns[side])

    def _add_by_key(self, old: str, new: str) -> None:
        others = self.others()
        flags = "".join(f", o.x{n} IS DISTINCT FROM n.x{n} AS f{n}" for n in others)
        one, two = (f"row({', '.join(f'{side}.x{n}' for n in others)})" for side in "on")
        differ = f" OR {one} IS DISTINCT FROM {two}" if others else ""
        op = "CASE WHEN there IS NULL THEN 'removed' WHEN here IS NULL THEN 'added' ELSE 'changed' END AS op"
        self.db.execute(
            f"INSERT INTO changes BY NAME SELECT {self._names()}, {op}{flags} "
            f"FROM (SELECT *, true AS here FROM {old}) o FULL JOIN (SELECT *, true AS there FROM {new}) n "
            f"ON {self._same_key('o', 'n')} WHERE here IS NULL OR there IS NULL{differ}"
        )

    def _add_whole_rows(self, old: str, new: str) -> None:
        high, low = f"hash({', '.join(self._hashed)})", f"hash(1, {', '.join(reversed(self._hashed))})"
        row = f"{high}::UHUGEINT * {1 << 64} + {low}"
        self.db.execute(
            f"CREATE TABLE sums AS SELECT h, sum(d)::BIGINT AS d FROM (SELECT {row} AS h, -1 AS d FROM {old} "
            f"UNION ALL SELECT {row}, 1 FROM {new}) GROUP BY h HAVING sum(d) <> 0"
        )
        for side, (table, sign, op) in enumerate(((old, "<", "removed"), (new, ">", "added"))):
            self.db.execute(
                f"INSERT INTO changes BY NAME SELECT {self._names([side])}, '{op}' AS op "
                f"FROM (SELECT *, {row} AS h FROM {table}) JOIN sums USING (h) WHERE d {sign} 0 "
                "QUALIFY row_number() OVER (PARTITION BY h) <= abs(d)"
            )
