"""`dataver audit`."""

from datetime import datetime
from typing import TYPE_CHECKING

from dataver_cli.command import ref_argument, subcommand, time_option
from dataver_cli.output import table, when
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver.repository.audit import Change


@subcommand(
    "audit",
    examples="""
        dataver audit                             # the whole repository
        dataver audit vision/cats                 # one dataset, also a deleted one
        dataver audit --since 30d --json
    """,
)
@ref_argument("name", required=False)
@time_option("--since", help="Changes at TIME or later: 2026-11-21, 2026-11-21T08:00 (UTC) or 30d ago.")
def command(session: Session, name: str | None, since: datetime | None) -> None:
    """Show who published, tagged and deleted versions, and when.

    The oldest change is listed first. Times are those of the store, which writers cannot choose; of versions
    that were deleted, and in a store that states no times, they are those of the author's machine. In a copy
    of a repository they are the times of copying; --json has both. Authors are names that writers choose
    (DATAVER_AUTHOR, else the login name).
    """
    from dataver.repository.audit import read_audit

    found = read_audit(session.repository()._core, name, since=since)
    session.out.show(
        [
            {
                "action": each.action,
                "dataset": each.dataset,
                "label": each.label,
                "tag": each.tag,
                "author": each.author,
                "time": each.when.isoformat(),
                "recorded": each.recorded.isoformat(),
                "stored": each.stored.isoformat() if each.stored else None,
                "text": each.text,
                "protected": each.protected,
            }
            for each in found.changes
        ],
        table([_row(each) for each in found.changes], ["TIME", "AUTHOR", "ACTION", "NAME", "DETAIL"]),
    )
    session.finish(found.problems, "could not be read")


def _row(change: "Change") -> list[str]:
    detail = (change.text.splitlines() or [""])[0]
    if change.action == "tag":
        state = f"{change.label}, protected" if change.protected else str(change.label)
        detail = f"{state}: {detail}" if detail else state
    return [when(change.when), change.author, change.action, change.name, detail]
