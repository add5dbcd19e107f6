"""Output of plans: of what would be added, and the same lines for a fetch and an upload."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dataver_cli.output import count, duration, size

if TYPE_CHECKING:
    from dataver.checkout.fetch_plan import FetchPlan
    from dataver.ingest.add_plan import AddPlan
    from dataver.ingest.upload_plan import UploadPlan
    from dataver_cli.session import Session

__all__ = ["fetch_plan_lines", "plan_values", "show_add_plan", "upload_plan_lines"]


def plan_values(plan: "FetchPlan | UploadPlan") -> dict[str, Any]:
    """Return a plan as JSON values."""
    values = asdict(plan)
    speed = values.pop("speed")
    if values["seconds"] is not None:
        values["seconds"] = round(values["seconds"], 3)
    return values | {
        "bytes_per_second": round(speed[0]) if speed else None,
        "known_from": speed[1] if speed else None,
    }


def fetch_plan_lines(plan: "FetchPlan") -> list[str]:
    """Return the plan of a fetch as lines of text."""
    lines = [
        f"wanted    {count(plan.files, 'file')}, {size(plan.size)}",
        f"here      {count(plan.reused_files, 'whole file')}, {size(plan.reused)}",
        f"to move   {size(plan.transferred)} in {count(plan.requests, 'request')}",
        _time(plan),
    ]
    if plan.differing:
        lines.append(f"in the way  {count(plan.differing, 'file')} that differ; --overwrite replaces them")
    return lines


def upload_plan_lines(plan: "UploadPlan") -> list[str]:
    """Return the plan of an upload as lines of text."""
    there = f"; {count(plan.there, 'pack')} already there" if plan.there else ""
    parts = f"{count(plan.packs, 'pack')} and {count(plan.blocks, 'tree block')}"
    return [
        f"version   {count(plan.files, 'file')}, {size(plan.size)}",
        f"to move   {size(plan.transferred)} in {parts}, about {count(plan.requests, 'request')}{there}",
        _time(plan),
    ]


def show_add_plan(session: "Session", plan: "AddPlan", where: str) -> None:
    """Print the plan of an `add` or `sync`: a line a path, marked as by `status`, and the counts."""
    problems = [{"name": name, "reason": reason} for name, reason in plan.problems]
    marked = (("A", plan.added), ("M", plan.changed), ("?", plan.unknown), ("D", plan.removed))
    session.out.show(
        asdict(plan) | {"problems": problems}, (f"{mark}  {path}" for mark, paths in marked for path in paths)
    )
    unknown = f", {len(plan.unknown):,} known once read" if plan.unknown else ""
    session.out.note(
        f"Would change {where}: {len(plan.added):,} added, {len(plan.changed):,} changed{unknown}, "
        f"{len(plan.removed):,} removed, {plan.unchanged:,} unchanged; {size(plan.read)} to read."
    )
    session.finish(plan.problems, "cannot be added")


def _time(plan: "FetchPlan | UploadPlan") -> str:
    if plan.seconds is None:
        return "time      unknown: no earlier transfer of at least 1 MB with this repository is recorded"
    if plan.speed is None:
        return "time      none"
    return f"time      {duration(plan.seconds)} at {size(round(plan.speed.speed))}/s ({plan.speed.source})"
