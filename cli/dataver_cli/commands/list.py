"""`dataver list`."""

from typing import TYPE_CHECKING

import click

from dataver_cli.command import option, subcommand
from dataver_cli.completing import complete_ref
from dataver_cli.output import count, size, table, when
from dataver_cli.render import version_values
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver import Repository

_ID = 16  # characters of a digest after `dv1:` that the table shows


@subcommand(
    "list",
    examples="""
        dataver list                      # all datasets
        dataver list vision/              # datasets whose name starts with vision/
        dataver list vision/cats          # its versions
        dataver list vision/cats --json
    """,
)
@click.argument("name", required=False, shell_complete=complete_ref)
@option("--name", "name_option", hidden=True)
@option("--project", hidden=True)
def command(session: Session, name: str | None, name_option: str | None, project: str | None) -> None:
    """List datasets, or the versions of one.

    NAME is a dataset, or the beginning of the names of several datasets.
    """
    wanted = name or name_option or ""
    if project:
        wanted = f"{project.strip('/')}/{wanted}"
    repository = session.repository()
    if wanted and not wanted.endswith("/") and "@" not in wanted:
        from dataver.errors import NotFound

        try:
            return _versions(session, repository, wanted)
        except NotFound:
            if not repository.datasets(wanted):
                raise
    return _datasets(session, repository, wanted)


def _datasets(session: Session, repository: "Repository", prefix: str) -> None:
    found = repository.datasets(prefix)
    rows = [
        (
            each.name,
            str(each.versions),
            each.latest.label or "",
            f"{each.latest.files:,}",
            size(each.latest.size),
            when(each.created),
        )
        for each in found
    ]
    values = [
        {"name": each.name, "versions": each.versions, "latest": version_values(each.latest)}
        for each in found
    ]
    header = ("DATASET", "VERSIONS", "LATEST", "FILES", "SIZE", "CREATED")
    session.out.show(values, table(rows, header, right=(1, 3, 4)) if rows else [])
    if not rows:
        beginning = f" whose name starts with {prefix}" if prefix else ""
        session.out.note(f"{repository.url} has no dataset{beginning}.")


def _versions(session: Session, repository: "Repository", name: str) -> None:
    versions = repository.versions(name)
    tags: dict[str, list[str]] = {}
    for tag, label in repository.tagged(name).items():
        tags.setdefault(label, []).append(tag)
    rows = [
        (
            each.ref,
            each.digest[: 4 + _ID],
            f"{each.files:,}",
            size(each.size),
            when(each.created),
            ", ".join(tags.get(each.label or "", ())) or "-",
            each.message,
        )
        for each in reversed(versions)
    ]
    values = [version_values(each, tags.get(each.label or "", ())) for each in reversed(versions)]
    header = ("VERSION", "DIGEST", "FILES", "SIZE", "CREATED", "TAGS", "MESSAGE")
    session.out.show(values, table(rows, header, right=(2, 3)))
    session.out.note(f"{count(len(versions), 'version')} of {name} in {repository.url}.")
