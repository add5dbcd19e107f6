"""`dataver lineage verify`."""

from dataver_cli.command import subcommand
from dataver_cli.output import count
from dataver_cli.session import Session


@subcommand("verify", examples="dataver lineage verify")
def command(session: Session) -> None:
    """Read all lineage of the repository and report what is damaged or missing.

    Events are compared with their checksums, and attachments (uncommitted diffs, lists of packages and of
    files) with the hashes that name them. Nothing is changed.
    """
    from dataver.errors import IntegrityError

    with session.progress("Verifying lineage", "object") as progress:
        found = session.repository().lineage.verify(progress)
    problems = [{"key": key, "reason": reason} for key, reason in found.problems]
    values = {"events": found.events, "attachments": found.attachments, "problems": problems}
    session.out.show(values, [reason for _, reason in found.problems])
    session.out.note(
        f"{count(found.events, 'event')} and {count(found.attachments, 'attachment')} are intact."
    )
    if problems:
        raise IntegrityError(f"{count(len(problems), 'finding')} in the lineage of the repository.")
