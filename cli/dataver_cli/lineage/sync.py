"""`dataver lineage sync`."""

import click

from dataver_cli.command import subcommand
from dataver_cli.output import count
from dataver_cli.session import Session


@subcommand(
    "sync",
    examples="""
        dataver lineage sync
        dataver lineage sync --full                    # look at every object again
    """,
)
@click.option(
    "--full", is_flag=True, help="Look at every object, not only at what is newer than the last look."
)
def command(session: Session, full: bool) -> None:
    """Bring what others wrote, and send what waits here.

    Questions do the same by themselves; this one reports it, and fails where the repository cannot be
    reached.
    """
    with session.progress("Reading lineage", "object") as progress:
        lineage = session.repository().lineage
        report = lineage.sync(full=full, progress=progress)
    session.out.show({**report.values(), "unsent": lineage.unsent}, [])
    if lineage.unsent:
        session.out.warn(f"notes of this machine still wait: {lineage.unsent}")
    session.out.note(f"{count(report.events, 'event')} and {count(report.versions, 'version')} are new.")
    session.finish(report.problems, "could not be read")
