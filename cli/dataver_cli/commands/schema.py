"""`dataver schema`."""

import click

from dataver_cli.command import ref_argument, subcommand
from dataver_cli.output import table
from dataver_cli.render_tables import said, tables_with
from dataver_cli.session import Session


@subcommand(
    "schema",
    examples="""
        dataver schema shop/prices prices.parquet
        dataver schema shop/prices@1.0.1            # of all its tables that have profiles
        dataver schema shop/prices prices.csv --json
    """,
)
@ref_argument()
@click.argument("path", required=False)
def command(session: Session, ref: str, path: str | None) -> None:
    """Show the columns of a table of a version.

    Tables are CSV, TSV, JSON lines, Parquet and Arrow files. Columns come from the table's profile; without
    one, from its footer or its first lines. Types have the names of Arrow.
    """
    version = session.repository().version(ref)
    if path is not None:
        with said(session):
            columns = [column._asdict() for column in version.schema(path)]
        rows = [(each["name"], each["type"], "" if each["nullable"] else "not null") for each in columns]
        session.out.show({"path": path, "columns": columns}, table(rows, ("COLUMN", "TYPE", "")))
        return
    found, summary = tables_with(version, "columns", "a profile")
    values = [{"path": name, "columns": profile["columns"]} for name, profile in found]
    lines = [
        (name, each["name"], each["type"], "" if each["nullable"] else "not null")
        for name, profile in found
        for each in profile["columns"]
    ]
    session.out.show(values, table(lines, ("TABLE", "COLUMN", "TYPE", "")) if lines else [])
    session.out.note(summary)
