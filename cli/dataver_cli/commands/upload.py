"""`dataver upload`."""

from dataver_cli.command import draft_option, fork_option, option, plan_option, rebase_option, subcommand
from dataver_cli.output import duration
from dataver_cli.render import upload_line, upload_notes, upload_values
from dataver_cli.session import Session


@subcommand(
    "upload",
    examples="""
        dataver upload
        dataver upload --tag candidate
        dataver upload --draft 3fa9           # not the current draft
        dataver upload --plan                 # show size and expected time
        dataver upload --rebase               # keep this draft's content of paths that others changed
    """,
)
@option("--tag", also=["--tags"], multiple=True, help="Tag to move to the version. Repeatable.")
@rebase_option
@fork_option
@draft_option
@plan_option("uploaded")
def command(session: Session, tag: tuple[str, ...], draft: str | None, plan: bool, **how: bool) -> None:
    """Publish the sealed draft.

    The version becomes visible in a single step. If others have published since the draft was made, its
    changes are applied to their version. Paths that both changed are a conflict, unless --rebase or
    --allow-fork is given. Interrupted uploads continue when the command is repeated; a version that is
    already uploaded is not changed. A tag that points to a later version is not moved.
    """
    target, repository = session.draft_and_repository(draft)
    if plan:
        from dataver_cli.planning import plan_values, upload_plan_lines

        planned = target.plan_upload()
        session.out.show({"draft": target.id, **plan_values(planned)}, upload_plan_lines(planned))
        return
    session.check_tags(repository, target.dataset, tag)
    with session.progress("Uploading", "pack") as progress:
        report = target.upload(progress, **how)
    version = report.version
    tagged = session.tag(repository, version, tag)
    session.out.show({"draft": target.id, **upload_values(report)}, [f"{version.ref}  {version.digest}"])
    if report.already:
        session.out.note(f"{version.ref} is already in {repository.url}; nothing was sent.")
    else:
        session.out.note(
            f"Uploaded {version.ref} to {repository.url}: {upload_line(report)}, {duration(report.seconds)}."
        )
    for note in (*upload_notes(report, "the draft's changes were applied to it"), *tagged):
        session.out.note(note)
