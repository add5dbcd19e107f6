"""Differences between tables, by row and column. Needs `dataver[tables]`."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final
from weakref import finalize

from dataver.diffs.content import BytesDiff, ContentDiff, File, broken, finite
from dataver.diffs.drift import stability
from dataver.diffs.rows import Rows
from dataver.errors import InvalidInput
from dataver.extras import require_extra
from dataver.printable import count
from dataver.tables import MEMORY, connect, first_row

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

# Imports in functions: DuckDB and pyarrow are optional.

__all__ = ["TableDiff", "compare_tables"]

_SORTED: Final = 16  # columns by which rows without a key are sorted


class TableDiff(ContentDiff):
    """Difference between two tables.

    NULL equals NULL and NaN equals NaN. The order of the rows and of the columns is ignored. The rows are in
    temporary files, which are deleted by `close`, at the end of a `with` statement, or with the object.

    Attributes:
        rows: numbers of rows: `old`, `new`, `added`, `removed`, `changed` and `equal`. Without a key, a row
            that changed counts as removed and as added.
        cells: number of changed values by column; only columns with changes.
        key: names of the columns that identify a row; empty if whole rows are compared.
        key_found: the key was not given: it is a column that is unique and not NULL in both tables.
        repeated: numbers of rows in `old` and `new` whose key occurs more than once in one of the tables.
            They are compared as whole rows.
        irregular: what is irregular in the files `old` and `new`, such as lines that were left out; or None.
            The difference is true then, since not all was compared.
        columns_added: columns that only the new table has, as a name and Arrow's name of the type.
        columns_dropped: columns that only the old table has, likewise.
        columns_renamed: columns of equal content, as the old and the new name.
        columns_retyped: columns as the name, the old and the new type.
    """

    kind = "table"

    def __init__(self, found: Rows, closing: ExitStack, *, key_found: bool) -> None:
        self._found, self._pairs = found, found.pairs
        self._close = finalize(self, closing.close)
        sides = ("old", "new")
        self.repeated = dict(zip(sides, found.repeated, strict=True))
        self.irregular = dict(zip(sides, found.irregular, strict=True))
        self.key = tuple(self._pairs[n].new.name for n in found.keys)
        self.key_found = key_found and bool(self.key)
        self.columns_dropped, self.columns_added = (
            [(each.name, each.type) for each in columns] for columns in found.unpaired()
        )
        self.columns_renamed = [(old.name, new.name) for old, new in self._pairs if old.name != new.name]
        self.columns_retyped = [
            (new.name, old.type, new.type) for old, new in self._pairs if old.type != new.type
        ]
        counts = dict(found.db.execute("SELECT op, count(*) FROM changes GROUP BY op").fetchall())
        self.rows = dict(zip(sides, found.total, strict=True))
        self.rows |= {kind: counts.get(kind, 0) for kind in ("added", "removed", "changed")}
        self.rows["equal"] = self.rows["new"] - self.rows["added"] - self.rows["changed"]
        cells = ", ".join(["count(*)", *(f"count_if(f{n})" for n in found.others())])
        row = first_row(found.db, f"SELECT {cells} FROM changes WHERE op = 'changed'")
        numbered = zip(found.others(), row[1:], strict=True)
        self.cells = {self._pairs[n].new.name: count for n, count in numbered if count}

    def close(self) -> None:
        """Delete the temporary files. The rows and the drift cannot be read afterwards."""
        self._close()

    def __bool__(self) -> bool:
        rows = (self.rows[kind] for kind in ("added", "removed", "changed"))
        return any(rows) or any(self._columns().values()) or any(self.irregular.values())

    @cached_property
    def drift(self) -> dict[str, float]:
        """Population stability index of the first 200 columns, without the key; see `dataver.diffs.drift`."""
        with _asking():
            found = stability(self._found.db, self._pairs, ("a", "b"))
        return {name: value for name, value in found.items() if name not in self.key}

    def added(self, limit: int | None = None) -> pa.Table:
        """Return the rows that only the new table has, sorted by the key."""
        return self._rows("added", [(each.name, each.sql) for each in self._found.columns[1]], limit)

    def removed(self, limit: int | None = None) -> pa.Table:
        """Return the rows that only the old table has, sorted by the key."""
        return self._rows("removed", [(each.name, each.sql) for each in self._found.columns[0]], limit)

    def changed(self, limit: int | None = None) -> pa.Table:
        """Return the changed rows, sorted by the key.

        The columns are those of the new table, with `old.NAME` and `new.NAME` in place of a column of which
        values changed.
        """
        olds = {new: old for old, new in self._pairs if new.name in self.cells}
        columns: list[tuple[str, str]] = []
        for new in self._found.columns[1]:
            old = olds.get(new)
            columns += [(f"old.{new.name}", old.sql)] if old else []
            columns += [(f"new.{new.name}" if old else new.name, new.sql)]
        return self._rows("changed", columns, limit)

    def summary(self) -> str:
        """Return the numbers of rows and of columns that differ."""
        kinds = [kind for kind in ("changed", "added", "removed") if self.rows[kind]]
        rows = [
            f"{self.rows[kind]:,} {kind}" if n else f"{count(self.rows[kind], 'row')} {kind}"
            for n, kind in enumerate(kinds)
        ]
        columns = [
            f"{count(len(found), 'column')} {kind}" for kind, found in self._columns().items() if found
        ]
        same = "the same rows, but a file is irregular" if any(self.irregular.values()) else "the same rows"
        return ", ".join([*rows, *columns]) or same

    def values(self, limit: int | None = None) -> dict[str, Any]:
        """Return the counts and the drift, and at most `limit` rows of each kind, as JSON values."""
        names = {"added": ("name", "type"), "dropped": ("name", "type"), "renamed": ("old", "new")}
        retyped = ("name", "old", "new")
        return {
            "rows": self.rows,
            "key": list(self.key),
            "key_found": self.key_found,
            "repeated_keys": self.repeated,
            "irregular": self.irregular,
            "columns": {
                kind: [dict(zip(names.get(kind, retyped), each, strict=True)) for each in found]
                for kind, found in self._columns().items()
            },
            "cells": self.cells,
            "drift": {name: round(value, 6) for name, value in self.drift.items()},
            "added": self._plain(self.added(limit)),
            "removed": self._plain(self.removed(limit)),
            "changed": list(self._changes(limit)),
        }

    def _columns(self) -> dict[str, Sequence[tuple[str, ...]]]:
        return {
            "added": self.columns_added,
            "dropped": self.columns_dropped,
            "renamed": self.columns_renamed,
            "retyped": self.columns_retyped,
        }

    def _changes(self, limit: int | None) -> Iterator[dict[str, Any]]:
        """Yield the changed rows as JSON values: the key, the changed cells, and the rest of the row."""
        olds = {new: (n, old) for n, (old, new) in enumerate(self._pairs) if new.name in self.cells}
        names = [column.sql for column in self._found.columns[1]]
        names += [name for n, old in olds.values() for name in (old.sql, f"f{n}")]
        for values in self._plain(self._rows("changed", [(name, name) for name in names], limit)):
            row = {part: dict[str, Any]() for part in ("key", "cells", "row")}
            for new in self._found.columns[1]:
                n, old = olds.get(new, (None, new))
                if n is not None and values[f"f{n}"]:
                    row["cells"][new.name] = {"old": values[old.sql], "new": values[new.sql]}
                else:
                    row["key" if new.name in self.key else "row"][new.name] = values[new.sql]
            yield row

    def _plain(self, rows: pa.Table) -> list[dict[str, Any]]:
        """Return rows as JSON values; columns with times that Python cannot represent are text."""
        import pyarrow as pa

        columns = []
        for each in rows.columns:
            try:
                columns.append(each.to_pylist())
            except (OverflowError, ValueError):
                texts = self._found.db.from_arrow(pa.table([each], ["c"])).project("c::VARCHAR")
                columns.append([text for (text,) in texts.fetchall()])
        return [
            dict(zip(rows.column_names, finite(list(row)), strict=True)) for row in zip(*columns, strict=True)
        ]

    def _rows(self, kind: str, columns: list[tuple[str, str]], limit: int | None) -> pa.Table:
        side, keys = 0 if kind == "removed" else 1, self._found.keys or range(len(self._pairs))
        order = ", ".join(self._pairs[n][side].sql for n in keys[:_SORTED])
        names = ", ".join(sql for _, sql in columns) or "NULL"
        query = f"SELECT {names} FROM changes WHERE op = '{kind}' ORDER BY {order}"
        with _asking():
            found = self._found.db.sql(query + ("" if limit is None else f" LIMIT {limit}")).to_arrow_table()
        return found.rename_columns([name for name, _ in columns]) if columns else found


def compare_tables(
    old: File, new: File, key: str | Sequence[str] | None = None, *, memory: int = MEMORY
) -> TableDiff | BytesDiff:
    """Return the difference between two tables, whose names end with the suffix of one.

    Args:
        old: the old file.
        new: the new file.
        key: names of the columns that identify a row; () compares whole rows. None means the first column
            that is unique and not NULL in both, one with a name like `id` before others, else whole rows.
        memory: limit in bytes.

    Raises:
        InvalidInput: DuckDB or pyarrow is not installed, a file is not a table, or the key is not a column of
            both.
    """
    require_extra("tables", "the difference of tables")
    files = (old, new)
    with ExitStack() as closing:
        found = Rows(closing.enter_context(connect(*(each.fetch() for each in files), memory=memory)))
        for side, file in enumerate(files):
            try:
                found.load(file, side)
            except (InvalidInput, OSError, ValueError) as error:  # the last two are of pyarrow, too
                raise broken(file, "a table", error) from error
        with _asking():
            found.pair((key,) if isinstance(key, str) else key)
            if not found.pairs:
                return BytesDiff(old, new, "tables without a common column, not compared")
            found.compare()
            return TableDiff(found, closing.pop_all(), key_found=key is None)


@contextmanager
def _asking() -> Iterator[None]:
    import duckdb

    try:
        yield
    except duckdb.Error as error:  # such as a value that is larger than the limit of memory
        raise InvalidInput(f"The tables cannot be compared: {str(error).splitlines()[0]}") from error
