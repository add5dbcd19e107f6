"""`dataver sync`."""

from typing import Any

import click

from dataver_cli.command import draft_option, option, spool_option, subcommand, upload_option
from dataver_cli.describing import add_line, add_values, upload_line, upload_values
from dataver_cli.output import duration
from dataver_cli.session import Session


@subcommand(
    "sync",
    examples="""
        dataver sync photos/ --name vision/cats -m "July photos"      # the next version, in one step
        dataver sync photos/ --dest train                             # inside the current draft
    """,
)
@click.argument("folder", required=False, type=click.Path())
@option("--folder", "folder_option", type=click.Path(), hidden=True)
@option("--name", "name", metavar="NAME", help="Dataset to make the next version of, finalized and uploaded.")
@option("--project", hidden=True)
@option("--dest", also=["--dataset-folder"], default="", metavar="FOLDER", help="Folder inside the version.")
@click.option("--include", multiple=True, metavar="PATTERN", help="Only what matches. Repeatable.")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Leave out what matches. Repeatable.")
@click.option("--follow-links", is_flag=True, help="Store what symlinks point to, instead of the links.")
@click.option("-m", "--message", default="", help="What to say of the version (with --name).")
@option("--label", also=["--version"], help="Its label (with --name); default: the next free one.")
@click.option(
    "--bump",
    type=click.Choice(["major", "minor", "patch"]),
    default="patch",
    show_default=True,
    help="Which part of the automatic label grows (with --name).",
)
@option(
    "--tag", also=["--tags"], multiple=True, help="Tag to point at the version (with --name). Repeatable."
)
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
    **how: Any,
) -> None:
    """Make the draft, or a dataset in one step, mirror a folder.

    What is in FOLDER is added, what is not is removed. Without --name this changes the current draft. With
    --name it makes a child of the dataset's latest version, finalizes and uploads it; nothing is made when
    nothing changed; to a repository that is no folder it sends while it reads. A call that was interrupted
    continues when it is repeated.
    """
    source = folder or folder_option
    if source is None:
        raise click.UsageError("say which folder: dataver sync FOLDER")
    if name is None:
        _into_draft(session, source, draft, how)
    else:
        _in_one_step(session, source, f"{project}/{name}" if project else name, how)


def _into_draft(session: Session, folder: str, wanted: str | None, how: dict[str, Any]) -> None:
    given = [f"--{word}" for word in ("message", "label", "tag") if how.pop(word)]
    how.pop("bump")
    if given:
        raise click.UsageError(f"{', '.join(given)} goes with --name; a draft is told at `dataver finalize`")
    draft = session.draft(wanted)
    session.stream(draft, upload=how.pop("upload"), spool=how.pop("spool"))
    with session.progress("Mirroring", fresh="new") as progress:
        report = draft.sync(folder, progress=progress, **how)
    session.out.show({"draft": draft.id, "dataset": draft.dataset, **add_values(report)}, [])
    session.out.note(f"{draft.dataset} mirrors {folder}: {add_line(report)}, {duration(report.seconds)}.")
    session.finish(report.problems, "could not be added")


def _in_one_step(session: Session, folder: str, name: str, how: dict[str, Any]) -> None:
    tags = how.pop("tag")
    how.pop("upload")  # it does anyway
    repository = session.repository()
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
        if tags:  # a call that was interrupted may have published it, and not come to this
            version = repository.version(name)
            for tag in set(tags).difference(version.tags):
                repository.tag(version.ref, tag)
        session.out.show(values, [])
        session.out.note(f"Nothing changed: {name} mirrors {folder} already. {add_line(report.add)}.")
    else:
        for tag in tags:
            repository.tag(report.version.ref, tag)
        session.out.show(values, [f"{report.version.ref}  {report.version.digest}"])
        if report.upload.already:
            session.out.note(f"{report.version.ref} was published before the interruption; nothing was sent.")
        else:
            session.out.note(
                f"Uploaded {report.version.ref}: {add_line(report.add)}; {upload_line(report.upload)} sent, "
                f"{duration(report.seconds)}."
            )
    session.finish(report.add.problems, "could not be added")
