"""`dataver restore`."""

from typing import Any

import click

from dataver_cli.command import bump_option, option, ref_argument, subcommand
from dataver_cli.output import count, size
from dataver_cli.render import upload_values
from dataver_cli.session import Session


@subcommand(
    "restore",
    examples="""
        dataver restore vision/cats@1.0.0
        dataver restore vision/cats@1.0.0 -m "July was wrong" --tag production
    """,
)
@ref_argument()
@click.option("-m", "--message", default="", help="Message of the new version; the name of REF is added.")
@option("--label", also=["--version"], help="Label. Default: the next free one.")
@bump_option
@option("--tag", also=["--tags"], multiple=True, help="Tag to move to the new version. Repeatable.")
def command(session: Session, ref: str, tag: tuple[str, ...], **how: Any) -> None:
    """Publish the content of an older version as the latest version.

    The new version is a child of the latest one and has the content and the metadata of REF. No data is
    transferred, and no version is deleted. If the latest version has this content already, no version is
    made.
    """
    repository = session.repository()
    source = repository.version(ref)
    session.check_tags(repository, source.dataset, tag)
    report = source.restore(**how)
    version = report.version
    tagged = session.tag(repository, version, tag)
    session.out.show({"restored": source.ref, **upload_values(report)}, [f"{version.ref}  {version.digest}"])
    if report.already:
        session.out.note(f"Nothing changed: {version.ref} has the content of {source.ref} already.")
    else:
        held = f"{count(version.file_count, 'file')}, {size(version.size)}"
        session.out.note(
            f"Restored {source.ref} as {version.ref} in {repository.url}: {held}, none transferred."
        )
    for note in tagged:
        session.out.note(note)
