"""`dataver sync`."""

from typing import Any

import click

from dataver_cli.command import (
    draft_option,
    exclude_option,
    fork_option,
    include_option,
    option,
    plan_option,
    record_options,
    spool_option,
    subcommand,
    upload_option,
    workers_option,
)
from dataver_cli.output import duration
from dataver_cli.planning import show_add_plan
from dataver_cli.render import (
    add_line,
    add_values,
    time_notes,
    upload_line,
    upload_notes,
    upload_values,
)
from dataver_cli.session import Session

_SCAN = ("dest", "include", "exclude", "follow_links", "checksum", "default_ignore", "allow_shrink")

_OF_RECORD = ("message", "label", "metadata", "author", "created", "tag", "allow-fork")


@subcommand(
    "sync",
    examples="""
        dataver sync photos/ --name vision/cats -m "July photos"      # the next version, in one step
        dataver sync photos/ --name vision/cats --author ana --created 2024-05-01
        dataver sync photos/ --dest train                             # inside the current draft
    """,
)
@click.argument("folder", required=False, type=click.Path())
@option("--folder", "folder_option", type=click.Path(), hidden=True)
@option("--name", "name", metavar="NAME", help="Dataset whose next version is created and uploaded.")
@option("--project", hidden=True)
@option("--dest", also=["--dataset-folder"], default="", metavar="FOLDER", help="Folder inside the version.")
@include_option("Only matching files. Repeatable.")
@exclude_option("Omit matching files. Repeatable.")
@click.option("--follow-links", is_flag=True, help="Store the targets of symlinks instead of the links.")
@click.option("--no-default-ignore", is_flag=True, help="Also add .dvc, __pycache__ and similar folders.")
@click.option("--checksum", is_flag=True, help="Read every file, also files that appear unchanged.")
@click.option("--allow-shrink", is_flag=True, help="Accept a folder that leaves less than half of the files.")
@click.option("-m", "--message", default="", help="Message of the version (with --name).")
@record_options(" (with --name)")
@option("--label", also=["--version"], help="Label (with --name). Default: the next free one.")
@click.option(
    "--bump",
    type=click.Choice(["major", "minor", "patch"]),
    default="patch",
    show_default=True,
    help="Part of the automatic label to increment (with --name).",
)
@option("--tag", also=["--tags"], multiple=True, help="Tag to move to the version (with --name). Repeatable.")
@workers_option
@plan_option("added, read and removed")
@fork_option
@upload_option
@spool_option
@draft_option
def command(
    session: Session,
    folder: str | None,
    folder_option: str | None,
    name: str | None,
    project: str | None,
    draft: str | None,
    plan: bool,
    **how: Any,
) -> None:
    """Mirror a folder to the draft, or to a dataset in one step.

    Files of FOLDER are added, and all other files are removed. Without --name, this changes the current
    draft. With --name, it makes a child of the dataset's latest version, finalizes it and uploads it. If
    nothing changed, no version is made. If the repository is not a folder, packs are uploaded while files
    are read. If others publish meanwhile, the folder is mirrored onto their version: their changes outside
    --dest are kept. An interrupted command continues when it is repeated. A folder that would leave less
    than half of the files, as when a disk is not mounted, is refused.
    """
    source = folder or folder_option
    if source is None:
        raise click.UsageError("missing folder: dataver sync FOLDER")
    how["default_ignore"] = not how.pop("no_default_ignore")
    dataset = f"{project}/{name}" if project and name else name
    if plan:
        _show_plan(session, source, dataset, draft, {word: how[word] for word in _SCAN})
    elif dataset is None:
        _into_draft(session, source, draft, how)
    else:
        _in_one_step(session, source, dataset, how)


def _show_plan(
    session: Session, folder: str, name: str | None, draft: str | None, how: dict[str, Any]
) -> None:
    if name is None:
        target = session.draft(draft)
        show_add_plan(session, target.plan_sync(folder, **how), f"the draft of {target.dataset}")
    else:
        show_add_plan(session, session.repository().plan_sync(folder, name, **how), name)


def _into_draft(session: Session, folder: str, wanted: str | None, how: dict[str, Any]) -> None:
    given = [f"--{word}" for word in _OF_RECORD if how.pop(word.replace("-", "_"))]
    how.pop("bump")
    if given:
        raise click.UsageError(
            f"{', '.join(given)} needs --name; for a draft, use it with `dataver finalize`"
        )
    draft = session.draft(wanted)
    session.stream(draft, upload=how.pop("upload"), spool=how.pop("spool"))
    with session.progress("Mirroring", fresh="new") as progress:
        report = draft.sync(folder, progress=progress, **how)
    session.out.show({"draft": draft.id, "dataset": draft.dataset, **add_values(report)}, [])
    session.out.note(f"{draft.dataset} mirrors {folder}: {add_line(report)}, {duration(report.seconds)}.")
    session.finish(report.problems, "could not be added")


def _in_one_step(session: Session, folder: str, name: str, how: dict[str, Any]) -> None:
    tags = how.pop("tag")
    how.pop("upload")  # always done with --name
    repository = session.repository()
    session.check_tags(repository, name, tags)
    with (
        session.progress("Mirroring", fresh="new") as progress,
        session.progress("Uploading", thing="pack") as sending,
    ):
        report = repository.sync(folder, name, progress=progress, sending=sending, **how)
    values = {
        "dataset": name,
        **add_values(report.add),
        "upload": upload_values(report.upload) if report.upload else None,
        "seconds": round(report.seconds, 3),
    }
    if report.version is None or report.upload is None:
        if tags:  # an interrupted call may have published the version without moving its tags
            session.tag(repository, repository.version(name), tags)
        session.out.show(values, [])
        session.out.note(
            f"Nothing changed: {name} in {repository.url} already mirrors {folder}. {add_line(report.add)}."
        )
    else:
        tagged = session.tag(repository, report.version, tags)
        session.out.show(values, [f"{report.version.ref}  {report.version.digest}"])
        if report.upload.already:
            session.out.note(f"{report.version.ref} was published before the interruption; nothing was sent.")
        else:
            session.out.note(
                f"Uploaded {report.version.ref} to {repository.url}: {add_line(report.add)}; "
                f"{upload_line(report.upload)} sent, {duration(report.seconds)}."
            )
        notes = upload_notes(report.upload, "the folder was mirrored onto it")
        for note in (*notes, *tagged, *time_notes(report.version, how["created"])):
            session.out.note(note)
    session.finish(report.add.problems, "could not be added")
