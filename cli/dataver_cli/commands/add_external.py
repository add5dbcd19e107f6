"""`dataver add-external`."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from dataver_cli.command import draft_option, exclude_option, include_option, option, plan_option, subcommand
from dataver_cli.output import count, duration, size
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver.ingest.external import ExternalPlan, ExternalReport


@subcommand(
    "add-external",
    examples="""
        dataver add-external s3://telescope/2026/ --dest nights
        dataver add-external s3://telescope/2026/ --include '*.fits' --exclude dark/
        dataver add-external /data/scans --plan       # show how much would be read
    """,
)
@click.argument("sources", nargs=-1, required=True, metavar="URL...")
@option("--dest", also=["--dataset-folder"], default="", metavar="FOLDER", help="Folder inside the version.")
@include_option("Only matching files. Repeatable.")
@exclude_option("Omit matching files. Repeatable.")
@plan_option("recorded and read")
@draft_option
def command(session: Session, sources: tuple[str, ...], plan: bool, draft: str | None, **how: Any) -> None:
    """Record files that stay where they are, without copying them.

    The files are in a bucket or in a folder. Each file is read once to hash it. The draft records its URL,
    size, ETag, version id and digests. The version has the same digest as if the bytes were stored. A fetch
    reads the files there, verifies every byte, and names the files that have changed. Files that are already
    recorded and unchanged are not read again.

    This allows the current user to read these places. Other users must allow it first, unless the files are
    in the repository's own bucket; their error message contains the command.
    """
    target = session.draft(draft)
    if plan:
        planned = target.plan_external(*sources, **how)
        session.out.show({"draft": target.id, **_plan_values(planned)}, _plan_lines(planned))
        session.finish(planned.problems, "cannot be recorded")
        return
    with session.progress("Recording", fresh="read") as progress:
        report = target.add_external(*sources, progress=progress, **how)
    session.out.show({"draft": target.id, "dataset": target.dataset, **_values(report)}, [])
    session.out.note(
        f"Recorded in {target.dataset}: {count(report.files, 'file')} that stay where they are "
        f"({size(report.size)}), {report.unchanged:,} unchanged, {size(report.read)} read, "
        f"{duration(report.seconds)}."
    )
    if report.allowed is not None:
        session.out.note(f"Reading them is now allowed on this machine: see {report.allowed}.")
    session.finish(report.problems, "could not be recorded")


def _values(report: "ExternalReport") -> dict[str, Any]:
    values = asdict(report) | {"seconds": round(report.seconds, 3)}
    values["allowed"] = None if report.allowed is None else str(report.allowed)
    return _with_problems(values)


def _plan_values(plan: "ExternalPlan") -> dict[str, Any]:
    return _with_problems(asdict(plan))


def _with_problems(values: dict[str, Any]) -> dict[str, Any]:
    values["problems"] = [{"name": name, "reason": reason} for name, reason in values["problems"]]
    return values


def _plan_lines(plan: "ExternalPlan") -> list[str]:
    lines = [
        f"to record  {count(plan.files, 'file')}, {size(plan.size)}",
        f"as before  {count(plan.unchanged, 'file')}",
        f"to read    {size(plan.read)}",
    ]
    if plan.places:
        lines.append(f"to allow   {', '.join(plan.places)}")
    return lines
