"""`dataver mirror`."""

import click

from dataver_cli.command import subcommand
from dataver_cli.session import Session, place
from dataver_cli.transfer import end_option, move, move_options


@subcommand(
    "mirror",
    repo=False,
    examples="""
        dataver mirror s3://team/data /mnt/backup/data          # creates the target if it does not exist
        dataver mirror s3://team/data s3://other/data --verify
        dataver mirror s3://team/data s3://other/data --to-option profile=other
        dataver mirror s3://team/data /mnt/backup/data --plan
    """,
)
@click.argument("source")
@click.argument("target")
@move_options
@end_option("--from-option", "SOURCE")
@end_option("--to-option", "TARGET")
def command(
    session: Session,
    source: str,
    target: str,
    *,
    from_option: dict[str, str],
    to_option: dict[str, str],
    only_plan: bool,
    no_lineage: bool,
    verify: bool,
) -> None:
    """Copy all versions, tags and lineage of a repository to another.

    Repeating the command copies new objects only. Tags are set as in SOURCE. Nothing is deleted in TARGET:
    versions that SOURCE does not have are listed and kept.
    """
    from dataver.api.transfer import open_end, open_or_init, plan

    here = open_end(place(source), from_option or None)
    there = open_or_init(place(target), to_option or None, like=here, make=not only_plan)
    made = plan(here, there, lineage=not no_lineage, exact=True)
    move(session, made, only_plan=only_plan, verify=verify)
