"""Hashing what the cache of versions holds, and mending it from the repositories it came from.

The idea: a folder does not know its files' digests; its version's tree does. So each folder is checked
against its repository, as `fetch(verify="full")` does, which also fetches again what is wrong.

Serves invariant 1: what was damaged on the disk after it was fetched is found, and replaced.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dataver.checkout.fetching import fetch
from dataver.errors import DataverError
from dataver.progress import SILENT, Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataver.checkout.version_cache import VersionCache
    from dataver.repository import Repository

__all__ = ["CacheCheck", "verify_cache"]


@dataclass
class CacheCheck:
    """What was checked.

    Attributes:
        folders: folders that are now as they should be.
        files: files in them.
        size: bytes of them.
        repaired: `(version, number)` of entries that were wrong and were replaced.
        problems: `(version, reason)` of folders that could not be checked or mended.
    """

    folders: int = 0
    files: int = 0
    size: int = 0
    repaired: list[tuple[str, int]] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)


def verify_cache(
    cache: VersionCache, repository_at: Callable[[str], Repository], progress: Progress = SILENT
) -> CacheCheck:
    """Hash every file of every folder; replace what is wrong.

    Args:
        cache: the cache.
        repository_at: opens the repository at a URL; for an empty one, which stands for a folder that does
            not know where it came from, the repository that applies here.
        progress: told of files and bytes.
    """
    check = CacheCheck()
    for folder in cache.folders():
        name = folder.ref or f"dv1:{folder.tree.hex()[:16]}"
        lease = cache.lease(folder.path.name)
        try:
            report = fetch(
                repository_at(folder.repository),
                folder.tree,
                patterns=list(folder.selection) or None,
                shard=folder.shard,
                cache=cache,
                progress=progress,
                verify="full",
                ref=folder.ref,
            )
        except DataverError as error:
            check.problems.append((name, error.message))
            continue
        finally:
            if lease is not None:
                lease.release()
            cache.done(folder.path.name)
        check.folders += 1
        check.files += report.files
        check.size += report.size
        if report.repaired:
            check.repaired.append((name, report.repaired))
    return check
