"""`dataver runs`."""

from typing import Any

import click

from dataver.documents import run_values
from dataver_cli.command import ref_argument, subcommand, time_option
from dataver_cli.render_lineage import open_lineage, run_cells, runs_table
from dataver_cli.session import Session


@subcommand(
    "runs",
    examples="""
        dataver runs                                   # the latest runs
        dataver runs vision/cats                       # runs linked to any version of a dataset
        dataver runs vision/cats@1.0.1 --system mlflow --since 2026-11-01
        dataver runs --outcome failed --user ana --json
    """,
)
@ref_argument(required=False)
@click.option("--system", metavar="NAME", help="Runs of this system, such as mlflow, or within slurm:1234.")
@click.option("--name", metavar="TEXT", help="Runs with TEXT in their name.")
@click.option("--user", metavar="NAME", help="Runs of this user.")
@click.option("--host", metavar="NAME", help="Runs on this host.")
@click.option("--commit", metavar="HEX", help="Runs of this git commit, or of one that begins so.")
@click.option(
    "--outcome",
    type=click.Choice(["finished", "failed", "killed", "open"]),
    help="Runs with this outcome; open runs have not ended.",
)
@time_option("--since", help="Started at TIME or later: 2026-11-21, 2026-11-21T08:00 (UTC) or 30d ago.")
@time_option("--until", help="Started before TIME.")
@click.option("--all", "everything", is_flag=True, help="Include runs that were merged into a later run.")
@click.option(
    "-n", "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Number of runs."
)
def command(session: Session, ref: str | None, limit: int, **chosen: Any) -> None:
    """List the runs that consumed or produced versions.

    The newest runs are listed first. With REF, lists only the runs linked to a dataset or to one version.
    """
    found = open_lineage(session).runs(version=ref, limit=limit, **chosen)
    header = ("RUN", "NAME", "STARTED", "OUTCOME", "WHO")
    session.out.show(
        [run_values(each) for each in found],
        runs_table([run_cells(each) for each in found], header, margin=0),
    )
    if len(found) == limit:
        session.out.note(f"These are the latest {limit}; --limit shows more.")
