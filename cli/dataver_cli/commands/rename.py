"""`dataver rename`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from dataver_cli.command import plan_option, ref_argument, subcommand
from dataver_cli.output import count
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver.maintenance.rename import RenamePlan


@subcommand(
    "rename",
    examples="""
        dataver rename vision/cats animals/cats --plan     # show the versions and tags
        dataver rename vision/cats animals/cats            # asks first
    """,
)
@ref_argument("old")
@click.argument("new")
@plan_option("renamed")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def command(session: Session, old: str, new: str, *, plan: bool, yes: bool) -> None:
    """Rename a dataset: all its versions and tags.

    Versions keep label, content, time, author and history; no data is transferred. References to the old
    name, also in dataver.lock, are then errors that contain the new name. Nothing can be published under
    the old name any more, so a dataset cannot be renamed back. Runs stay linked to the old name, and
    lineage finds them by content. After an interruption, the same command continues.
    """
    repository = session.repository()
    found = repository.plan_rename(old, new)
    if plan:
        session.out.show(_values(found, renamed=False), _lines(found))
        return
    if found.versions and not yes:
        what = f"{old} with {count(len(found.versions), 'version')} to {new}"
        session.out.confirm(_lines(found), f"Rename {what}?", f"renaming {what}")
    found = repository.rename(old, new)
    session.out.show(_values(found, renamed=True), [])
    if found.versions:
        held = f"{count(len(found.versions), 'version')}, {count(len(found.tags), 'tag')}"
        session.out.note(f"Renamed {old} to {new} in {repository.url}: {held}.")
    else:
        session.out.note(f"Nothing to do: {old} was renamed to {new} already.")
    session.finish(found.problems, "could not be renamed")


def _lines(plan: "RenamePlan") -> Iterator[str]:
    for label in plan.versions:
        done = "  (published already)" if label in plan.done else ""
        yield f"{plan.old}@{label} -> {plan.new}@{label}{done}"
    for tag, label in plan.tags.items():
        yield f"{plan.old}@{tag} -> {plan.new}@{tag}  (tag of {label})"


def _values(plan: "RenamePlan", *, renamed: bool) -> dict[str, object]:
    return {
        "renamed": renamed,
        "old": plan.old,
        "new": plan.new,
        "versions": plan.versions,
        "tags": plan.tags,
        "done": plan.done,
    }
