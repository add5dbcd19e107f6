"""Drift of the distribution of a column: the population stability index (PSI).

    PSI = sum over bins of (q - p) * ln(q / p)

where p and q are the shares of a bin in the old and in the new table. The bins of numbers and times are the
deciles of the old values. Those of other types are the 20 most frequent old values, and one bin for all
others. NULL and NaN have a bin of their own. Half a row is added to each bin, so that no share is zero.

By convention, a distribution is stable below 0.1 and has changed from 0.25 on: N. Siddiqi, Credit Risk
Scorecards (2006). For n and m rows of the same distribution in B bins, the index is about
(B - 1) * (1/n + 1/m): B. Yurdakul, Statistical Properties of Population Stability Index (2018). Tables of
less than 200 rows have no index, since chance alone would make it 0.1.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from dataver.diffs.columns import NUMBERS, TIMES, Pair
from dataver.tables import first_row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckdb import DuckDBPyConnection

__all__ = ["stability"]

_DECILES: Final = [number / 10 for number in range(1, 10)]
_FREQUENT: Final = 20
_LEAST: Final = 200  # rows of each table
_MOST: Final = 200  # columns of a table
_NESTED: Final = ("[", "STRUCT", "MAP", "UNION", "BLOB", "VARIANT", "GEOMETRY")


def stability(db: DuckDBPyConnection, pairs: Sequence[Pair], tables: tuple[str, str]) -> dict[str, float]:
    """Return the population stability index of the first 200 columns of plain types, by their new names.

    Without an index for any column if a table has less than 200 rows.

    Args:
        db: the connection.
        pairs: the columns.
        tables: names of the old and the new table, with the compared value of pair N as `xN`.
    """
    flat = [(n, each) for n, each in enumerate(pairs) if not any(k in each.new.duckdb for k in _NESTED)]
    if min(first_row(db, f"SELECT count(*) FROM {table}")[0] for table in tables) < _LEAST:
        return {}
    found = {}
    for n, pair in flat[:_MOST]:
        value, ordered = _value(n, pair)
        pick = f"approx_quantile({value}, {_DECILES})" if ordered else f"approx_top_k({value}, {_FREQUENT})"
        (picked,) = first_row(db, f"SELECT {pick} FROM {tables[0]}")
        edges = sorted(set(picked or ()))
        olds, news = (_bins(db, table, value, edges, ordered=ordered) for table in tables)
        found[pair.new.name] = _index(olds, news)
    return found


def _value(number: int, pair: Pair) -> tuple[str, bool]:
    """Return SQL of the value that is put into bins, and whether the values are ordered."""
    value = f"x{number}"
    types = {pair.old.duckdb, pair.new.duckdb}
    if all(NUMBERS.fullmatch(each) for each in types):
        return f"nullif({value}::DOUBLE, 'nan'::DOUBLE)", True
    if all(TIMES.fullmatch(each) for each in types):
        return f"epoch(try_cast({value} AS TIMESTAMP))", True
    return f"{value}::VARCHAR", False


def _bins(
    db: DuckDBPyConnection, table: str, value: str, edges: Sequence[float | str], *, ordered: bool
) -> list[int]:
    """Return the numbers of rows in the bins of a column; the last two: all others, and NULL."""
    sign = "<=" if ordered else "="
    tests = "".join(f", count(*) FILTER (v {sign} ${at})" for at in range(1, len(edges) + 1))
    query = f"SELECT count(*), count(v){tests} FROM (SELECT {value} AS v FROM {table})"
    rows, total, *found = first_row(db, query, edges)
    if ordered:  # they are cumulative
        found = [high - low for low, high in pairwise([0, *found])]
    return [*found, total - sum(found), rows - total]


def _index(olds: list[int], news: list[int]) -> float:
    before, after = (sum(each) + len(each) / 2 for each in (olds, news))
    shares = [((old + 0.5) / before, (new + 0.5) / after) for old, new in zip(olds, news, strict=True)]
    return math.fsum((new - old) * math.log(new / old) for old, new in shares)
