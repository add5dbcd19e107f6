"""`dataver lineage rebuild`."""

from dataver_cli.command import subcommand
from dataver_cli.output import count
from dataver_cli.session import Session


@subcommand("rebuild", examples="dataver lineage rebuild")
def command(session: Session) -> None:
    """Make the local index anew from the repository.

    For an index that is damaged, or was deleted: nothing is lost, because the repository holds the truth. The
    old index is replaced when the new one is complete.
    """
    with session.progress("Reading lineage", "object") as progress:
        report = session.repository().lineage.rebuild(progress)
    session.out.show(report.values(), [])
    session.out.note(
        f"The index holds {count(report.events, 'event')} and {count(report.versions, 'version')} now."
    )
    session.finish(report.problems, "could not be read")
