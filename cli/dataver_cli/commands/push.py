"""`dataver push`."""

import click

from dataver_cli.command import subcommand
from dataver_cli.completing import complete_ref
from dataver_cli.session import Session, place
from dataver_cli.transfer import end_option, move, move_options


@subcommand(
    "push",
    examples="""
        dataver push s3://team/data vision/cats                 # a dataset: all versions, tags, lineage
        dataver push s3://team/data vision/cats@1.0.1           # one version, complete without its parents
        dataver push s3://team/data vision/cats@production      # a version and the tag
        dataver push s3://team/data --plan                      # everything; only show the plan
    """,
)
@click.argument("url")
@click.argument("refs", nargs=-1, shell_complete=complete_ref)
@move_options
@end_option("--to-option", "the repository at URL")
def command(
    session: Session,
    url: str,
    refs: tuple[str, ...],
    *,
    to_option: dict[str, str],
    only_plan: bool,
    no_lineage: bool,
    verify: bool,
) -> None:
    """Copy versions from this repository to another.

    URL is the target repository; without REFS all versions are copied. Packs are copied unchanged and
    verified in transfer. Objects that the target has are not sent, so a repeated command continues after an
    interruption. A label that belongs to another version in the target is reported and not changed. Tags are
    copied with their history if possible; a tag that was moved further in the target is not changed.
    """
    from dataver.api.transfer import open_end, plan

    source, target = session.repository(), open_end(place(url), to_option or None)
    made = plan(open_end(source), target, refs, lineage=not no_lineage)
    move(session, made, only_plan=only_plan, verify=verify)
