"""`dataver lineage compact`."""

from datetime import timedelta

import click

from dataver_cli.command import subcommand
from dataver_cli.output import count, size
from dataver_cli.session import Session


@subcommand(
    "compact",
    examples="""
        dataver lineage compact                # show the plan
        dataver lineage compact --yes
        dataver lineage compact --older-than 0 --yes
    """,
)
@click.option("--yes", is_flag=True, help="Execute the plan; without this it is only shown.")
@click.option(
    "--older-than",
    type=click.IntRange(min=0),
    default=3,
    show_default=True,
    metavar="DAYS",
    help="Combine only objects older than this.",
)
def command(session: Session, yes: bool, older_than: int) -> None:
    """Combine many small lineage objects of the repository into few.

    So a repository with a million runs can still be listed quickly. The new object is written and read back
    before the old objects are deleted. No information is lost.
    """
    lineage = session.repository().lineage
    with session.progress("Combining", "object") as progress:
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
        session.out.note("Nothing to combine.")
    elif report is None:
        session.out.note(
            f"{count(plan.objects, 'object')}, {size(plan.size)}, would be combined; add --yes to do it."
        )
    else:
        session.out.note(
            f"Combined {count(report.deleted, 'object')} into {count(len(report.bundles), 'bundle')}."
        )
        session.finish(report.problems, "could not be combined")
