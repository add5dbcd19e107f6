"""`dataver repack`."""

import sys

import click

from dataver_cli.command import subcommand
from dataver_cli.output import count, size
from dataver_cli.session import Session


@subcommand(
    "repack",
    examples="""
        dataver repack --plan           # is there anything to win?
        dataver repack --yes && dataver gc
        dataver repack --dead 20        # packs of which a fifth or more is dead
    """,
)
@click.option(
    "--dead",
    type=click.FloatRange(1, 100),
    default=50,
    show_default=True,
    metavar="PERCENT",
    help="Rewrite packs of which at least so much is needed by no version.",
)
@click.option("--plan", is_flag=True, help="Only show what would be rewritten.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def command(session: Session, dead: float, plan: bool, yes: bool) -> None:
    """Copy what versions need out of packs that are mostly dead.

    No digest changes, and readers go on. `dataver gc` frees the old packs when the grace period is over.
    """
    repository = session.repository()
    found = repository.plan_repack(dead=dead / 100)
    values: dict[str, object] = {
        "dead": found.dead,
        "plan": {
            "packs": len(found.packs),
            "size": found.size,
            "write": found.live,
            "frees": found.frees,
            "blocks": found.blocks,
        },
    }
    line = (
        f"{count(len(found.packs), 'pack')} of {found.seen:,}: write {size(found.live)} anew so that "
        f"{size(found.size)} can be freed, and {count(found.blocks, 'tree block')}"
    )
    if plan or not found.packs:
        session.out.show(values, [line])
        if not plan:
            session.out.note("Nothing to repack.")
        return
    if not yes:
        click.echo(line, err=True)
        if not sys.stdin.isatty():
            raise click.UsageError("nobody is there to ask about repacking; add --yes")
        if not click.confirm("Repack?", err=True):
            raise click.Abort
    with session.progress("Repacking", thing="pack") as progress:
        report = repository.repack(dead=dead / 100, progress=progress)
    session.out.show(
        values
        | {
            "packs": report.packs,
            "size": report.size,
            "written": {"packs": report.written, "size": report.written_size},
            "blocks": report.blocks,
        },
        [],
    )
    session.out.note(
        f"Wrote {size(report.written_size)} in {count(report.written, 'pack')} in place of "
        f"{size(report.size)} in {count(report.packs, 'pack')}; `dataver gc` frees these."
    )
