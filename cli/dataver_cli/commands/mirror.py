"""`dataver mirror`."""

import click

from dataver_cli.command import subcommand
from dataver_cli.moving import end_option, move, move_options
from dataver_cli.session import Session, place


@subcommand(
    "mirror",
    repo=False,
    examples="""
        dataver mirror s3://team/data /mnt/backup/data          # makes the repository there if there is none
        dataver mirror s3://team/data s3://other/data --verify
        dataver mirror s3://team/data s3://other/data --to-option endpoint_url=http://localhost:9000
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
    """Bring everything in one repository to another.

    That is versions, tags and lineage. Repeating it brings what is new. Tags end up as they are in SOURCE.
    Nothing is deleted in TARGET: versions that SOURCE does not have are named and stay.
    """
    from dataver._moving import open_end, open_or_init, plan

    here = open_end(place(source), from_option or None)
    there = open_or_init(place(target), to_option or None, like=here, make=not only_plan)
    made = plan(here, there, lineage=not no_lineage, exact=True)
    move(session, made, only_plan=only_plan, verify=verify)
