"""`dataver cache verify`."""

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from dataver_cli.command import subcommand
from dataver_cli.output import count, duration, size
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver.cache.version_cache import CachedFolder
    from dataver.repository import RepositoryCore


@subcommand(
    "verify",
    examples="""
        dataver cache verify
        dataver cache verify --json
    """,
)
def command(session: Session) -> None:
    """Hash every cached file and replace damaged files.

    Each version is compared with the repository that it was fetched from or, if that was moved, with the
    configured one. Files that differ are fetched again. Repositories that cannot be opened are listed.
    Storage options given here apply to all of them.
    """
    import dataver
    from dataver.cache.version_cache import VersionCache
    from dataver.checkout.cache_verifier import verify_cache
    from dataver.errors import DataverError, NotFound, StoreError
    from dataver.machine.cache_root import open_cache_root
    from dataver.machine.configuration import configured_url

    opened: dict[str, RepositoryCore] = {}

    def open_once(url: str) -> "RepositoryCore":
        if url not in opened:
            found = (
                dataver.open(url, storage_options=session.storage_options) if url else session.repository()
            )
            opened[url] = found._core
        return opened[url]

    def repository_of(folder: "CachedFolder") -> "RepositoryCore":
        try:
            return open_once(folder.repository)
        except (NotFound, StoreError):  # perhaps it was moved to the configured location
            if folder.repository and (session.url or configured_url()):
                with suppress(DataverError):
                    found = open_once("")
                    if found.blocks.exists(folder.tree):
                        return found
            raise

    began = time.perf_counter()
    with session.progress("Verifying") as progress:
        check = verify_cache(VersionCache(open_cache_root()), repository_of, progress)
    values = {
        "folders": check.folders,
        "files": check.files,
        "size": check.size,
        "repaired": [{"ref": ref, "files": number} for ref, number in check.repaired],
        "problems": [{"name": name, "reason": reason} for name, reason in check.problems],
    }
    lines = [f"{ref}: {count(number, 'file')} replaced" for ref, number in check.repaired]
    session.out.show(values, lines)
    session.out.note(
        f"Verified {count(check.folders, 'version')}, {count(check.files, 'file')}, {size(check.size)}, "
        f"{duration(time.perf_counter() - began)}."
    )
    session.finish(check.problems, "could not be verified")
