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
def command(session: Session, name: str, tag: str | None) -> None:
    """Remove a tag.

    Its history stays, and so does the version.
    """
    dataset, _, selector = name.partition("@")
    wanted = tag or selector
    if not wanted or (tag and selector):
        raise click.UsageError("say which tag, once: dataver untag NAME TAG")
    session.repository().untag(dataset, wanted)
    session.out.show({"dataset": dataset, "tag": wanted, "removed": True}, [])
    session.out.note(f"Removed the tag {dataset}@{wanted}.")
