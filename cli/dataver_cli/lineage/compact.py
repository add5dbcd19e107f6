"""`dataver lineage compact`."""

from datetime import timedelta

import click

from dataver_cli.command import subcommand
from dataver_cli.output import count, size
from dataver_cli.session import Session


@subcommand(
    "compact",
    examples="""
        dataver lineage compact                # shows what would be joined
        dataver lineage compact --yes
        dataver lineage compact --older-than 0 --yes
    """,
)
@click.option("--yes", is_flag=True, help="Do it; without this the plan is only shown.")
@click.option(
    "--older-than",
    type=click.IntRange(min=0),
    default=3,
    show_default=True,
    metavar="DAYS",
    help="Leave the rest.",
)
def command(session: Session, yes: bool, older_than: int) -> None:
    """Join the repository's many small lineage objects into few.

    A repository with a million runs stays quick to list. Objects are deleted only after the one that says the
    same is written and read back; nothing that they say is lost.
    """
    lineage = session.repository().lineage
    with session.progress("Joining", "object") as progress:
        plan, report = lineage.compact(
            older_than=timedelta(days=older_than), plan_only=not yes, progress=progress
        )
    values = {
        "objects": plan.objects,
        "size": plan.size,
        "months": plan.lines(),
        "bundles": report.bundles if report else [],
        "deleted": report.deleted if report else 0,
        "problems": [{"key": key, "reason": reason} for key, reason in report.problems] if report else [],
    }
    session.out.show(values, plan.lines())
    if not plan.groups:
        session.out.note("Nothing is worth joining.")
    elif report is None:
        session.out.note(
            f"{count(plan.objects, 'object')}, {size(plan.size)}, would be joined: --yes does it."
        )
    else:
        session.out.note(f"{count(report.deleted, 'object')} became {count(len(report.bundles), 'bundle')}.")
        session.finish(report.problems, "could not be joined")
