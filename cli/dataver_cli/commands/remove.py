"""`dataver remove`."""

import click

from dataver_cli.command import draft_option, option, subcommand
from dataver_cli.output import count
from dataver_cli.session import Session


@subcommand(
    "remove",
    examples="""
        dataver remove train/0001.jpg
        dataver remove 'train/bad/**' '*.tmp'
        dataver remove old-folder
    """,
)
@click.argument("patterns", nargs=-1)
@option("--files", "more", also=["--file"], multiple=True, hidden=True)
@draft_option
def command(session: Session, patterns: tuple[str, ...], more: tuple[str, ...], draft: str | None) -> None:
    """Take files out of the draft.

    PATTERNS are paths inside the draft, folders (with all below them), or globs; quote globs, so that the
    shell leaves them alone. A pattern that matches nothing is an error, and then nothing is removed. Files on
    disk stay.
    """
    if not (*more, *patterns):
        raise click.UsageError("say what to remove: dataver remove PATTERN …")
    target = session.draft(draft)
    gone = target.remove(*more, *patterns)
    session.out.show(
        {"draft": target.id, "dataset": target.dataset, "removed": gone}, (f"D  {path}" for path in gone)
    )
    session.out.note(f"Removed {count(len(gone), 'path')} from {target.dataset}.")
