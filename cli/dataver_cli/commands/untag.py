"""`dataver untag`."""

import click

from dataver_cli.command import ref_argument, subcommand
from dataver_cli.session import Session


@subcommand(
    "untag",
    examples="""
        dataver untag vision/cats production
        dataver untag vision/cats@production
    """,
)
@ref_argument("name")
@click.argument("tag", required=False)
@click.option("--force", is_flag=True, help="Remove a protected tag; needs --reason.")
@click.option("--reason", default="", metavar="TEXT", help="Reason, shown by `dataver audit`.")
def command(session: Session, name: str, tag: str | None, *, force: bool, reason: str) -> None:
    """Remove a tag.

    The version and the history of the tag are kept.
    """
    dataset, _, selector = name.partition("@")
    wanted = tag or selector
    if not wanted or (tag and selector):
        raise click.UsageError("one tag is required: dataver untag NAME TAG")
    session.repository().untag(dataset, wanted, force=force, reason=reason)
    session.out.show({"dataset": dataset, "tag": wanted, "removed": True}, [])
    session.out.note(f"Removed the tag {dataset}@{wanted}.")
