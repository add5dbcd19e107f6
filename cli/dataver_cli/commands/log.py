"""`dataver log`."""

from typing import TYPE_CHECKING

import click

from dataver.documents import version_values
from dataver_cli.command import ref_argument, subcommand
from dataver_cli.graph import children_first, draw
from dataver_cli.output import SHORT, count, size, when
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver import Repository, Version


@subcommand(
    "log",
    examples="""
        dataver log vision/cats
        dataver log vision/cats@1.0.1          # this version and its ancestors
        dataver log vision/cats -n 5
    """,
)
@ref_argument()
@click.option("-n", "--limit", type=click.IntRange(min=1), help="Show only this many of the newest versions.")
def command(session: Session, ref: str, limit: int | None) -> None:
    """Show the history of a dataset as a graph.

    For a name, shows all its versions and their ancestors, including those in other datasets. For name@label
    or a tag, shows only that version and its ancestors.
    """
    repository = session.repository()
    versions = _history(repository, ref, limit)
    parents = {key: [each.record for each in version.parents] for key, version in versions.items()}
    order = children_first(parents, lambda key: versions[key].created.timestamp())
    tags = _tags(repository, {versions[key].dataset for key in order})
    values = [version_values(versions[key], tags.get(versions[key].ref, ())) for key in order]
    shown = {key: parents[key] for key in order}
    session.out.show(
        values, draw(order, shown, lambda key: _text(versions[key], tags.get(versions[key].ref, [])))
    )


def _history(repository: "Repository", ref: str, limit: int | None = None) -> dict[str, "Version"]:
    """Return the versions to show, by record id, without deleted parents."""
    from itertools import islice

    from dataver.api.version import Version
    from dataver.repository.ancestry import Ancestry

    core = repository._core
    whole = "@" not in ref and not ref.startswith("dv1:")
    shown = repository.versions(ref) if whole else [repository.version(ref)]
    found = Ancestry(core.records).walk(each._published() for each in shown)
    described = core.descriptions.lookup()
    return {each.record_id: Version.of(core, each, described) for each in islice(found, limit)}


def _tags(repository: "Repository", datasets: set[str]) -> dict[str, list[str]]:
    tags: dict[str, list[str]] = {}
    for dataset in datasets:
        for tag, label in repository.tagged(dataset).items():
            tags.setdefault(f"{dataset}@{label}", []).append(tag)
    return tags


def _text(version: "Version", tags: list[str]) -> list[str]:
    named = f"  ({', '.join(tags)})" if tags else ""
    message = f"  {version.message.splitlines()[0]}" if version.message else ""
    what = f"{count(version.file_count, 'file')}, {size(version.size)}"
    return [
        f"{version.ref}{named}{message}",
        f"{version.digest[: 4 + SHORT]}  {what}, {when(version.created)}, {version.author}",
    ]
