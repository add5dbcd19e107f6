"""`dataver finalize`."""

from typing import TYPE_CHECKING, Any

import click

from dataver.documents import version_values
from dataver_cli.command import (
    bump_option,
    draft_option,
    fork_option,
    option,
    rebase_option,
    record_options,
    subcommand,
)
from dataver_cli.output import count, duration, size
from dataver_cli.render import time_notes, upload_line, upload_notes, upload_values
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver import Draft

_SHOWN = 5  # names that other systems cannot store


@subcommand(
    "finalize",
    examples="""
        dataver finalize -m "July photos"
        dataver finalize -m "July photos" --upload --tag candidate
        dataver finalize --label 2.0.0 --metadata camera=7 --metadata lux=410
    """,
)
@click.option("-m", "--message", default="", help="Message of the version.")
@option("--label", also=["--version"], help="Label. Default: the next free one, chosen at upload.")
@bump_option
@record_options()
@click.option("--allow-empty", is_flag=True, help="Create a version even if nothing changed.")
@click.option("--upload", is_flag=True, help="Upload the version as well.")
@option(
    "--tag", also=["--tags"], multiple=True, help="With --upload: tag to move to the version. Repeatable."
)
@rebase_option
@fork_option
@draft_option
def command(
    session: Session,
    upload: bool,
    tag: tuple[str, ...],
    draft: str | None,
    rebase: bool,
    allow_fork: bool,
    **how: Any,
) -> None:
    """Seal the draft: its content gets a digest and no longer changes.

    The version is still local; `dataver upload` publishes it. Both commands can be repeated safely. --rebase
    and --allow-fork need --upload; see `dataver upload`.
    """
    if (rebase or allow_fork) and not upload:
        raise click.UsageError("--rebase and --allow-fork need --upload")
    if tag and not upload:
        raise click.UsageError("--tag needs --upload: a local version cannot be tagged")
    target, repository = session.draft_and_repository(draft)
    session.check_tags(repository, target.dataset, tag)
    version = target.finalize(**how)
    _warn(session, target)
    if not upload:
        session.out.show({"draft": target.id, **version_values(version)}, [version.digest])
        held = f"{count(version.file_count, 'file')}, {size(version.size)}"
        if version.uploaded:
            session.out.note(f"{version.ref} is already in {repository.url}: {held}.")
        else:
            session.out.note(
                f"Finalized {version.dataset}: {held}. `dataver upload` publishes it in {repository.url}."
            )
        return
    with session.progress("Uploading", "pack") as progress:
        report = target.upload(progress, rebase=rebase, allow_fork=allow_fork)
    tagged = session.tag(repository, report.version, tag)
    tagged += time_notes(report.version, how["created"])
    session.out.show(
        {"draft": target.id, **upload_values(report)}, [f"{report.version.ref}  {report.version.digest}"]
    )
    session.out.note(
        f"Uploaded {report.version.ref} to {repository.url}: {upload_line(report)}, "
        f"{duration(report.seconds)}."
    )
    for note in (*upload_notes(report, "the draft's changes were applied to it"), *tagged):
        session.out.note(note)


def _warn(session: Session, draft: "Draft") -> None:
    problems = draft.portability()
    for path, why in problems[:_SHOWN]:
        session.out.warn(f"{path} {why}; some systems cannot fetch it")
    if len(problems) > _SHOWN:
        session.out.warn(f"… and {len(problems) - _SHOWN:,} more such names")
