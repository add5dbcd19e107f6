"""`dataver runs`."""

from datetime import UTC, datetime
from typing import Any

import click

from dataver_cli.command import ref_argument, subcommand
from dataver_cli.output import table
from dataver_cli.session import Session
from dataver_cli.tracing import open_lineage, run_cells, run_values


def _moment(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise click.BadParameter(
            "write a date or a time as 2026-11-21 or 2026-11-21T08:00", ctx, param
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@subcommand(
    "runs",
    examples="""
        dataver runs                                   # the latest
        dataver runs vision/cats                       # that touched any version of a dataset
        dataver runs vision/cats@1.0.1 --system mlflow --since 2026-11-01
        dataver runs --outcome failed --user ana --json
    """,
)
@ref_argument(required=False)
@click.option(
    "--system", metavar="NAME", help="Of this tracker or system, such as mlflow, or within slurm:1234."
)
@click.option("--name", metavar="TEXT", help="With TEXT in the name.")
@click.option("--user", metavar="NAME", help="Of this user.")
@click.option("--host", metavar="NAME", help="On this host.")
@click.option("--commit", metavar="HEX", help="Of this git commit, or its beginning.")
@click.option(
    "--outcome",
    type=click.Choice(["finished", "failed", "killed", "open"]),
    help="That ended so, or are open.",
)
@click.option("--since", metavar="TIME", callback=_moment, help="Started then or later (UTC unless it says).")
@click.option("--until", metavar="TIME", callback=_moment, help="Started before.")
@click.option("--all", "everything", is_flag=True, help="Also those that a later run took over.")
@click.option("-n", "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="How many.")
def command(session: Session, ref: str | None, limit: int, **chosen: Any) -> None:
    """List the runs that consumed or produced versions.

    The latest first. REF chooses those linked to a dataset or to one version.
    """
    found = open_lineage(session).runs(version=ref, limit=limit, **chosen)
    header = ("RUN", "NAME", "STARTED", "OUTCOME", "WHO")
    session.out.show([run_values(each) for each in found], table([run_cells(each) for each in found], header))
    if len(found) == limit:
        session.out.note(f"These are the latest {limit}; --limit shows more.")
