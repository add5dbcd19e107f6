"""`dataver cat`."""

import sys

import click

from dataver_cli.command import ref_argument, subcommand
from dataver_cli.session import Session


@subcommand(
    "cat",
    examples="""
        dataver cat vision/cats@1.0.1 labels.csv
        dataver cat vision/cats labels.csv | head
    """,
    as_json=False,
)
@ref_argument()
@click.argument("paths", nargs=-1, required=True)
def command(session: Session, ref: str, paths: tuple[str, ...]) -> None:
    """Write files of a version to standard output.

    Every block of bytes is verified before it is written, and the digest of the whole file before the last
    one.
    """
    version = session.repository().version(ref)
    for path in paths:
        version.entry(path)  # a missing path ends the command before any byte is written
    for path in paths:
        for piece in version.chunks(path):
            sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
