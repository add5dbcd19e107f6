"""`dataver gc`."""

import sys
from typing import TYPE_CHECKING

import click

from dataver_cli.command import subcommand
from dataver_cli.output import count, duration, size
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver.repository.keeping.collecting import GcPlan


@subcommand(
    "gc",
    examples="""
        dataver gc --plan             # what would be freed?
        dataver gc                    # shows the plan, asks, frees
        dataver gc --yes --grace 0    # at once; who still fetches a deleted version is cut off
    """,
)
@click.option(
    "--grace",
    default="14d",
    show_default=True,
    metavar="TIME",
    help="Keep for so long what was deleted, replaced or left by an interrupted upload: 14d, 12h, 0.",
)
@click.option("--plan", is_flag=True, help="Only show what would be freed.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def command(session: Session, grace: str, plan: bool, yes: bool) -> None:
    """Free what no version needs.

    Safe while others upload, and at any moment it is interrupted. Ages are by the store's clock.
    """
    from dataver.repository.keeping.clock import parse_period

    period = parse_period(grace)
    repository = session.repository()
    found = repository.plan_gc(grace=period)
    values = _values(found)
    if plan or not found.count:
        session.out.show(values, _lines(found))
        if not plan:
            session.out.note("Nothing to free.")
        return
    if not yes:
        for line in _lines(found):
            click.echo(line, err=True)
        if not sys.stdin.isatty():
            raise click.UsageError(f"nobody is there to ask about freeing {size(found.size)}; add --yes")
        if not click.confirm(f"Delete {count(found.count, 'object')} ({size(found.size)})?", err=True):
            raise click.Abort
    with session.progress("Freeing", thing="object") as progress:
        report = repository.gc(grace=period, progress=progress)
    session.out.show(
        values
        | {
            "freed": report.size,
            "deleted": {"packs": report.packs, "blocks": report.blocks, "leftovers": report.leftovers},
            "spared": report.spared,
        },
        [],
    )
    spared = f"; {count(report.spared, 'object')} became needed meanwhile" if report.spared else ""
    session.out.note(
        f"Freed {size(report.size)}: {count(report.packs, 'pack')}, {count(report.blocks, 'tree block')}, "
        f"{count(report.leftovers, 'leftover')}{spared}."
    )
    session.finish(report.problems, "could not be deleted")


def _lines(plan: "GcPlan") -> list[str]:
    packs, blocks = count(len(plan.packs), "pack"), count(len(plan.blocks), "tree block")
    leftovers = count(len(plan.leftovers) + len(plan.records), "leftover")
    lines = [
        f"to free   {size(plan.size)} in {packs}, {blocks}, {leftovers}",
        f"waiting   {size(plan.waiting_size)} in {count(plan.waiting, 'object')} until they are old enough",
        f"needed    {size(plan.kept_size)} in {count(plan.kept, 'object')}",
    ]
    if plan.count:
        took = f"about {duration(plan.seconds)} as the store answers now"
        lines.insert(1, f"to ask    about {count(plan.requests, 'request')}, {took}")
    if plan.held:
        lines.append(f"at work   {count(plan.held, 'writer')}, whose bytes are kept")
    return lines


def _values(plan: "GcPlan") -> dict[str, object]:
    return {
        "grace_seconds": plan.grace.total_seconds(),
        "plan": {
            "size": plan.size,
            "packs": len(plan.packs),
            "blocks": len(plan.blocks),
            "leftovers": len(plan.leftovers) + len(plan.records),
            "requests": plan.requests,
            "seconds": round(plan.seconds, 3),
        },
        "waiting": {"objects": plan.waiting, "size": plan.waiting_size},
        "needed": {"objects": plan.kept, "size": plan.kept_size},
        "writers": plan.held,
    }
