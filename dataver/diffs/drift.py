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
_MOST: Final = 200  # columns of a table; planning the query takes time with the square of their number
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
    columns = dict(flat[:_MOST])
    chosen = {n: _value(n, each) for n, each in columns.items()}
    rows = [first_row(db, f"SELECT count(*) FROM {table}")[0] for table in tables]
    if not columns or min(rows) < _LEAST:
        return {}
    picks = ", ".join(
        f"approx_quantile({value}, {_DECILES})" if ordered else f"approx_top_k({value}, {_FREQUENT})"
        for value, ordered in chosen.values()
    )
    picked = first_row(db, f"SELECT {picks} FROM {tables[0]}")
    edges = {n: sorted({*(each or ())}) for n, each in zip(chosen, picked, strict=True)}
    shares = []
    for table in tables:
        tests = [
            f"count(*) FILTER ({value} {'<=' if ordered else '='} $p{n}_{place})"
            for n, (value, ordered) in chosen.items()
            for place in range(len(edges[n]))
        ]
        totals = [f"count({value})" for value, _ in chosen.values()]
        names = {f"p{n}_{place}": edge for n, each in edges.items() for place, edge in enumerate(each)}
        row = first_row(db, f"SELECT count(*), {', '.join(totals + tests)} FROM {table}", names)
        shares.append(_bins(row, chosen, edges))
    return {
        columns[n].new.name: _index(shares[0][n], shares[1][n])
        for n in columns
        if shares[0][n] and sum(shares[0][n]) and sum(shares[1][n])
    }


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
    row: tuple[int, ...], chosen: dict[int, tuple[str, bool]], edges: dict[int, list[float] | list[str]]
) -> dict[int, list[int]]:
    """Return the numbers of rows in the bins of each column; the last two bins: all others, and NULL."""
    rows, totals, counts = row[0], row[1 : 1 + len(chosen)], iter(row[1 + len(chosen) :])
    bins = {}
    for (n, (_, ordered)), total in zip(chosen.items(), totals, strict=True):
        found = [next(counts) for _ in edges[n]]
        if ordered:  # they are cumulative
            found = [high - low for low, high in zip([0, *found], [*found, total], strict=False)][
                : len(found)
            ]
        bins[n] = [*found, total - sum(found), rows - total]
    return bins


def _index(olds: list[int], news: list[int]) -> float:
    before, after = (sum(each) + len(each) / 2 for each in (olds, news))
    shares = [((old + 0.5) / before, (new + 0.5) / after) for old, new in zip(olds, news, strict=True)]
    return math.fsum((new - old) * math.log(new / old) for old, new in shares)
