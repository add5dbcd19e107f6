"""`dataver compat clearml-data`: the commands and options of ClearML's `clearml-data` (2.1).

The idea: the names of commands and options, and the lines that scripts read, are ClearML's; each command is
one call of `dataver.compat.clearml`. The dataset of a command without `--id` is the current draft of the
folder, not the last one that any process of the user named. A failure exits with a code other than 0.
"""

import shutil
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dataver.errors import Incomplete, InvalidInput
from dataver_cli.command import subcommand
from dataver_cli.output import table
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver.compat.clearml import Dataset

# Imports in functions: help needs none of it.

_MARKS: dict[str, dict[str, Any]] = {  # at the end of an option of `_command`
    "!": {"required": True},
    "*": {"multiple": True},
    "?": {"is_flag": True},
    "#": {"type": int},
}
_LEFT_OUT = " was not added: "  # in warnings of `Dataset`
_RENAMED = {"--id": ("key",), "--filter": ("filters",)}  # names that Python has

Shown = tuple[dict[str, Any], list[str]]  # the value for --json, and the lines


class _Words(click.Command):
    """A command whose repeatable options take several words, as `--files a b`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        several = {name for each in self.params if getattr(each, "multiple", False) for name in each.opts}
        found, option = list[str](), ""
        for word in args:
            if word.startswith("-"):
                option = word if word in several else ""
            if word not in several:
                found += [option, word] if option else [word]
        return super().parse_args(ctx, found)


@click.group("clearml-data", context_settings={"help_option_names": ["-h", "--help"]})
def group() -> None:
    """Manage datasets with the commands of clearml-data."""


def _command(name: str, options: str) -> Callable[[Callable[..., Shown]], click.Command]:
    """Declare a command.

    Options are words: `--a` takes a text, `--a!` must, `--a*` several, `--a?` none, `--a#` a number.
    """

    def decorate(function: Callable[..., Shown]) -> click.Command:
        for word in reversed(options.split()):
            plain, kind = word.rstrip("".join(_MARKS)), _MARKS.get(word[-1], {})
            function = click.option(plain, *_RENAMED.get(plain, ()), **kind)(function)
        return group.command(name, cls=_Words)(function)

    return decorate


def _datasets() -> "type[Dataset]":
    from dataver.compat.clearml import Dataset

    return Dataset


def _dataset(given: str | None) -> "Dataset":
    from dataver.compat.clearml.facts import repository

    return _datasets().get(given or repository().draft().id)


def _new(
    parents: Sequence[str], project: str, name: str, version: str, tags: Sequence[str], **_: Any
) -> "Dataset":
    return _datasets().create(name, project, tags, parents, dataset_version=version)


def _said(line: str, **values: Any) -> Shown:
    return values, [line]


@_command("create", "--parents* --project --name! --version --output-uri --storage --tags*")
def _create(**new: Any) -> Shown:
    """Create a new dataset."""
    made = _new(**new)
    return _said(f"New dataset created id={made.id}", id=made.id)


@_command(
    "add", "--id --dataset-folder --files* --wildcard* --links* --non-recursive? --verbose? --max-workers"
)
def _add(key: str, files: Sequence[str], links: Sequence[str], dataset_folder: str, **how: Any) -> Shown:
    """Add files or links to the dataset."""
    dataset, wild, recursive = _dataset(key), list(how["wildcard"]), not how["non_recursive"]
    number = sum(dataset.add_files(each, wild, None, dataset_folder, recursive) for each in files)
    number += sum(dataset.add_external_files(each, wild, dataset_folder, recursive) for each in links)
    return _said(f"{number} file{'' if number == 1 else 's'} added", added=number)


@_command("set-description", "--description! --id")
def _set_description(description: str, key: str) -> Shown:
    """Set the description of the dataset."""
    _dataset(key).set_description(description)
    return _said(f"Setting description '{description}'", description=description)


@_command(
    "sync",
    "--id --dataset-folder --folder! --parents* --project --name --version --output-uri --tags* --storage "
    "--skip-close? --chunk-size --verbose?",
)
def _sync(key: str, dataset_folder: str, folder: str, skip_close: bool, **new: Any) -> Shown:
    """Sync a local folder with the dataset."""
    created = bool(new["parents"] or (new["project"] and new["name"]))
    dataset = _new(**new) if created else _dataset(key)
    removed, added, modified = dataset.sync_folder(folder, dataset_folder)
    values = {"id": dataset.id, "removed": removed, "added": added, "modified": modified}
    lines = [f"New dataset created id={dataset.id}"] if created else []
    lines.append(f"Sync completed: {removed} files removed, {added} added, {modified} modified")
    if created and not skip_close and not removed and not added and not modified:
        _datasets().delete(dataset.id)
        lines.append("Zero modifications on local copy, reverting dataset creation.")
    elif not skip_close:
        dataset.finalize(auto_upload=True)
        lines.append("Dataset closed and finalized")
    return values, lines


@_command("remove", "--id --files* --non-recursive? --verbose?")
def _remove(key: str, files: Sequence[str], non_recursive: bool, **_: Any) -> Shown:
    """Remove files or links from the dataset."""
    dataset = _dataset(key)
    number = sum(dataset.remove_files(each, recursive=not non_recursive) for each in files)
    return _said(f"{number} file{'' if number == 1 else 's'} removed", removed=number)


@_command("upload", "--id --storage --chunk-size --verbose? --max-workers")
def _upload(key: str, **_: Any) -> Shown:
    """Upload the local changes of the dataset."""
    dataset = _dataset(key)
    dataset.upload()
    return _said("Dataset upload completed", id=dataset.id)


@_command("close", "--id --storage --disable-upload? --chunk-size --verbose? --max-workers")
def _close(key: str, disable_upload: bool, **_: Any) -> Shown:
    """Finalize and close the dataset."""
    dataset = _dataset(key)
    dataset.finalize(auto_upload=not disable_upload)
    return _said("Dataset closed and finalized", id=dataset.id, version=dataset.version)


@_command("publish", "--id!")
def _publish(key: str) -> Shown:
    """Publish a finalized dataset."""
    _dataset(key).publish()
    return _said("Dataset published", id=key)


@_command("delete", "--id --project --name --version --force? --entire-dataset?")
def _delete(key: str, project: str, name: str, version: str, force: bool, entire_dataset: bool) -> Shown:
    """Delete a dataset."""
    given = None if project or name else _dataset(key).id
    found = _datasets()._selected(given, project, name, version)
    _datasets()._delete(found, force=force, entire=entire_dataset)
    return _said("Dataset(s) deleted", deleted=True)


@_command("rename", "--new-name! --project! --name!")
def _rename(new_name: str, project: str, name: str) -> Shown:
    """Rename a dataset."""
    _datasets().rename(new_name, project, name)
    return _said("Dataset(s) renamed", project=project, name=new_name)


@_command("move", "--new-project! --project! --name!")
def _move(new_project: str, project: str, name: str) -> Shown:
    """Move a dataset to another project."""
    _datasets().move_to_project(new_project, project, name)
    return _said("Dataset(s) moved", project=new_project, name=name)


@_command("compare", "--source! --target! --verbose?")
def _compare(source: str, target: str, verbose: bool) -> Shown:
    """Compare two datasets."""
    dataset, lines = _dataset(target), list[str]()
    found = {
        "removed": dataset.list_removed_files(source),
        "modified": dataset.list_modified_files(source),
        "added": dataset.list_added_files(source),
    }
    for word, paths in found.items() if verbose else ():
        lines += [f"{word.capitalize()} files:", *paths, ""]
    counts = ", ".join(f"{len(paths)} files {word}" for word, paths in found.items())
    return found, [*lines, f"Comparison summary: {counts}"]


@_command("squash", "--name! --ids* --storage --verbose?")
def _squash(name: str, ids: Sequence[str], **_: Any) -> Shown:
    """Squash datasets into a single version."""
    made = _datasets().squash(name, ids)
    return _said(f"Squashing completed, new dataset created id={made.id}", id=made.id)


@_command("search", "--ids* --project --name --tags* --not-only-completed? --non-recursive-project-search?")
def _search(ids: Sequence[str], project: str, name: str, tags: Sequence[str], **how: Any) -> Shown:
    """Search datasets."""
    found = _datasets().list_datasets(
        project, name, tags, ids, not how["not_only_completed"], not how["non_recursive_project_search"]
    )
    columns = ("project", "name", "version", "tags", "created", "id")
    for each in found:
        each["created"] = each["created"].isoformat(" ", "seconds")
    rows = [[", ".join(each[key]) if key == "tags" else str(each[key]) for key in columns] for each in found]
    return {"datasets": found}, table(rows, columns)


@_command("verify", "--id --folder --filesize? --verbose?")
def _verify(key: str, folder: str, filesize: bool, **_: Any) -> Shown:
    """Verify local content of the dataset."""
    wrong = _dataset(key).verify_dataset_hash(folder, skip_hash=filesize)
    if wrong:
        problems = [(path, "it is missing or differs") for path in wrong]
        raise Incomplete(f"Dataset verification completed, {len(wrong)} errors found!", problems=problems)
    return _said("Dataset verification completed successfully, no errors found.", problems=[])


@_command("list", "--id --project --name --version --filter* --modified?")
def _list(key: str, project: str, name: str, version: str, filters: Sequence[str], modified: bool) -> Shown:
    """List the files of the dataset."""
    named = project or name
    dataset = _datasets().get(None, project, name, dataset_version=version) if named else _dataset(key)
    entries: dict[str, Any] = {**dataset.link_entries_dict, **dataset.file_entries_dict}
    owner = dataset.id if modified else None
    paths = [path for each in filters or ["*"] for path in dataset.list_files(each, dataset_id=owner)]
    rows = [(path, f"{entries[path].size:,}", entries[path].hash or "") for path in paths]
    total = sum(entries[path].size or 0 for path in paths)
    lines = table(rows, ("file name", "size", "hash"), right=(1,))
    lines.append(f"Total {len(paths)} files, {total} bytes")
    return {"files": [entries[path].as_dict() for path in paths]}, lines


@_command("get", "--id --copy --link --part# --num-parts# --overwrite? --verbose? --max-workers")
def _get(
    key: str, copy: str, link: str, part: int | None, num_parts: int | None, overwrite: bool, **_: Any
) -> Shown:
    """Get a local copy of the dataset."""
    dataset = _dataset(key)
    if copy:
        folder = str(dataset.get_mutable_local_copy(copy, overwrite, part, num_parts))
    else:
        folder = dataset.get_local_copy(None, part, num_parts)
    if link:
        _make_link(Path(link), folder, overwrite=overwrite)
    return _said(f"Dataset local copy available for files at: {link or folder}", folder=link or folder)


def _make_link(link: Path, folder: str, *, overwrite: bool) -> None:
    if link.is_symlink():
        link.unlink()
    elif link.is_dir() and any(link.iterdir()) and not overwrite:
        raise InvalidInput(f"the folder {link} contains files.", hint="--overwrite deletes them")
    elif link.is_dir():
        shutil.rmtree(link)
    link.symlink_to(folder)


@subcommand(
    "clearml-data",
    examples="""
        dataver compat clearml-data create --project vision --name cats
        dataver compat clearml-data add --files photos labels.csv
        dataver compat clearml-data close
        dataver compat clearml-data list --project vision --name cats
        dataver compat clearml-data get --help
    """,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="COMMAND [ARGUMENTS]...")
def command(session: Session, arguments: tuple[str, ...]) -> None:
    """Run commands of ClearML's `clearml-data` on a repository.

    COMMAND is create, add, set-description, sync, remove, upload, close, publish, delete, rename, move,
    compare, squash, search, verify, list or get, with the options of ClearML. Without --id a command uses the
    current draft of this folder. Options of dataver stand before COMMAND.
    """
    from dataver.compat.clearml import set_repository

    arguments = arguments or ("--help",)
    if not {"-h", "--help"} & set(arguments):
        set_repository(session.repository())
    result: Any = None
    problems: list[tuple[str, str]] = []
    try:
        with warnings.catch_warnings(record=True, action="always", category=UserWarning) as told:
            result = group.main(
                list(arguments), prog_name="dataver compat clearml-data", standalone_mode=False
            )
    finally:
        set_repository(None)
        for each in told:
            name, parted, reason = str(each.message).partition(_LEFT_OUT)
            if parted and result is not None:
                problems.append((name, reason))
            else:
                warnings.warn(str(each.message), stacklevel=1)
    if isinstance(result, tuple):
        session.out.show(*result)
    session.finish(problems, "could not be added")


command.allow_interspersed_args = False
