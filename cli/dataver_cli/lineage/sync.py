"""`dataver lineage sync`."""

import click

from dataver_cli.command import subcommand
from dataver_cli.output import count
from dataver_cli.session import Session


@subcommand(
    "sync",
    examples="""
        dataver lineage sync
        dataver lineage sync --full                    # read every object again
    """,
)
@click.option(
    "--full", is_flag=True, help="Read all objects, not only those that are newer than the last update."
)
def command(session: Session, full: bool) -> None:
    """Read new lineage from the repository, and send local entries.

    Queries do the same automatically. This command reports the result, and fails if the repository cannot be
    reached.
    """
    with session.progress("Reading lineage", "object") as progress:
        lineage = session.repository().lineage
        report = lineage.sync(full=full, progress=progress)
    session.out.show({**report.values(), "unsent": lineage.unsent}, [])
    if lineage.unsent:
        session.out.warn(f"entries of this machine are not sent yet: {lineage.unsent}")
    session.out.note(f"Read {count(report.events, 'new event')} and {count(report.versions, 'new version')}.")
    session.finish(report.problems, "could not be read")
