"""`dataver list`."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from dataver.documents import version_values
from dataver_cli.command import option, subcommand, time_option
from dataver_cli.completing import complete_ref
from dataver_cli.output import SHORT, count, day, size, table
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver import DatasetSummary, Repository, Version

_ORDERS: dict[str, Callable[["Version"], Any]] = {
    "created": lambda version: version.created,
    "size": lambda version: version.size,
    "files": lambda version: version.file_count,
}


@subcommand(
    "list",
    examples="""
        dataver list                                   # all datasets
        dataver list vision/                           # datasets whose name starts with vision/
        dataver list vision/cats                       # its versions, newest first
        dataver list vision/cats --since 2026-11-01 -n 20
        dataver list --tag production                  # the version that each dataset has in production
        dataver list --where "rows > 1e6 and license = 'MIT'"
        dataver list --sort size -n 5                  # the datasets with the largest latest versions
        dataver list vision/cats --json
    """,
)
@click.argument("name", required=False, shell_complete=complete_ref)
@click.option("--tag", metavar="TAG", help="Only versions that TAG points to, of all datasets or of NAME.")
@click.option(
    "--where",
    metavar="CONDITION",
    help="Only versions that meet a condition over their metadata and other columns.",
)
@time_option("--since", help="Only versions of TIME or later, or datasets whose latest version is.")
@click.option(
    "--sort",
    type=click.Choice(["name", *_ORDERS]),
    help="Order: by name, or the newest or largest first. Default: datasets by name, versions by time.",
)
@click.option("-n", "--limit", type=click.IntRange(min=1), help="Show only the first N.")
@option("--name", "name_option", hidden=True)
@option("--project", hidden=True)
def command(
    session: Session,
    *,
    name: str | None,
    name_option: str | None,
    project: str | None,
    tag: str | None,
    where: str | None,
    since: datetime | None,
    sort: str | None,
    limit: int | None,
) -> None:
    """List datasets, or the versions of one.

    NAME is a dataset, or the beginning of the names of several datasets. With --tag or --where, lists
    versions, also of several datasets.

    CONDITION is an SQL expression. Its columns are name, label, tag, created, author, message, files, size,
    description, license, owner, digest, and every key of the versions' metadata; created is a text, as in
    created >= '2026-11'.
    """
    wanted = name or name_option or ""
    if project:
        wanted = f"{project.strip('/')}/{wanted}"
    if "@" in wanted:
        raise click.UsageError(f"{wanted} is a version; `dataver show {wanted}` shows its details")
    repository = session.repository()
    datasets = _prefixed(repository, wanted)
    if datasets is not None and tag is None and where is None:
        chosen = [each for each in datasets if since is None or each.created >= since]
        _show_datasets(
            session,
            repository,
            wanted,
            _sort_datasets(chosen, sort)[:limit],
            len(chosen),
            since=since is not None,
        )
        return
    names = [wanted] if datasets is None else [each.name for each in datasets]
    tags = _tags(repository, names)
    if where is None:
        found = [version for name in names for version in _versions(repository, name, tag, tags)]
    else:
        with session.progress("Reading", "version") as progress:
            found = repository.find(where, prefix=wanted, progress=progress)
        found = [
            each for each in found if each.dataset in names and (tag is None or tag in tags.get(each.ref, ()))
        ]
    versions = [version for version in found if since is None or version.created >= since]
    of = f"of {wanted}" if datasets is None else f"tagged {tag}" if tag else "of all datasets"
    _show_versions(session, repository, of, _sort_versions(versions, sort)[:limit], len(versions), tags)


def _prefixed(repository: "Repository", wanted: str) -> "list[DatasetSummary] | None":
    """Return the datasets whose name starts with `wanted`, or None if it is the name of one.

    Raises:
        NotFound: there is none.
    """
    if not wanted or wanted.endswith("/"):
        return repository.datasets(wanted)
    if repository._core.records.labels(wanted):
        return None
    found = repository.datasets(wanted)
    if not found:
        repository.versions(wanted)  # raises an error with similar names
    return found


def _tags(repository: "Repository", names: Sequence[str]) -> dict[str, list[str]]:
    """Return the tags of each version of some datasets that has any."""
    if len(names) < 2:
        found = [repository.tagged(name) for name in names]
    else:
        from dataver import parallel

        with parallel.pool(parallel.REQUESTS, "tags") as pool:
            found = list(pool.map(repository.tagged, names))
    tags: dict[str, list[str]] = {}
    for name, labels in zip(names, found, strict=True):
        for tag, label in labels.items():
            tags.setdefault(f"{name}@{label}", []).append(tag)
    return tags


def _versions(
    repository: "Repository", name: str, tag: str | None, tags: Mapping[str, Sequence[str]]
) -> "list[Version]":
    """Return the versions of a dataset, or only the one that has a tag."""
    if tag is None:
        return repository.versions(name)
    refs = [ref for ref, found in tags.items() if tag in found and ref.partition("@")[0] == name]
    return [repository.version(ref) for ref in refs]


def _sort_datasets(found: "list[DatasetSummary]", order: str | None) -> "list[DatasetSummary]":
    if order in (None, "name"):
        return found
    return sorted(found, key=lambda each: _ORDERS[order](each.latest), reverse=True)


def _sort_versions(found: "list[Version]", order: str | None) -> "list[Version]":
    if order == "name":
        from dataver.formats.names import parse_semver

        return sorted(found, key=lambda each: (each.dataset, parse_semver(each.label or "") or (), each.ref))
    return sorted(found, key=_ORDERS[order or "created"], reverse=True)


def _show_datasets(
    session: Session,
    repository: "Repository",
    prefix: str,
    shown: "list[DatasetSummary]",
    total: int,
    *,
    since: bool,
) -> None:
    rows = [
        (
            each.name,
            str(each.versions),
            each.latest.label or "",
            f"{each.latest.file_count:,}",
            size(each.latest.size),
            day(each.created),
        )
        for each in shown
    ]
    values = [
        {"name": each.name, "versions": each.versions, "latest": version_values(each.latest)}
        for each in shown
    ]
    header = ("DATASET", "VERSIONS", "LATEST", "FILES", "SIZE", "CREATED")
    session.out.show(values, table(rows, header, right=(1, 3, 4), omit=(5, 3)) if rows else [])
    if not rows:
        beginning = f" whose name starts with {prefix}" if prefix else ""
        session.out.note(f"{repository.url} has no dataset{beginning}{' of that time' * since}.")
    elif len(rows) < total:
        session.out.note(f"{len(rows):,} of {count(total, 'dataset')} in {repository.url}.")


def _show_versions(
    session: Session,
    repository: "Repository",
    of: str,
    shown: "list[Version]",
    total: int,
    tags: Mapping[str, Sequence[str]],
) -> None:
    rows = [
        (
            each.ref,
            each.digest[: 4 + SHORT],
            f"{each.file_count:,}",
            size(each.size),
            day(each.created),
            ", ".join(tags.get(each.ref, ())) or "-",
            each.message.partition("\n")[0],
        )
        for each in shown
    ]
    values = [version_values(each, tags.get(each.ref, ())) for each in shown]
    header = ("VERSION", "DIGEST", "FILES", "SIZE", "CREATED", "TAGS", "MESSAGE")
    session.out.show(
        values, table(rows, header, right=(2, 3), omit=(1,), shorten=6, omit_last=(4,)) if rows else []
    )
    if not rows:
        session.out.note(f"No version {of} in {repository.url} matches.")
        return
    number = f"{len(rows):,} of " if len(rows) < total else ""
    session.out.note(f"{number}{count(total, 'version')} {of} in {repository.url}.")
