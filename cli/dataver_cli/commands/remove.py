"""`dataver remove`."""

import click

from dataver_cli.command import draft_option, exclude_option, option, plan_option, subcommand
from dataver_cli.output import count
from dataver_cli.session import Session


@subcommand(
    "remove",
    examples="""
        dataver remove train/0001.jpg
        dataver remove 'train/bad/**' '*.tmp'
        dataver remove old-folder
        dataver remove train --exclude '*.csv'
    """,
)
@click.argument("patterns", nargs=-1)
@option("--files", "more", also=["--file", "--include"], multiple=True, hidden=True)
@exclude_option("Keep matching files. Repeatable.")
@plan_option("removed")
@draft_option
def command(
    session: Session,
    patterns: tuple[str, ...],
    more: tuple[str, ...],
    exclude: tuple[str, ...],
    plan: bool,
    draft: str | None,
) -> None:
    """Remove files from the draft.

    PATTERNS are paths inside the draft, folders (with their contents), or globs; quote globs, so that the
    shell does not expand them. A pattern that matches nothing is an error, and then nothing is removed.
    Files on disk are not changed.
    """
    if not (*more, *patterns):
        raise click.UsageError("missing pattern: dataver remove PATTERN …")
    target = session.draft(draft)
    gone = (target.plan_remove if plan else target.remove)(*more, *patterns, exclude=exclude)
    session.out.show(
        {"draft": target.id, "dataset": target.dataset, "removed": gone}, (f"D  {path}" for path in gone)
    )
    done = "Would remove" if plan else "Removed"
    session.out.note(f"{done} {count(len(gone), 'path')} from {target.dataset}.")
