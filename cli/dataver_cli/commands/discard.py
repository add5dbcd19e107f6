"""`dataver discard`."""

import sys

import click

from dataver_cli.command import draft_option, subcommand
from dataver_cli.describing import diff_summary
from dataver_cli.session import Session


@subcommand(
    "discard",
    examples="""
        dataver discard
        dataver discard --draft 3fa9 --yes
    """,
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@draft_option
def command(session: Session, yes: bool, draft: str | None) -> None:
    """Delete a draft.

    Asks first, and where nobody can answer wants --yes. What was uploaded stays in the repository.
    """
    target = session.draft(draft)
    what = f"draft {target.id} of {target.dataset} ({target.status_name})"
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError(f"nobody is there to ask about deleting {what}; add --yes")
        if target.status_name != "uploaded":
            click.echo(f"Not uploaded: {diff_summary(target.status())}.", err=True)
        if not click.confirm(f"Delete {what}?", err=True):
            raise click.Abort
    target.discard()
    session.out.show({"draft": target.id, "dataset": target.dataset, "discarded": True}, [])
    session.out.note(f"Deleted {what}.")
