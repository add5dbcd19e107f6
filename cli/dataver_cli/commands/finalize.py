"""`dataver finalize`."""

import json
from typing import TYPE_CHECKING, Any

import click

from dataver_cli.command import draft_option, option, subcommand
from dataver_cli.describing import upload_line, upload_values, version_values
from dataver_cli.output import count, duration, size
from dataver_cli.session import Session, parse_pairs

if TYPE_CHECKING:
    from dataver import Draft

_SHOWN = 5  # names that other systems cannot hold


@subcommand(
    "finalize",
    examples="""
        dataver finalize -m "July photos"
        dataver finalize -m "July photos" --upload --tag candidate
        dataver finalize --label 2.0.0 --metadata source=camera-7 --metadata lux=410
    """,
)
@click.option("-m", "--message", default="", help="What to say of the version.")
@option("--label", also=["--version"], help="Its label; default: the next free one, taken at upload.")
@click.option(
    "--bump",
    type=click.Choice(["major", "minor", "patch"]),
    default="patch",
    show_default=True,
    help="Which part of the automatic label grows.",
)
@click.option(
    "--metadata",
    multiple=True,
    metavar="KEY=VALUE",
    callback=parse_pairs,
    help="Attach a value, as JSON if it is JSON, else as text. Repeatable.",
)
@click.option("--allow-empty", is_flag=True, help="Make a version even if nothing changed.")
@click.option("--upload", is_flag=True, help="Upload it too.")
@option(
    "--tag", also=["--tags"], multiple=True, help="With --upload: tag to point at the version. Repeatable."
)
@draft_option
def command(
    session: Session,
    metadata: dict[str, str],
    upload: bool,
    tag: tuple[str, ...],
    draft: str | None,
    **how: Any,
) -> None:
    """Seal the draft: its content is fixed and has a digest.

    The version is still local; `dataver upload` publishes it. Both can be repeated safely.
    """
    if tag and not upload:
        raise click.UsageError("--tag goes with --upload: a local version cannot be tagged")
    target, repository = session.draft_and_repository(draft)
    version = target.finalize(metadata={key: _value(text) for key, text in metadata.items()}, **how)
    _warn(session, target)
    if not upload:
        session.out.show({"draft": target.id, **version_values(version)}, [version.digest])
        session.out.note(
            f"Finalized {version.dataset}: {count(version.files, 'file')}, {size(version.size)}. "
            "`dataver upload` publishes it."
        )
        return
    with session.progress("Uploading", "pack") as progress:
        report = target.upload(progress)
    for each in tag:
        repository.tag(report.version.ref, each)
    session.out.show(
        {"draft": target.id, **upload_values(report)}, [f"{report.version.ref}  {report.version.digest}"]
    )
    session.out.note(f"Uploaded {report.version.ref}: {upload_line(report)}, {duration(report.seconds)}.")


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _warn(session: Session, draft: "Draft") -> None:
    problems = draft.portability()
    for path, why in problems[:_SHOWN]:
        session.out.warn(f"{path} {why}; some systems cannot fetch it")
    if len(problems) > _SHOWN:
        session.out.warn(f"… and {len(problems) - _SHOWN:,} more such names")
