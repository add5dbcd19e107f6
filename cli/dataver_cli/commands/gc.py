"""`dataver gc`."""

from typing import TYPE_CHECKING

import click

from dataver_cli.command import plan_option, subcommand
from dataver_cli.output import count, duration, size, when
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver.maintenance.gc import GcPlan


@subcommand(
    "gc",
    examples="""
        dataver gc --plan             # show what would be freed
        dataver gc                    # show the plan, ask, delete
        dataver gc --yes --grace 0    # at once; interrupts running fetches of deleted versions
    """,
)
@click.option(
    "--grace",
    default="14d",
    show_default=True,
    metavar="TIME",
    help="Keep deleted, replaced and unfinished data for this time: 14d, 12h, 0.",
)
@plan_option("freed")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--yes-delete-most", is_flag=True, help="Allow deleting more than half of the repository.")
def command(session: Session, grace: str, plan: bool, yes: bool, yes_delete_most: bool) -> None:
    """Delete data that no version needs.

    Safe while others upload, and safe to interrupt at any moment. Ages are measured by the store's clock.
    """
    from dataver.machine.store_clock import parse_period

    period = parse_period(grace)
    repository = session.repository()
    found = repository.plan_gc(grace=period)
    values = _values(found)
    if plan or not found.count:
        session.out.show(values, _lines(found))
        if not plan:
            session.out.note("Nothing to free.")
        session.finish(found.problems, "could not be looked at")
        return
    if not yes:
        question = f"Delete {count(found.count, 'object')} ({size(found.size)})?"
        session.out.confirm(_lines(found), question, f"freeing {size(found.size)}")
    with session.progress("Freeing", thing="object") as progress:
        report = repository.gc(grace=period, delete_most=yes_delete_most, progress=progress)
    session.out.show(
        values
        | {
            "freed": report.size,
            "deleted": {
                "packs": report.packs,
                "blocks": report.blocks,
                "leftovers": report.leftovers,
                "profiles": report.profiles,
            },
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
        f"waiting   {size(plan.waiting_size)} in {count(plan.waiting, 'object')} in the grace period",
        f"needed    {size(plan.kept_size)} in {count(plan.kept, 'object')}",
    ]
    if plan.count:
        took = f"about {duration(plan.seconds)} at the current speed of the store"
        lines.insert(1, f"requests  about {count(plan.requests, 'request')}, {took}")
    if plan.profiles:
        lines.append(f"profiles  {count(len(plan.profiles), 'object')} with profiles of deleted files")
    if plan.held:
        lines.append(f"at work   {count(plan.held, 'writer')}, whose data is kept")
    if plan.forked_until is not None:
        lines.append(f"forked    a draft is forked: packs are kept until {when(plan.forked_until)}")
    return lines


def _values(plan: "GcPlan") -> dict[str, object]:
    return {
        "grace_seconds": plan.grace.total_seconds(),
        "plan": {
            "size": plan.size,
            "packs": len(plan.packs),
            "blocks": len(plan.blocks),
            "leftovers": len(plan.leftovers) + len(plan.records),
            "profiles": len(plan.profiles),
            "requests": plan.requests,
            "seconds": round(plan.seconds, 3),
        },
        "waiting": {"objects": plan.waiting, "size": plan.waiting_size},
        "needed": {"objects": plan.kept, "size": plan.kept_size},
        "writers": plan.held,
        "forked_until": None if plan.forked_until is None else plan.forked_until.isoformat(),
    }
