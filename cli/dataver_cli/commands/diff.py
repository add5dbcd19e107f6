"""`dataver diff`."""

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from dataver.documents import diff_values
from dataver.errors import InvalidInput, NotFound, PathNotFound
from dataver_cli.command import exclude_option, include_option, option, ref_argument, subcommand
from dataver_cli.output import count, size
from dataver_cli.render import diff_lines, diff_summary
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver import Diff, Repository, Version
    from dataver.diffs import ContentDiff

_TABLES = 20  # compared by --stat
_READ = 256_000_000  # bytes that --stat reads
_ROWS = 10  # shown
_LISTS = ("added", "removed", "changed", "changes", "diff")  # what --stat leaves out


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
    metavar="COLUMN",
    multiple=True,
    help="Column that identifies a row; repeatable, for several together. '' compares whole rows. "
    "Default: a column that is unique and not NULL in both versions.",
)
@click.option("--old-path", metavar="PATH", help="Path of the file in OLD, if it is not PATH.")
@click.option(
    "--rows",
    type=click.IntRange(min=0),
    help=f"Rows, values or tensors of each kind to show.  [default: {_ROWS}; with --json, all]",
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
    key: tuple[str, ...],
    old_path: str | None,
    rows: int | None,
    source: str | None,
    target: str | None,
) -> None:
    """Show the differences between two versions, or those of a version from its parent.

    A marks added, D removed, M modified and R renamed paths. With one REF, compares the version with its
    first parent; every path of a version without a parent is added.

    If PATH is a file of both versions, shows what changed in it: rows and columns of tables (CSV, TSV, JSON
    lines, Parquet, Arrow), values of JSON, pixels of images, elements of tensors (.npy, .npz, .safetensors),
    lines of other text. Any other PATH selects paths, as --include does. After a single REF, the second
    argument is a PATH unless it is the name of a dataset.

    Rows of tables are marked as daff does: +++ added, --- removed, -> changed. Drift is the population
    stability index of a column, shown from 0.1 on, and for tables of at least 200 rows. --stat reads up to 20
    modified tables of 256 MB together.
    """
    first, second = source or old, target or new
    if first is None and second is None:
        raise click.UsageError("missing version: dataver diff OLD NEW")
    repository = session.repository()
    one = repository.version(first or second or "")
    two, path = _second(repository, one, second if first else None, path, is_version=bool(target))
    of_file = bool(key) or old_path is not None or rows is not None
    if path is None and of_file:
        raise click.UsageError("--key, --old-path and --rows need the PATH of a file")
    before = one.ref if two else next((f"{each.dataset}@{each.label}" for each in one.parents), None)
    names = {"old": before, "new": (two or one).ref}
    title = f"{before or 'nothing'} -> {names['new']}"
    if path is not None:
        try:
            columns = [name for name in key if name] if key else None
            with one.diff(two).content(path, old_path=old_path, key=columns) as found:
                if include or exclude:
                    raise click.UsageError(f"'{path}' is one file; --include and --exclude select paths")
                _show(session, names, title, path, found, rows, stat=stat)
            return
        except PathNotFound:
            if of_file:
                raise
        include = (*include, path)
    diff = one.diff(two, include=include or None, exclude=exclude)
    lines, values = diff_lines(diff), diff_values(diff)
    if stat:
        tables = list(_tables(session, diff, names))
        values = {"summary": diff.summary(), "tables": [each for each, _ in tables]}
        lines = (line for _, line in tables)
    session.out.show({**names, **values}, chain(lines, (f"{title}: {diff_summary(diff)}.",)))


def _second(
    repository: "Repository", one: "Version", given: str | None, path: str | None, *, is_version: bool
) -> tuple["Version | None", str | None]:
    """Return the version that the second argument names, else None and the path that it is."""
    if not given:
        return None, path
    try:
        return repository.version(given), path
    except (NotFound, InvalidInput) as error:
        if path is None and not is_version and _selects(one, given):
            return None, given
        hint = "`dataver diff OLD NEW PATH` compares a path of any two versions"
        error.hint = f"{error.hint}; {hint}" if error.hint else hint
        raise


def _selects(version: "Version", path: str) -> bool:
    """Return whether a path or pattern matches something in a version or its parent."""
    try:
        version.diff(include=path)
    except (NotFound, InvalidInput):
        return False
    return True


def _show(
    session: Session,
    names: dict[str, Any],
    title: str,
    path: str,
    found: "ContentDiff",
    rows: int | None,
    *,
    stat: bool,
) -> None:
    """Print the difference of the contents of a file."""
    from dataver_cli.render_content import content_lines

    values: dict[str, Any] = {}
    if session.out.as_json:
        values = {**names, "path": path, "kind": found.kind, "different": bool(found)}
        values |= _counts(found) if stat else found.values(rows)
    lines = () if stat else content_lines(found, _ROWS if rows is None else rows)
    session.out.show(values, chain((f"{title}: {path}: {found.summary()}.",), lines))


def _counts(found: "ContentDiff") -> dict[str, Any]:
    return {name: value for name, value in found.values(0).items() if name not in _LISTS}


def _tables(session: Session, diff: "Diff", names: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the counts of modified tables, as JSON values and as a line."""
    from dataver.extras import has_extra
    from dataver.tables import format_of

    able, left, number, skipped = has_extra("tables"), _READ, 0, 0
    for path, old, new in diff:
        if old is None or new is None or old.path != new.path or not format_of(path):
            continue
        if not able or number == _TABLES or old.size + new.size > left:
            skipped += 1
            continue
        left -= old.size + new.size
        number += 1
        try:
            with diff.content(path) as found:
                yield {"path": path, **_counts(found)}, f"{found.summary()} in {path}"
        except InvalidInput as error:
            yield {"path": path, "problem": error.message}, error.message
    if skipped:
        limits = (
            f"--stat reads {_TABLES} of them and {size(_READ)} at most. "
            f"`dataver diff {names['old']} {names['new']} PATH` compares any one."
        )
        why = limits if able else "that needs the Python package duckdb: pip install 'dataver[tables]'"
        session.out.note(f"{count(skipped, 'modified table')} not compared: {why}")
