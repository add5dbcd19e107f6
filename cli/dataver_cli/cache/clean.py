"""`dataver cache clean`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dataver_cli.cache_parts import drop_parts, part_sizes
from dataver_cli.command import plan_option, subcommand
from dataver_cli.output import count, size
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver.cache.eviction import CleanPlan


@subcommand(
    "clean",
    repo=False,
    examples="""
        dataver cache clean                      # show the plan, then ask
        dataver cache clean --older 30d --yes
        dataver cache clean --all --plan         # include small objects and indexes; only show the plan
    """,
)
@click.option("--older", metavar="PERIOD", help="Only versions not used for this time: 30d, 12h, 90min.")
@click.option(
    "--all", "everything", is_flag=True, help="Include small objects, chunk indexes and hashes of files."
)
@plan_option("removed", "only_plan")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def command(session: Session, older: str | None, everything: bool, only_plan: bool, yes: bool) -> None:
    """Remove cached versions that are not in use.

    Shows the plan, then asks; without a terminal, --yes is required. Versions that a live process uses are
    kept. Removed data is fetched again when it is needed. Drafts and repositories are not changed.
    """
    from dataver.cache.eviction import clean, plan_clean
    from dataver.cache.version_cache import VersionCache
    from dataver.machine.cache_root import open_cache_root, private_cache_root
    from dataver.machine.store_clock import parse_period

    cache, private = VersionCache(open_cache_root()), private_cache_root()
    plan = plan_clean(cache, older=parse_period(older).total_seconds() if older else 0.0)
    freed = plan.size + (sum(total for _, total in part_sizes(private).values()) if everything else 0)
    values = _values(plan, freed, private if everything else None)
    if not only_plan and not yes:
        session.out.confirm(_lines(plan, freed, everything), "Remove all of these?", "removing these")
    if only_plan:
        session.out.show(values, _lines(plan, freed, everything))
        return
    gone, problems = clean(cache, plan)
    if everything:
        drop_parts(private)
    session.out.show(values | {"removed": gone}, [])
    session.out.note(f"Removed {count(gone, 'folder')} and freed {size(freed)}.")
    session.finish(problems, "could not be removed")


def _values(plan: "CleanPlan", freed: int, private: Path | None) -> dict[str, object]:
    return {
        "versions": [{"ref": each.folder.ref, "path": str(each.folder.path)} for each in plan.folders],
        "interrupted": [str(path) for path in plan.left],
        "kept": [{"ref": each.folder.ref, "in_use_by": each.users} for each in plan.kept],
        "parts": str(private) if private else None,
        "size": freed,
    }


def _lines(plan: "CleanPlan", freed: int, everything: bool) -> list[str]:
    from dataver.cache.leases import describe_holder

    lines = [f"{each.folder.ref or each.folder.path.name}  {each.folder.path}" for each in plan.folders]
    lines += [f"interrupted  {path}" for path in plan.left]
    lines += [
        f"kept: {each.folder.ref}, used by {'; '.join(map(describe_holder, each.users))}"
        for each in plan.kept
    ]
    rest = ", and all small objects and indexes" if everything else ""
    folders = count(len(plan.folders) + len(plan.left), "folder")
    return [*lines, f"{folders}{rest}; {size(freed)} would be freed"]
