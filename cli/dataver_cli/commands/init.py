"""`dataver init`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dataver_cli.command import subcommand
from dataver_cli.session import Session, place

if TYPE_CHECKING:
    from dataver import Repository
    from dataver.errors import StoreError

_WEAKER = (
    "this store ignores create-if-absent. Writers take turns by claims, with three more requests per "
    "version, and a writer that is stopped for two minutes in between could replace another's record."
)


@subcommand(
    "init",
    examples="""
        dataver init s3://ml-data/repo
        dataver init ./repo                          # a folder
        dataver init                                 # your own local repository
        dataver init s3://ml-data/repo --existing    # use it, and never create one
        dataver init s3://ml-data/repo --storage-option profile=lab
    """,
)
@click.argument("url", required=False)
@click.option(
    "--chunk-size", type=int, metavar="BYTES", help="Average chunk size, a power of two. Default: 16384."
)
@click.option("--existing", is_flag=True, help="Fail if the repository does not exist.")
@click.option(
    "--no-config", is_flag=True, help="Do not record the repository in this folder's .dataver/config.toml."
)
def command(
    session: Session, url: str | None, chunk_size: int | None, existing: bool, no_config: bool
) -> None:
    """Create a repository, or use an existing one, in this folder.

    A repository is a folder or a bucket prefix that contains all datasets. Its URL and its storage options,
    but no secrets, are recorded in .dataver/config.toml of this folder, so that commands in and below this
    folder find it. The file is meant to be committed. If the store cannot be reached, the repository is
    recorded nevertheless unless one is already configured: later commands then fail instead of using your
    own local repository.
    """
    from dataver.errors import StoreError

    where = place(url) if url else session.url
    note = bool(where) and not no_config
    try:
        repository, made = _made_or_opened(session, where, chunk_size, existing=existing)
    except StoreError as error:
        if where and note:
            _note_unreached(where, session.storage_options or {}, error)
        raise
    config, left_out = _note(where, session.storage_options or {}) if where and note else (None, [])
    if not repository._core.config.create_if_absent:
        session.out.warn(_WEAKER)
    session.out.show(
        _values(repository, config, made=made), [f"Repository {repository.url} (id {repository.id[:12]})"]
    )
    if not made and not existing:
        session.out.note("It exists already; nothing in it was changed.")
    if config:
        session.out.note(f"Written to {config}: commands in and below this folder use it.")
        if left_out:
            session.out.note(
                f"Not written: {', '.join(left_out)}; secrets come from the environment or a ~/.aws profile."
            )


def _made_or_opened(
    session: Session, where: str | None, chunk_size: int | None, *, existing: bool
) -> "tuple[Repository, bool]":
    """Return the repository, and whether it was created now."""
    import dataver
    from dataver.errors import AlreadyExists

    options = session.storage_options
    if existing:
        return dataver.open(where, storage_options=options), False
    try:
        return dataver.init(where, chunk_size=chunk_size, storage_options=options), True
    except AlreadyExists:
        if where is None:
            raise
        found = dataver.open(where, storage_options=options)
        if chunk_size not in (None, found._core.config.chunking.average):
            raise
        return found, False


def _values(repository: "Repository", config: Path | None, *, made: bool) -> dict[str, object]:
    return {
        "url": repository.url,
        "id": repository.id,
        "created": made,
        "create_if_absent": repository._core.config.create_if_absent,
        "config": str(config) if config else None,
    }


def _note_unreached(where: str, options: Mapping[str, Any], error: "StoreError") -> None:
    """Record a repository that could not be reached, so that later commands do not use another one."""
    from dataver.machine.configuration import configured_url

    if configured_url() is None:
        config, _ = _note(where, options)
        noted = f"{where} is recorded in {config}: repeat `dataver init`, or name another repository"
        error.hint = f"{error.hint}; {noted}" if error.hint else noted


def _note(where: str, options: Mapping[str, Any]) -> tuple[Path, list[str]]:
    from dataver.api.config import remember_repository

    here = Path.cwd()
    inside = "://" not in where and Path(where).is_relative_to(here)
    return remember_repository(here, Path(where).relative_to(here).as_posix() if inside else where, options)
