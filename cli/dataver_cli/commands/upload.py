"""`dataver upload`."""

import click

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
        dataver upload --plan                 # how much, and how long?
    """,
)
@option("--tag", also=["--tags"], multiple=True, help="Tag to point at the version. Repeatable.")
@draft_option
@click.option("--plan", is_flag=True, help="Only show what would be sent.")
def command(session: Session, tag: tuple[str, ...], draft: str | None, plan: bool) -> None:
    """Publish the sealed draft.

    Everyone sees the version whole or not at all. Interrupted uploads continue when the command is repeated;
    a version that is uploaded already is left as it is.
    """
    target, repository = session.draft_and_repository(draft)
    if plan:
        from dataver_cli.planning import plan_values, upload_plan_lines

        planned = target.plan_upload()
        session.out.show({"draft": target.id, **plan_values(planned)}, upload_plan_lines(planned))
        return
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
