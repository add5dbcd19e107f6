"""Hashing the folders of the version cache, and repairing them from their repositories.

The idea: the digests of a folder's files are in its version's tree. So each folder is checked against its
repository, as `fetch(verify="full")` does, which also fetches damaged files again.

Serves invariant 1: files damaged on the disk after they were fetched are found and replaced.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dataver.checkout.fetching import fetch
from dataver.errors import DataverError
from dataver.progress import SILENT, Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataver.cache.version_cache import CachedFolder, VersionCache
    from dataver.repository import RepositoryCore

__all__ = ["CacheCheck", "verify_cache"]


@dataclass
class CacheCheck:
    """Result of a check of the cache.

    Attributes:
        folders: folders that are intact now.
        files: files in them.
        size: their bytes.
        repaired: `(version, number)` of damaged entries that were replaced.
        problems: `(version, reason)` of folders that could not be checked or repaired.
    """

    folders: int = 0
    files: int = 0
    size: int = 0
    repaired: list[tuple[str, int]] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)


def verify_cache(
    cache: VersionCache, repository_of: Callable[[CachedFolder], RepositoryCore], progress: Progress = SILENT
) -> CacheCheck:
    """Hash every file of every folder; replace damaged ones.

    Args:
        cache: the cache.
        repository_of: opens the repository of a folder, whose URL may be unknown.
        progress: receives counts of files and bytes.
    """
    check = CacheCheck()
    for folder in cache.folders():
        name = folder.ref or f"dv1:{folder.tree.hex()[:16]}"
        lease = cache.lease(folder.path.name)
        try:
            report = fetch(
                repository_of(folder),
                folder.tree,
                selection=folder.selection,
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
