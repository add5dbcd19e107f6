"""`dataver head`."""

from typing import Any

import click

from dataver_cli.command import ref_argument, subcommand
from dataver_cli.output import table
from dataver_cli.render_tables import said
from dataver_cli.session import Session

_WIDTH = 40  # characters of a cell


@subcommand(
    "head",
    examples="""
        dataver head shop/prices prices.parquet
        dataver head shop/prices@1.0.1 prices.csv -n 100 --json
    """,
)
@ref_argument()
@click.argument("path")
@click.option("-n", "--rows", type=click.IntRange(1, 10_000), default=10, show_default=True, help="Rows.")
def command(session: Session, ref: str, path: str, rows: int) -> None:
    """Show the first rows of a table of a version.

    Of a large file only its beginning is read. Long values are cut; --json has them whole.
    """
    with said(session):
        found = session.repository().version(ref).head(path, rows)
    names = found.column_names
    columns = [column.to_pylist() for column in found.columns]  # names may occur twice
    cells = [[_cell(value) for value in row] for row in zip(*columns, strict=True)]
    values = [dict(zip(names, map(_json, row), strict=True)) for row in zip(*columns, strict=True)]
    session.out.show(values, table(cells, names, omit=range(len(names) - 1, 0, -1), tell=True))


def _cell(value: object) -> str:
    text = "" if value is None else f"<{len(value)} bytes>" if isinstance(value, bytes) else str(value)
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"


def _json(value: Any) -> Any:
    """Return a value for JSON: times, decimals and bytes as text."""
    if isinstance(value, dict):
        return {str(key): _json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_json(each) for each in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and value - value != 0:  # NaN and infinities
        return None
    return value if isinstance(value, str | int | float | None) else str(value)
