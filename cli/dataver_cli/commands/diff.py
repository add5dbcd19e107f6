"""`dataver diff`."""

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from dataver.errors import InvalidInput, NotFound, PathNotFound
from dataver.tree import path_of
from dataver.tree.selection import literal
from dataver_cli.command import exclude_option, include_option, option, ref_argument, subcommand
from dataver_cli.output import count, size
from dataver_cli.render import diff_lines, diff_summary, diff_values
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver import Diff, Version
    from dataver.diffs import ContentDiff

_TABLES = 20  # compared by --stat
_READ = 256_000_000  # bytes that --stat reads


@subcommand(
    "diff",
    examples="""
        dataver diff vision/cats@1.0.0 vision/cats@1.0.1
        dataver diff vision/cats                       # what the latest version changed
        dataver diff vision/cats@1.0.0 vision/dogs --stat
        dataver diff vision/cats --include train --exclude '*.tmp'
        dataver diff vision/cats@1.0.0 vision/cats@1.0.1 labels.csv --key id
        dataver diff vision/cats labels.csv            # what the latest version changed in it
    """,
)
@ref_argument("old", required=False)
@ref_argument("new", required=False)
@click.argument("path", required=False)
@include_option("Only changes of matching paths. Repeatable.")
@exclude_option("No changes of matching paths. Repeatable.")
@click.option("--stat", is_flag=True, help="Counts only: of paths, and of rows of modified tables.")
@click.option(
    "--key",
    metavar="COLUMNS",
    help="Columns that identify a row, such as id or day,shop; '' compares whole rows. "
    "Default: a column that is unique and not NULL in both versions.",
)
@click.option("--old-path", metavar="PATH", help="Path of the file in OLD, if it is not PATH.")
@click.option(
    "--rows",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="Rows, values or tensors of each kind to show.",
)
@option("--source", hidden=True)
@option("--target", hidden=True)
def command(
    session: Session,
    old: str | None,
    new: str | None,
    path: str | None,
    *,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    stat: bool,
    key: str | None,
    old_path: str | None,
    rows: int,
    source: str | None,
    target: str | None,
) -> None:
    """Show the differences between two versions, or those of a version from its parent.

    A marks added, D removed, M modified and R renamed paths. With one REF, compares the version with its
    first parent; every path of a version without a parent is added.

    If PATH is a file of both versions, shows what changed in it: rows and columns of tables (CSV, TSV, JSON
    lines, Parquet, Arrow), values of JSON, pixels of images, elements of tensors (.npy, .npz, .safetensors),
    lines of other text. Any other PATH selects paths, as --include does. After a single REF, the second
    argument is a PATH if it is a file of that version and not the name of a dataset.

    Rows of tables are marked as daff does: +++ added, --- removed, -> changed. Drift is the population
    stability index of a column, shown from 0.1 on. --stat reads up to 20 modified tables of 256 MB together.
    """
    first, second = source or old, target or new
    if first is None and second is None:
        raise click.UsageError("missing version: dataver diff OLD NEW")
    repository = session.repository()
    one = repository.version(first or second or "")
    two: Version | None = None
    if first and second:
        try:
            two = repository.version(second)
        except (NotFound, InvalidInput):
            if path is not None or target or one.tree.get(path_of(second)) is None:
                raise
            path = second
    if path is None and (key is not None or old_path is not None):
        raise click.UsageError("--key and --old-path need the PATH of a file")
    before = one.ref if two else next((f"{each.dataset}@{each.label}" for each in one.parents), None)
    names = {"old": before, "new": (two or one).ref}
    title = f"{before or 'nothing'} -> {names['new']}"
    if path is not None:
        try:
            columns = None if key is None else [name for name in key.split(",") if name]
            with one.diff(two).content(path, old_path=old_path, key=columns) as found:
                _show(session, names, title, path, found, None if stat else rows)
            return
        except PathNotFound:
            if key is not None or old_path is not None:
                raise
        known = any(each is not None and each.tree.get(path_of(path)) for each in (one, two))
        include = (*include, literal(path_of(path)) if known else path)
    diff = one.diff(two, include=include or None, exclude=exclude)
    lines, values = diff_lines(diff), diff_values(diff)
    if stat:
        tables = list(_tables(session, diff))
        values = {"summary": diff.summary(), "tables": [each for each, _ in tables]}
        lines = (line for _, line in tables)
    last = f"{title}: {diff_summary(diff)}."
    session.out.show({**names, **values}, chain(lines, (last,)))


def _show(
    session: Session, names: dict[str, Any], title: str, path: str, found: "ContentDiff", rows: int | None
) -> None:
    """Print the difference of the contents of a file; without `rows`, only its counts."""
    from dataver_cli.render_content import content_lines

    values = {**names, "path": path, "kind": found.kind, "different": bool(found), **found.values(rows or 0)}
    lines = () if rows is None else content_lines(found, rows)
    session.out.show(values, chain((f"{title}: {path}: {found.summary()}.",), lines))


def _tables(session: Session, diff: "Diff") -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the counts of modified tables, as JSON values and as a line."""
    from dataver.extras import has_extra
    from dataver.tables import format_of

    left, number, skipped = _READ, 0, 0
    for path, old, new in diff:
        if (
            old is None
            or new is None
            or old.path != new.path
            or not (format_of(path) and has_extra("tables"))
        ):
            continue
        if number == _TABLES or (left := left - old.size - new.size) < 0:
            skipped += 1
            continue
        number += 1
        try:
            with diff.content(path) as found:
                yield {"path": path, **found.values(0)}, f"{found.summary()} in {path}"
        except InvalidInput as error:
            yield {"path": path, "problem": error.message}, error.message
    if skipped:
        session.out.note(
            f"{count(skipped, 'modified table')} not compared: --stat reads {_TABLES} of them and "
            f"{size(_READ)} at most. `dataver diff OLD NEW PATH` compares any one."
        )
