"""`dataver add-external`."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from dataver_cli.command import draft_option, option, subcommand
from dataver_cli.output import count, duration, size
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver.ingest.external import ExternalPlan, ExternalReport


@subcommand(
    "add-external",
    examples="""
        dataver add-external s3://telescope/2026/ --dest nights
        dataver add-external s3://telescope/2026/ --include '*.fits' --exclude 'dark/'
        dataver add-external /data/scans --plan       # how much would be read?
    """,
)
@click.argument("sources", nargs=-1, required=True, metavar="URL...")
@option("--dest", also=["--dataset-folder"], default="", metavar="FOLDER", help="Folder inside the version.")
@option(
    "--include", also=["--wildcard"], multiple=True, metavar="PATTERN", help="Only what matches. Repeatable."
)
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Leave out what matches. Repeatable.")
@click.option("--plan", is_flag=True, help="Only show what would be recorded and read.")
@draft_option
def command(session: Session, sources: tuple[str, ...], plan: bool, draft: str | None, **how: Any) -> None:
    """Record files that stay where they are, without copying them.

    They may be in a bucket or in a folder. Each is read once, to be hashed; the draft holds where it is, its
    size, ETag, version id and digests, and the version has the digest that it would have with the bytes
    stored. Whoever fetches it reads the files there, every byte verified, and is told by name which of them
    changed. What is recorded already as it is now is not read again.

    This machine may read the places from then on. Others have to allow that first, unless the files are in
    the repository's own bucket; the error that they meet says how.
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
        session.out.note(f"This machine may read them from now on: see {report.allowed}.")
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
