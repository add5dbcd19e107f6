"""`dataver diff`."""

from itertools import chain
from typing import Any

import click

from dataver_cli.command import exclude_option, include_option, option, ref_argument, subcommand
from dataver_cli.render import diff_lines, diff_summary, diff_values
from dataver_cli.session import Session


@subcommand(
    "diff",
    examples="""
        dataver diff vision/cats@1.0.0 vision/cats@1.0.1
        dataver diff vision/cats                       # what the latest version changed
        dataver diff vision/cats@1.0.0 vision/dogs --stat
        dataver diff vision/cats --include train --exclude '*.tmp'
    """,
)
@ref_argument("old", required=False)
@ref_argument("new", required=False)
@include_option("Only changes of matching paths. Repeatable.")
@exclude_option("No changes of matching paths. Repeatable.")
@click.option("--stat", is_flag=True, help="Counts only.")
@option("--source", hidden=True)
@option("--target", hidden=True)
def command(
    session: Session,
    old: str | None,
    new: str | None,
    *,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    stat: bool,
    source: str | None,
    target: str | None,
) -> None:
    """Show the differences between two versions, or those of a version from its parent.

    A marks added, D removed, M modified and R renamed paths. With one REF, compares the version with its
    first parent; every path of a version without a parent is added.
    """
    first, second = source or old, target or new
    if first is None and second is None:
        raise click.UsageError("missing version: dataver diff OLD NEW")
    repository = session.repository()
    chosen: dict[str, Any] = {"include": include or None, "exclude": exclude}
    one = repository.version(first or second or "")
    if first and second:
        two = repository.version(second)
        before: str | None = one.ref
        after, diff = two.ref, one.diff(two, **chosen)
    else:
        before = next((f"{each.dataset}@{each.label}" for each in one.parents), None)
        after, diff = one.ref, one.diff(**chosen)
    values = {"old": before, "new": after, **({"summary": diff.summary()} if stat else diff_values(diff))}
    last = f"{before or 'nothing'} -> {after}: {diff_summary(diff)}."
    session.out.show(values, chain(() if stat else diff_lines(diff), (last,)))
