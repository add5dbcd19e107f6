"""`dataver cache clean`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dataver_cli.cache_parts import drop_parts, part_sizes
from dataver_cli.command import subcommand
from dataver_cli.output import count, size
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver.checkout.cache_keeping import CleanPlan


@subcommand(
    "clean",
    repo=False,
    examples="""
        dataver cache clean                      # shows what would go, then asks
        dataver cache clean --older 30d --yes
        dataver cache clean --all --plan         # small objects and indexes, too; only show
    """,
)
@click.option("--older", metavar="PERIOD", help="Only versions not used for so long: 30d, 12h, 90min.")
@click.option(
    "--all", "everything", is_flag=True, help="Also small objects, chunk indexes and hashes of files."
)
@click.option("--plan", "only_plan", is_flag=True, help="Only say what would be removed.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def command(session: Session, older: str | None, everything: bool, only_plan: bool, yes: bool) -> None:
    """Remove cached versions that nobody uses.

    Shows the plan, then asks; where nobody can answer it wants --yes. What a live process uses stays.
    Whatever is removed is fetched again when it is needed; drafts and repositories are not touched.
    """
    from dataver.checkout.cache_keeping import clean, plan_clean
    from dataver.checkout.version_cache import VersionCache
    from dataver.repository.keeping.clock import parse_period
    from dataver.repository.places import cache_root
    from dataver.repository.private_place import private_cache_root

    cache, private = VersionCache(cache_root()), private_cache_root()
    plan = plan_clean(cache, older=parse_period(older).total_seconds() if older else 0.0)
    freed = plan.size + (sum(total for _, total in part_sizes(private).values()) if everything else 0)
    values = _values(plan, freed, private if everything else None)
    if not only_plan and not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("nobody is there to ask; look with --plan, then add --yes")
        click.echo("\n".join(_lines(plan, freed, everything)), err=True)
        if not click.confirm("Remove all that?", err=True):
            raise click.Abort
    if only_plan:
        session.out.show(values, _lines(plan, freed, everything))
        return
    gone, problems = clean(cache, plan)
    if everything:
        drop_parts(private)
    session.out.show(values | {"removed": gone}, [])
    session.out.note(f"Removed {count(gone, 'folder')}; {size(freed)} became free.")
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
    from dataver.checkout.cache_locks import shown

    lines = [f"{each.folder.ref or each.folder.path.name}  {each.folder.path}" for each in plan.folders]
    lines += [f"interrupted  {path}" for path in plan.left]
    lines += [f"stays: {each.folder.ref}, used by {'; '.join(map(shown, each.users))}" for each in plan.kept]
    rest = ", and all small objects and indexes" if everything else ""
    folders = count(len(plan.folders) + len(plan.left), "folder")
    return [*lines, f"{folders}{rest}; {size(freed)} would become free"]
