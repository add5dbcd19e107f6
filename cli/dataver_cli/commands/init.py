"""`dataver init`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dataver_cli.command import subcommand
from dataver_cli.session import Session, place

if TYPE_CHECKING:
    from dataver import Repository

_WEAKER = (
    "this store ignores create-if-absent: writers take turns by claims, three requests more a version, "
    "and one that is stopped for two minutes in between could replace another's record."
)


@subcommand(
    "init",
    examples="""
        dataver init s3://ml-data/repo
        dataver init ./repo                          # a folder
        dataver init                                 # your own local repository
        dataver init s3://ml-data/repo --existing    # only use it from this folder on
        dataver init s3://ml-data/repo --storage-option profile=lab --storage-option sse=aws:kms
    """,
)
@click.argument("url", required=False)
@click.option(
    "--chunk-size", type=int, metavar="BYTES", help="Average chunk, a power of two. Default: 16384."
)
@click.option("--existing", is_flag=True, help="Use a repository that is there already.")
@click.option(
    "--no-config", is_flag=True, help="Do not note the repository in this folder's .dataver/config.toml."
)
def command(
    session: Session, url: str | None, chunk_size: int | None, existing: bool, no_config: bool
) -> None:
    """Make a repository.

    A repository is a folder or a bucket prefix that holds everything. Its URL and its storage options, but
    no secrets, are noted in .dataver/config.toml of this folder, meant to be committed, so that commands in
    and below this folder find it.
    """
    import dataver

    where = place(url) if url else session.url
    if existing:
        repository = dataver.open(where, storage_options=session.storage_options)
    else:
        repository = dataver.init(where, chunk_size=chunk_size, storage_options=session.storage_options)
    config, left_out = _note(where, session.storage_options or {}) if where and not no_config else (None, [])
    if not repository.config.create_if_absent:
        session.out.warn(_WEAKER)
    session.out.show(_values(repository, config), [f"Repository {repository.url} (id {repository.id[:12]})"])
    if config:
        session.out.note(f"Noted in {config}: commands in and below this folder use it.")
        if left_out:
            session.out.note(
                f"Not noted: {', '.join(left_out)}; secrets come from the environment or a profile of ~/.aws."
            )


def _values(repository: "Repository", config: Path | None) -> dict[str, object]:
    return {
        "url": repository.url,
        "id": repository.id,
        "create_if_absent": repository.config.create_if_absent,
        "config": str(config) if config else None,
    }


def _note(where: str, options: Mapping[str, Any]) -> tuple[Path, list[str]]:
    from dataver._config import remember_repository

    here = Path.cwd()
    inside = "://" not in where and Path(where).is_relative_to(here)
    return remember_repository(here, Path(where).relative_to(here).as_posix() if inside else where, options)
