"""How plans of transfers look: the same lines for a fetch and an upload."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dataver_cli.output import count, duration, size

if TYPE_CHECKING:
    from dataver.checkout.fetch_plan import FetchPlan
    from dataver.ingest.upload_plan import UploadPlan

__all__ = ["fetch_plan_lines", "plan_values", "upload_plan_lines"]


def plan_values(plan: "FetchPlan | UploadPlan") -> dict[str, Any]:
    """Return a plan as JSON has it."""
    values = asdict(plan)
    speed = values.pop("speed")
    if values["seconds"] is not None:
        values["seconds"] = round(values["seconds"], 3)
    return values | {
        "bytes_per_second": round(speed[0]) if speed else None,
        "known_from": speed[1] if speed else None,
    }


def fetch_plan_lines(plan: "FetchPlan") -> list[str]:
    """Return what a fetch would do."""
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
    """Return what an upload would do."""
    there = f"; {count(plan.there, 'pack')} are there already" if plan.there else ""
    parts = f"{count(plan.packs, 'pack')} and {count(plan.blocks, 'tree block')}"
    return [
        f"version   {count(plan.files, 'file')}, {size(plan.size)}",
        f"to move   {size(plan.transferred)} in {parts}, about {count(plan.requests, 'request')}{there}",
        _time(plan),
    ]


def _time(plan: "FetchPlan | UploadPlan") -> str:
    if plan.seconds is None:
        return "time      not known: no transfer of some size with this repository is remembered"
    if plan.speed is None:
        return "time      none"
    return f"time      {duration(plan.seconds)} at {size(round(plan.speed.speed))}/s ({plan.speed.source})"
