"""`dataver stats`."""

import click

from dataver_cli.command import ref_argument, subcommand
from dataver_cli.output import count
from dataver_cli.render_tables import said, statistics_lines, tables_with
from dataver_cli.session import Session


@subcommand(
    "stats",
    examples="""
        dataver stats shop/prices prices.parquet
        dataver stats shop/prices@1.0.1             # of all its tables that have full profiles
        dataver stats shop/prices prices.csv --json
    """,
)
@ref_argument()
@click.argument("path", required=False)
def command(session: Session, ref: str, path: str | None) -> None:
    """Show the statistics of a table's columns.

    Numbers have missing values, range, mean, median and standard deviation; texts those of their lengths;
    labels their counts. They come from the table's full profile, which `dataver profile` stores; without one,
    the table is fetched and read. With --json the result is the document of Hugging Face's dataset viewer,
    with histograms.
    """
    version = session.repository().version(ref)
    if path is not None:
        with said(session):
            document = version.statistics(path)
        session.out.show(document, statistics_lines([(None, document)]))
        part = " of its first rows, or some of its columns" if document["partial"] else ""
        session.out.note(f"'{path}' in {version.ref}: {count(document['num_examples'], 'row')}{part}.")
        return
    found, summary = tables_with(version, "statistics", "a full profile")
    values = [{"path": name, **profile["statistics"]} for name, profile in found]
    session.out.show(values, statistics_lines((name, profile["statistics"]) for name, profile in found))
    session.out.note(summary)
