"""Options and output that all commands of `dataver import` share."""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

import click

from dataver_cli.command import plan_option
from dataver_cli.output import count, duration, size
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver.importers.planning import ImportPlan
    from dataver.importers.source import Source

__all__ = ["Import", "git_options", "import_options", "name_option", "run_import", "strict_option"]

Import = Callable[["Source"], None]
"""Imports a source, or shows the plan, as the options of the command say."""

_SHOWN = 20  # versions that a plan names

name_option = click.option(
    "--name", metavar="NAME", help="Dataset that receives the versions. Default: named after the source."
)
_ref_option = click.option(
    "--ref",
    "refs",
    multiple=True,
    metavar="REF",
    help="Branch, tag or commit of git whose history is imported, that of the main line first. Repeatable. "
    "Default: all branches and tags.",
)
_path_option = click.option(
    "--path", default="", metavar="PATH", help="Import only data at or below this path of the repository."
)
_in_place_option = click.option(
    "--in-place",
    is_flag=True,
    help="Leave objects where they are: read each once to hash it, store no bytes, and allow this machine "
    "to read the places that --plan lists.",
)

strict_option = click.option(
    "--strict",
    is_flag=True,
    help="Make no version that lacks a file: stop there, so that the source can be mended first.",
)


def import_options(function: Callable[..., None]) -> Callable[..., object]:
    """Declare `--in-place`, `--strict` and `--plan`; the command gets `run`, which imports a source."""

    @wraps(function)
    def command(session: Session, *, in_place: bool, strict: bool, plan: bool, **given: Any) -> None:
        run = partial(run_import, session, in_place=in_place, strict=strict, plan=plan)
        function(session, run=run, **given)

    return _in_place_option(strict_option(plan_option("imported")(command)))


def git_options(function: Callable[..., object]) -> Callable[..., object]:
    """Declare what an import from git takes: the repository, `--ref`, `--path` and `--name`."""
    for option in (
        name_option,
        _path_option,
        _ref_option,
        click.argument("repository", metavar="FOLDER|URL"),
    ):
        function = option(function)
    return function


def run_import(session: Session, source: "Source", *, plan: bool, in_place: bool, strict: bool) -> None:
    """Import a source, or show the plan, and print the result."""
    if plan:
        _show_plan(session, source, in_place=in_place)
        return
    from dataver.importers.importing import import_versions

    repository = session.repository()
    with session.progress("Importing", fresh="new") as progress:
        report = import_versions(repository, source, in_place=in_place, strict=strict, progress=progress)
    session.out.show(
        {
            "from": source.kind,
            "source": source.location,
            "versions": [{"ref": each.ref, "digest": each.digest} for each in report.versions],
            "known": report.known,
            "files": report.files,
            "size": report.size,
            "stored": report.stored,
            "places": report.places,
            "tags": [{"tag": tag, "ref": ref} for tag, ref in report.tags],
            "seconds": round(report.seconds, 3),
            "problems": _named(report.problems),
        },
        (f"{each.ref}  {each.digest}" for each in report.versions),
    )
    known = f" ({report.known:,} were there)" if report.known else ""
    stored = "" if in_place and not report.stored else f", {size(report.stored)} stored"
    session.out.note(
        f"Imported {count(len(report.versions), 'version')}{known} from {source.location}: "
        f"{count(report.files, 'file')} read, {size(report.size)}{stored}, {duration(report.seconds)}."
    )
    for place in report.places:
        session.out.note(f"Reading {place} is now allowed on this machine.")
    for tag, ref in report.tags:
        session.out.note(f"Tagged {ref} as {tag}.")
    session.finish(report.problems, "could not be imported")


def _show_plan(session: Session, source: "Source", *, in_place: bool) -> None:
    from dataver.importers.planning import plan_import

    plan = plan_import(session.repository(), source, in_place=in_place)
    versions = [{"dataset": name, "id": key, "message": text} for name, key, text in plan.versions]
    values = asdict(plan) | {"versions": versions, "problems": _named(plan.problems)}
    speed = values.pop("speed")
    values["bytes_per_second"] = round(speed[0]) if speed else None
    session.out.show(values, _plan_lines(plan))
    session.finish(plan.problems, "cannot be imported")


def _plan_lines(plan: "ImportPlan") -> list[str]:
    lines = [
        f"{dataset}  {key[:12] if key.isalnum() else key}  {message.partition(chr(10))[0]}"[:100]
        for dataset, key, message in plan.versions[:_SHOWN]
    ]
    if len(plan.versions) > _SHOWN:
        lines.append(f"and {len(plan.versions) - _SHOWN:,} more")
    unsized = f", and {count(plan.unsized, 'file')} of unknown size" if plan.unsized else ""
    lines += [
        f"versions  {len(plan.versions):,} to make, {plan.known:,} there",
        f"to read   {count(plan.files, 'file')}, {size(plan.size)}{unsized}",
        f"to store  at most {size(plan.stored)}" if plan.stored else "to store  no bytes of files",
    ]
    if plan.places:
        lines.append(f"to allow  {', '.join(plan.places)}")
    if plan.seconds is not None and plan.speed is not None:
        rate = f"{size(round(plan.speed.speed))}/s ({plan.speed.source})"
        lines.append(f"time      about {duration(plan.seconds)} at {rate}")
    return lines


def _named(problems: list[tuple[str, str]]) -> list[dict[str, Any]]:
    return [{"name": name, "reason": reason} for name, reason in problems]
