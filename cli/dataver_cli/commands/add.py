"""`dataver add`."""

import shutil
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from dataver_cli.command import (
    draft_option,
    exclude_option,
    include_option,
    option,
    plan_option,
    spool_option,
    subcommand,
    upload_option,
    workers_option,
)
from dataver_cli.output import duration, size
from dataver_cli.planning import show_add_plan
from dataver_cli.render import add_line, add_values
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver import Draft


@subcommand(
    "add",
    examples="""
        dataver add photos/ --dest train              # the folder's contents, below train/
        dataver add labels.csv README.md
        dataver add photos/ --include '*.jpg' --exclude 'drafts/'
        dataver add scans/ --upload                   # uploaded while added: needs no space for a copy
        pg_dump shop | dataver add - --as dump.sql    # from standard input
    """,
)
@click.argument("sources", nargs=-1, type=click.Path())
@option("--dest", also=["--dataset-folder"], default="", metavar="FOLDER", help="Folder inside the version.")
@include_option("Only matching files. Repeatable.")
@exclude_option("Omit matching files. Repeatable.")
@click.option("--as", "named", metavar="PATH", help="Path in the version for standard input (given as -).")
@click.option("--follow-links", is_flag=True, help="Store the targets of symlinks instead of the links.")
@click.option("--no-default-ignore", is_flag=True, help="Also add .dvc, __pycache__ and similar folders.")
@click.option("--checksum", is_flag=True, help="Read every file, also files that appear unchanged.")
@workers_option
@option("--files", "more", also=["--file"], multiple=True, type=click.Path(), hidden=True)
@plan_option("added and read")
@upload_option
@spool_option
@draft_option
def command(
    session: Session,
    sources: tuple[str, ...],
    more: tuple[str, ...],
    *,
    plan: bool,
    upload: bool,
    spool: int | None,
    draft: str | None,
    named: str | None,
    workers: int | None,
    **how: Any,
) -> None:
    """Add files and folders to the draft.

    Added files are safe when this command ends: later changes of the sources have no effect. Patterns work as
    in .gitignore, and a .dataverignore in a folder is applied. .dvc, __pycache__, .ipynb_checkpoints and
    .DS_Store are omitted unless it includes them; .git, repositories and the cache are always omitted. Files
    that cannot be added are listed, and the exit code is 3.

    With --upload, the draft uploads its packs while files are added, now and later. The version becomes
    visible when `dataver upload` publishes it. An interrupted command continues when it is repeated.
    """
    if not (*more, *sources):
        raise click.UsageError("missing source: dataver add FILE_OR_FOLDER …")
    alone = (*more, *sources) == ("-",) and named is not None and not any(how.values())
    if not alone and (named is not None or "-" in (*more, *sources)):
        raise click.UsageError("standard input must be the only source: dataver add - --as PATH")
    how["default_ignore"] = not how.pop("no_default_ignore")
    target = session.draft(draft)
    if plan:
        if named is not None:
            raise click.UsageError("--plan cannot read standard input")
        show_add_plan(session, target.plan_add(*more, *sources, **how), f"the draft of {target.dataset}")
        return
    session.stream(target, upload=upload, spool=spool)
    if named is not None:
        _take_input(session, target, named)
        return
    with session.progress("Adding", fresh="new") as progress:
        report = target.add(*more, *sources, workers=workers, progress=progress, **how)
    session.out.show({"draft": target.id, "dataset": target.dataset, **add_values(report)}, [])
    session.out.note(f"Added to {target.dataset}: {add_line(report)}, {duration(report.seconds)}.")
    session.finish(report.problems, "could not be added")


def _take_input(session: Session, target: "Draft", path: str) -> None:
    """Add standard input to the draft; add nothing if it is interrupted."""
    began = time.perf_counter()
    with target.open(path, "wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
        taken = file.tell()
    seconds = time.perf_counter() - began
    values = {"draft": target.id, "dataset": target.dataset, "path": path, "size": taken, "seconds": seconds}
    session.out.show(values, [])
    session.out.note(f"Added to {target.dataset}: {path} ({size(taken)}), {duration(seconds)}.")
