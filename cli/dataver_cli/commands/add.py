"""`dataver add`."""

import shutil
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from dataver_cli.command import draft_option, option, spool_option, subcommand, upload_option
from dataver_cli.describing import add_line, add_values
from dataver_cli.output import duration, size
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver import Draft


@subcommand(
    "add",
    examples="""
        dataver add photos/ --dest train              # the folder's contents, below train/
        dataver add labels.csv README.md
        dataver add photos/ --include '*.jpg' --exclude 'drafts/'
        dataver add scans/ --upload                   # sent meanwhile: needs no room for a copy here
        pg_dump shop | dataver add - --as dump.sql    # what comes in on standard input
    """,
)
@click.argument("sources", nargs=-1, type=click.Path())
@option("--dest", also=["--dataset-folder"], default="", metavar="FOLDER", help="Folder inside the version.")
@option(
    "--include", also=["--wildcard"], multiple=True, metavar="PATTERN", help="Only what matches. Repeatable."
)
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Leave out what matches. Repeatable.")
@click.option("--as", "named", metavar="PATH", help="Where standard input, given as -, goes in the version.")
@click.option("--follow-links", is_flag=True, help="Store what symlinks point to, instead of the links.")
@option("--files", "more", also=["--file"], multiple=True, type=click.Path(), hidden=True)
@upload_option
@spool_option
@draft_option
def command(
    session: Session,
    sources: tuple[str, ...],
    more: tuple[str, ...],
    upload: bool,
    spool: int | None,
    draft: str | None,
    named: str | None,
    **how: Any,
) -> None:
    """Add files and folders to the draft.

    What the sources hold now is safe when this returns: later edits change nothing. Patterns are those of
    .gitignore, and a .dataverignore in a folder is obeyed. What cannot be added is listed, and the exit code
    is 3.

    With --upload the draft sends its packs while it takes files, now and later; the version appears when
    `dataver upload` publishes it. Interrupted, the same command continues.
    """
    if not (*more, *sources):
        raise click.UsageError("say what to add: dataver add FILE_OR_FOLDER …")
    alone = (*more, *sources) == ("-",) and named is not None and not any(how.values())
    if not alone and (named is not None or "-" in (*more, *sources)):
        raise click.UsageError("standard input is one file, and goes by itself: dataver add - --as PATH")
    target = session.draft(draft)
    session.stream(target, upload=upload, spool=spool)
    if named is not None:
        _take_input(session, target, named)
        return
    with session.progress("Adding", fresh="new") as progress:
        report = target.add(*more, *sources, progress=progress, **how)
    session.out.show({"draft": target.id, "dataset": target.dataset, **add_values(report)}, [])
    session.out.note(f"Added to {target.dataset}: {add_line(report)}, {duration(report.seconds)}.")
    session.finish(report.problems, "could not be added")


def _take_input(session: Session, target: "Draft", path: str) -> None:
    """Write standard input into the draft; nothing of it is there if it breaks off."""
    began = time.perf_counter()
    with target.open(path, "wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
        taken = file.tell()
    seconds = time.perf_counter() - began
    values = {"draft": target.id, "dataset": target.dataset, "path": path, "size": taken, "seconds": seconds}
    session.out.show(values, [])
    session.out.note(f"Added to {target.dataset}: {path} ({size(taken)}), {duration(seconds)}.")
