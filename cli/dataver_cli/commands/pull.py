"""`dataver pull`."""

import click

from dataver_cli.command import subcommand
from dataver_cli.session import Session, place
from dataver_cli.transfer import end_option, move, move_options


@subcommand(
    "pull",
    examples="""
        dataver pull s3://team/data vision/cats                 # a dataset: all versions, tags, lineage
        dataver pull s3://team/data vision/cats@production
        dataver pull /mnt/disk/repository --plan                # everything; only show the plan
    """,
)
@click.argument("url")
@click.argument("refs", nargs=-1)
@move_options
@end_option("--from-option", "the repository at URL")
def command(
    session: Session,
    url: str,
    refs: tuple[str, ...],
    *,
    from_option: dict[str, str],
    only_plan: bool,
    no_lineage: bool,
    verify: bool,
) -> None:
    """Copy versions from another repository to this one.

    Works like `dataver push` in the other direction: URL is the source repository.
    """
    from dataver.api.transfer import open_end, plan

    source, target = open_end(place(url), from_option or None), session.repository()
    made = plan(source, open_end(target), refs, lineage=not no_lineage)
    move(session, made, only_plan=only_plan, verify=verify)
