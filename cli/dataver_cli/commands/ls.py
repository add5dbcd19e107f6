"""`dataver ls`."""

from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import click

from dataver.documents import entry_values, external_place
from dataver_cli.command import exclude_option, include_option, option, ref_argument, subcommand
from dataver_cli.completing import complete_draft
from dataver_cli.output import SHORT, size, table
from dataver_cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataver import Entry
    from dataver.ingest.external import Load
    from dataver.tree import Tree

_ALIGNED = 10_000  # rows of one table


@subcommand(
    "ls",
    examples="""
        dataver ls vision/cats@1.0.1
        dataver ls vision/cats train/ -l
        dataver ls vision/cats -r --json
        dataver ls vision/cats --include '*.jpg' --exclude train
        dataver ls --draft                    # the current draft
        dataver ls --draft=3fa9 train/
    """,
)
@ref_argument(required=False)
@click.argument("folder", required=False, default="")
@click.option("-l", "--long", is_flag=True, help="Show sizes, kinds and digests as well.")
@click.option("-r", "-R", "--recursive", is_flag=True, help="List all files below FOLDER.")
@include_option("Only matching files, of all folders. Repeatable.")
@exclude_option("Omit matching files; lists those of all folders. Repeatable.")
@option(
    "--draft",
    also=["--id"],
    is_flag=False,
    flag_value="",
    metavar="[ID]",
    shell_complete=complete_draft,
    help="List a draft instead: the current one, or --draft=ID.",
)
def command(
    session: Session,
    ref: str | None,
    folder: str,
    *,
    long: bool,
    recursive: bool,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    draft: str | None,
) -> None:
    """List the files of a version or a draft.

    Folders end in '/'. The digest of a file is the one that b3sum prints. With -l and --json, the URL of
    external files is shown as well.
    """
    if draft is None and ref is None:
        raise click.UsageError("missing version: dataver ls REF, or dataver ls --draft")
    placed = long or session.out.as_json
    load: Load | None
    if draft is not None:
        opened = session.draft(draft or None)
        tree, name, inside = opened.tree, "the draft", ref or folder
        load = opened._core.external_pack if placed else None
    else:
        repository = session.repository()
        version = repository.version(ref or "")
        tree, name, inside = version.tree, version.ref, folder
        load = repository._core.packs.externals.load if placed else None
    from dataver.tree import Selection, path_of

    found = _below(tree, path_of(inside), recursive or bool(include or exclude))
    if include or exclude:
        matches = Selection.across([tree], include or None, exclude).matcher()
        found = (each for each in found if not isinstance(each, str) and matches(each.path))
    first = next(found, None)
    if first is None and (path_of(inside) or include or exclude):
        from dataver.errors import PathNotFound

        what = f"no such file below '{inside}'" if include or exclude else f"no '{inside}'"
        raise PathNotFound(f"{name} has {what}.", hint="`dataver ls` without FOLDER lists the top folder")
    # one line at a time: a version may be large
    listed = (_row(each, load) for each in chain((first,) if first else (), found))
    lines = _tables(row for _, _, row in listed) if long else (shown for _, shown, _ in listed)
    session.out.show((value for value, _, _ in listed), lines)


def _tables(rows: "Iterator[tuple[str, ...]]") -> "Iterator[str]":
    while some := list(islice(rows, _ALIGNED)):
        yield from table(some, right=(1,))


def _below(tree: "Tree", folder: str, recursive: bool) -> "Iterator[Entry | str]":
    """Yield the entries below a folder, and unless `recursive`, paths of folders instead of their entries."""
    single = tree.get(folder) if folder else None
    if single is not None:
        yield single
    elif recursive:
        yield from tree.iterate(f"{folder}/" if folder else "")
    else:
        for each in tree.list(folder):
            path = f"{folder}/{each.name}" if folder else each.name
            yield each.entry if each.entry is not None else path


def _row(each: "Entry | str", load: "Load | None") -> tuple[dict[str, Any], str, tuple[str, ...]]:
    """Return the JSON values, the line and the cells of an entry or a folder."""
    if isinstance(each, str):
        return {"path": each, "kind": "folder"}, f"{each}/", ("folder", "", "", f"{each}/")
    return _entry(each, load)


def _entry(entry: "Entry", load: "Load | None") -> tuple[dict[str, Any], str, tuple[str, ...]]:
    value = entry_values(entry)
    place = "" if load is None else external_place(entry, load)
    ending = "/" if value["kind"] == "directory" else f" -> {entry.target}" if entry.target else ""
    digest = (value["digest"] or "")[:SHORT]
    number = size(entry.size) if value["kind"] in ("file", "executable") else ""
    if place:
        value["external"] = place
    line = entry.path + ending + (f"  at {place}" if place else "")
    return value, entry.path + ending, (str(value["kind"]), number, digest, line)
