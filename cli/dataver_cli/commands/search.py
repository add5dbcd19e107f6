"""`dataver search`."""

from collections import Counter
from typing import Any

import click

from dataver_cli.command import subcommand
from dataver_cli.output import count, table
from dataver_cli.session import Session

_KIND = {"path": "path", "column": "column"}  # of results; -n limits each


@subcommand(
    "search",
    examples="""
        dataver search july photos
        dataver search camera --prefix vision/
        dataver search 0042.jpg
    """,
)
@click.argument("words", nargs=-1, required=True)
@click.option("--prefix", default="", metavar="NAME", help="Only datasets whose name starts with NAME.")
@click.option(
    "--files/--no-files",
    default=True,
    help="Search paths and columns, too; the first time, this reads the tree of every version.",
)
@click.option(
    "-n", "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Results of each kind."
)
def command(session: Session, words: tuple[str, ...], **how: Any) -> None:
    """Find versions and files by words.

    Searches names, messages, descriptions, metadata and readmes, the best results first, then the paths of
    files and the columns of tables that have profiles. All words must match, each also as the beginning of a
    word. A file is listed with the latest version that has it.
    """
    repository = session.repository()
    with session.progress("Reading", "version") as progress:
        hits = repository.search(" ".join(words), progress=progress, **how)
    rows = [(each.ref, each.field, each.text) for each in hits]
    session.out.show(
        [each._asdict() for each in hits], table(rows, ("VERSION", "FOUND IN", "TEXT")) if rows else []
    )
    if not rows:
        session.out.note(f"Nothing in {repository.url} matches {' '.join(words)}.")
    elif how["limit"] in Counter(_KIND.get(each.field, "text") for each in hits).values():
        session.out.note(f"{count(len(rows), 'result')}; -n may show more.")
