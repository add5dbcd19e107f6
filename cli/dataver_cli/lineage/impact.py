"""`dataver lineage impact`."""

import click

from dataver.documents import run_values, traced_values
from dataver_cli.command import include_option, ref_argument, subcommand
from dataver_cli.output import count, table
from dataver_cli.render_lineage import indented, open_lineage, run_cells, runs_table, traced_name
from dataver_cli.session import Session


@subcommand(
    "impact",
    examples="""
        dataver lineage impact vision/cats@1.0.0
        dataver lineage impact vision/cats@1.0.0 --include 'train/bad/**'   # only the impact of these files
    """,
)
@ref_argument()
@include_option("Only these files are incorrect. Repeatable.")
@click.option(
    "--conservative", is_flag=True, help="Count versions that were produced again from other data as tainted."
)
def command(session: Session, ref: str, include: tuple[str, ...], conservative: bool) -> None:
    """Show which runs and versions are affected if some data is incorrect.

    A version is tainted if it contains the incorrect content under any name, was made from a version that is
    incorrect as a whole, or was produced by a tainted run. A run is tainted if it read the incorrect part of
    a tainted version. A child of a tainted version that was produced from other data only is listed as
    mended, and is not tainted.
    """
    found = open_lineage(session).impact(ref, list(include) or None, conservative=conservative)
    values = {
        "versions": [{**traced_values(each), "reason": reason} for each, reason in found.versions],
        "runs": [
            {**run_values(run), "reason": reason, "certain": certain} for run, reason, certain in found.runs
        ],
        "mended": [{**traced_values(each), "by": run.key} for each, run in found.mended],
    }
    runs = [
        (*run_cells(run), reason + ("" if certain else " (perhaps)")) for run, reason, certain in found.runs
    ]
    lines = [
        *indented(
            "versions", table([(traced_name(each), reason) for each, reason in found.versions]) or ["none"]
        ),
        *indented("runs", runs_table(runs) or ["none known"]),
        *indented(
            "mended", table([(traced_name(each), f"made again by {run.key}") for each, run in found.mended])
        ),
    ]
    session.out.show(values, lines)
    session.out.note(
        f"{count(len(found.versions), 'version')} and {count(len(found.runs), 'run')} are tainted."
    )
