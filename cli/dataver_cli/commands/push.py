"""`dataver push`."""

import click

from dataver_cli.command import subcommand
from dataver_cli.completing import complete_ref
from dataver_cli.moving import end_option, move, move_options
from dataver_cli.session import Session, place


@subcommand(
    "push",
    examples="""
        dataver push s3://team/data vision/cats                 # a dataset: all versions, tags, lineage
        dataver push s3://team/data vision/cats@1.0.1           # one version, whole without its parents
        dataver push s3://team/data vision/cats@production      # a version and the tag
        dataver push s3://team/data --plan                      # everything; only say what would be moved
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
    """Bring versions from this repository to another.

    URL is the repository they go to; without REFS everything is moved. Packs are copied as they are and
    checked on their way; what the target has is not sent, so repeating it after an interruption sends the
    rest. A label that belongs to another version there is named and left alone. Tags bring their history
    where they can; a tag that was moved on in the target stays.
    """
    from dataver._moving import open_end, plan

    source, target = session.repository(), open_end(place(url), to_option or None)
    made = plan(source, target, refs, lineage=not no_lineage)
    move(session, made, only_plan=only_plan, verify=verify)
