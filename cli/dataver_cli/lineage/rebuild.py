"""`dataver lineage rebuild`."""

from dataver_cli.command import subcommand
from dataver_cli.output import count
from dataver_cli.session import Session


@subcommand("rebuild", examples="dataver lineage rebuild")
def command(session: Session) -> None:
    """Rebuild the local index from the repository.

    Use this if the index is damaged or was deleted. No information is lost, because the repository contains
    all lineage. The old index is replaced when the new one is complete.
    """
    with session.progress("Reading lineage", "object") as progress:
        report = session.repository().lineage.rebuild(progress)
    session.out.show(report.values(), [])
    session.out.note(
        f"The index now contains {count(report.events, 'event')} and {count(report.versions, 'version')}."
    )
    session.finish(report.problems, "could not be read")
