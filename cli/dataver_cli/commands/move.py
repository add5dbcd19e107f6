"""`dataver move`."""

import click

from dataver_cli.command import draft_option, subcommand
from dataver_cli.output import count
from dataver_cli.session import Session


@subcommand(
    "move",
    examples="""
        dataver move train/0001.jpg test/0001.jpg
        dataver move raw images/raw                   # a folder and its contents
    """,
)
@click.argument("source")
@click.argument("target")
@draft_option
def command(session: Session, source: str, target: str, draft: str | None) -> None:
    """Rename a file or a folder inside the draft.

    No data is read or stored again. An existing target is never overwritten.
    """
    opened = session.draft(draft)
    moved = opened.move(source, target)
    values = {
        "draft": opened.id,
        "dataset": opened.dataset,
        "source": source,
        "target": target,
        "moved": moved,
    }
    session.out.show(values, [])
    session.out.note(f"Moved {count(moved, 'path')} of {opened.dataset}: {source} -> {target}.")
