"""`dataver cache verify`."""

import time
from typing import TYPE_CHECKING

from dataver_cli.command import subcommand
from dataver_cli.output import count, duration, size
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver import Repository


@subcommand(
    "verify",
    examples="""
        dataver cache verify
        dataver cache verify --json
    """,
)
def command(session: Session) -> None:
    """Hash every cached file; replace what is damaged.

    Each version is compared with the repository it came from, and what differs is fetched again. A repository
    that cannot be opened is named; storage options given here reach all of them.
    """
    import dataver
    from dataver.checkout.cache_verifying import verify_cache
    from dataver.checkout.version_cache import VersionCache
    from dataver.repository.places import cache_root

    opened: dict[str, Repository] = {}

    def repository_at(url: str) -> "Repository":
        if url not in opened:
            opened[url] = (
                dataver.open(url, storage_options=session.storage_options) if url else session.repository()
            )
        return opened[url]

    began = time.perf_counter()
    with session.progress("Verifying") as progress:
        check = verify_cache(VersionCache(cache_root()), repository_at, progress)
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
