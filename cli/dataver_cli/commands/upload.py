"""`dataver upload`."""

from dataver_cli.command import draft_option, option, subcommand
from dataver_cli.describing import upload_line, upload_values
from dataver_cli.output import duration
from dataver_cli.session import Session


@subcommand(
    "upload",
    examples="""
        dataver upload
        dataver upload --tag candidate
        dataver upload --draft 3fa9           # another draft than the current one
    """,
)
@option("--tag", also=["--tags"], multiple=True, help="Tag to point at the version. Repeatable.")
@draft_option
def command(session: Session, tag: tuple[str, ...], draft: str | None) -> None:
    """Publish the sealed draft.

    Everyone sees the version whole or not at all. Interrupted uploads continue when the command is repeated;
    a version that is uploaded already is left as it is.
    """
    target, repository = session.draft_and_repository(draft)
    with session.progress("Uploading", "pack") as progress:
        report = target.upload(progress)
    version = report.version
    for each in tag:
        repository.tag(version.ref, each)
    session.out.show({"draft": target.id, **upload_values(report)}, [f"{version.ref}  {version.digest}"])
    if report.already:
        session.out.note(f"{version.ref} was uploaded already; nothing was sent.")
    else:
        session.out.note(f"Uploaded {version.ref}: {upload_line(report)}, {duration(report.seconds)}.")
