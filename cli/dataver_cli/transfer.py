"""Common parts of `push`, `pull` and `mirror`: their options, and the output of plans and reports."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from dataver_cli.command import plan_option
from dataver_cli.output import count, duration, size
from dataver_cli.session import Session, parse_pairs

if TYPE_CHECKING:
    from dataver import MoveReport
    from dataver.transfer import MovePlan

__all__ = ["end_option", "move", "move_options"]

Function = Callable[..., object]

_SHOWN = 40


def move_options(function: Function) -> Function:
    """Declare the options that all three commands have."""
    for decorate in (
        click.option(
            "--verify", is_flag=True, help="Read the copied versions back from the target and verify them."
        ),
        click.option("--no-lineage", is_flag=True, help="Do not copy the events of linked runs."),
        plan_option("copied", "only_plan"),
    ):
        function = decorate(function)
    return function


def end_option(name: str, what: str) -> Callable[[Function], Function]:
    """Declare storage options for one of the two repositories."""
    return click.option(
        name,
        metavar="KEY=VALUE",
        multiple=True,
        callback=parse_pairs,
        help=f"Like --storage-option, for {what}.",
    )


def move(session: Session, plan: "MovePlan", *, only_plan: bool, verify: bool) -> None:
    """Show a plan, or execute it and show the report."""
    from dataver.api.transfer import execute

    if only_plan:
        session.out.show(_plan_values(plan), _plan_lines(plan))
        session.finish(plan.problems, "cannot be moved")
        return
    with session.progress("Moving", "pack") as progress:
        report = execute(plan, verify=verify, progress=progress)
    session.out.show(_report_values(plan, report), [version.ref for version in report.versions])
    session.out.note(_closing(plan, report))
    if plan.extra:
        session.out.warn(
            f"{plan.target.url} also contains {count(len(plan.extra), 'version')} that {plan.source.url} "
            f"does not have, such as {plan.extra[0]}; nothing was deleted"
        )
    if plan.doomed:
        session.out.warn(
            f"{count(len(plan.doomed), 'version')} deleted in {plan.source.url} stay in {plan.target.url}: "
            f"{', '.join(plan.doomed[:5])}; `dataver delete --repo {plan.target.url}` deletes them there"
        )
    session.finish(report.problems, "could not be moved")


def _plan_values(plan: "MovePlan") -> dict[str, Any]:
    lineage = plan.lineage
    return {
        "source": plan.source.url,
        "target": plan.target.url,
        "versions": [each.ref for each in plan.versions],
        "there": [each.ref for each in plan.there],
        "extra": plan.extra,
        "deleted_in_source": plan.doomed,
        "tombstones": len(plan.deleted),
        "packs": plan.packs,
        "blocks": plan.blocks,
        "tags": [each.ref for each in plan.tags],
        "descriptions": sum(len(each.numbers) for each in plan.descriptions),
        "profiles": len(plan.profiles),
        "events": len(lineage.objects) + len(lineage.parts) if lineage else 0,
        "attachments": len(lineage.attachments) if lineage else 0,
        "size": plan.size,
        "requests": plan.requests,
        "problems": [{"name": name, "reason": reason} for name, reason in plan.problems],
    }


def _plan_lines(plan: "MovePlan") -> list[str]:
    values = _plan_values(plan)
    lines = [f"{each.ref}  {size(each.record.size)}" for each in plan.versions[:_SHOWN]]
    if len(plan.versions) > _SHOWN:
        lines.append(f"… and {len(plan.versions) - _SHOWN:,} more (--json lists all)")
    lines += [f"{tag.ref} -> {tag.label or 'removed'}" for tag in plan.tags[:_SHOWN]]
    lines.append(
        f"From {plan.source.url} to {plan.target.url}: {count(len(plan.versions), 'version')} "
        f"({len(plan.there):,} already there), {count(plan.packs, 'pack')}, "
        f"{count(plan.blocks, 'tree block')}, {count(len(plan.tags), 'tag')}, "
        f"{count(values['descriptions'], 'description')}, "
        f"{count(values['events'] + values['attachments'], 'lineage object')}; "
        f"{size(plan.size)} in about {count(plan.requests, 'request')}."
    )
    return lines


def _report_values(plan: "MovePlan", report: "MoveReport") -> dict[str, Any]:
    return {
        "source": plan.source.url,
        "target": plan.target.url,
        "versions": [each.ref for each in report.versions],
        "there": report.there,
        "extra": plan.extra,
        "deleted_in_source": plan.doomed,
        "tombstones": report.tombstones,
        "packs": report.packs,
        "blocks": report.blocks,
        "tags": report.tags,
        "descriptions": report.descriptions,
        "profiles": report.profiles,
        "events": report.events,
        "attachments": report.attachments,
        "size": report.size,
        "checked": report.checked,
        "seconds": round(report.seconds, 3),
        "problems": [{"name": name, "reason": reason} for name, reason in report.problems],
    }


def _closing(plan: "MovePlan", report: "MoveReport") -> str:
    lineage = report.events + report.attachments
    beside = report.tags or report.descriptions or report.profiles or report.tombstones
    moved = report.versions or beside or lineage
    if not moved and not report.problems:
        done = f"Nothing to move: {plan.target.url} has all {count(report.there, 'version')}"
    else:
        done = (
            f"Moved {count(len(report.versions), 'version')} to {plan.target.url} "
            f"({report.there:,} already there): {count(report.packs, 'pack')}, "
            f"{count(report.blocks, 'tree block')}, {count(report.tags, 'move')} of tags, "
            f"{count(report.descriptions, 'description')}, {count(lineage, 'lineage object')}, "
            f"{size(report.size)}"
        )
    checked = f"; {count(report.checked, 'object')} verified there" if report.checked else ""
    return f"{done}{checked}, {duration(report.seconds)}."
