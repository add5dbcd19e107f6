"""`dataver repack`."""

import click

from dataver_cli.command import plan_option, subcommand
from dataver_cli.output import count, size
from dataver_cli.session import Session


@subcommand(
    "repack",
    examples="""
        dataver repack --plan           # show what could be freed
        dataver repack --yes && dataver gc
        dataver repack --dead 20        # packs of which a fifth or more is unneeded
    """,
)
@click.option(
    "--dead",
    type=click.FloatRange(1, 100),
    default=50,
    show_default=True,
    metavar="PERCENT",
    help="Rewrite packs of which at least this share is needed by no version.",
)
@plan_option("rewritten")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def command(session: Session, dead: float, plan: bool, yes: bool) -> None:
    """Rewrite packs that are mostly unneeded, and join small ones.

    The needed data is copied to new packs. No digest changes, and readers continue. `dataver gc` deletes the
    old packs when the grace period is over. Packs up to 1 MiB are joined if there are at least 16, so that a
    dataset that grew by many small versions is fetched with few requests.
    """
    repository = session.repository()
    found = repository.plan_repack(dead=dead / 100)
    values: dict[str, object] = {
        "dead": found.dead,
        "plan": {
            "packs": len(found.packs),
            "small": found.small,
            "size": found.size,
            "write": found.live,
            "frees": found.frees,
            "blocks": found.blocks,
        },
    }
    small = f", {found.small:,} of them small" if found.small else ""
    line = (
        f"{count(len(found.packs), 'pack')} of {found.seen:,}{small}: write {size(found.live)} again so that "
        f"{size(found.size)} can be freed, and {count(found.blocks, 'tree block')}"
    )
    if plan or not found.packs:
        session.out.show(values, [line])
        if not plan:
            session.out.note("Nothing to repack.")
        return
    if not yes:
        session.out.confirm([line], "Repack?", "repacking")
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
        f"Wrote {size(report.written_size)} in {count(report.written, 'pack')}, replacing "
        f"{size(report.size)} in {count(report.packs, 'pack')}; `dataver gc` deletes the old packs."
    )
