"""Copying versions between repositories: `push`, `pull` and `mirror`.

Each is a plan and its execution (`dataver.transfer`); they differ in direction and
selection.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dataver.errors import NotFound
from dataver.machine.configuration import options_for
from dataver.progress import SILENT, Progress, receiver
from dataver.repository import RepositoryCore, init_repository, open_repository
from dataver.storage import MemoryStore
from dataver.user import author

if TYPE_CHECKING:
    from dataver.transfer import MovePlan, MoveReport

# Imports in functions: a copy between repositories is seldom asked for.

__all__ = ["End", "execute", "mirror", "open_end", "open_or_init", "plan"]


class Opened(Protocol):
    """Protocol of `dataver.Repository`, which imports this module."""

    _core: RepositoryCore


End = str | Path | Opened


def open_end(end: End, storage_options: Mapping[str, Any] | None = None) -> RepositoryCore:
    """Return the repository at one end of a transfer.

    Raises:
        NotFound: there is none.
    """
    if isinstance(end, str | Path):
        return open_repository(str(end), options_for(str(end), storage_options))
    return end._core


def plan(
    source: RepositoryCore,
    target: RepositoryCore,
    refs: str | Sequence[str] = (),
    *,
    lineage: bool = True,
    exact: bool = False,
) -> "MovePlan":
    """Return the plan of a transfer; without references, of everything."""
    from dataver.transfer import choose, plan_move

    wanted = [refs] if isinstance(refs, str) else list(refs)
    return plan_move(source, target, choose(source, wanted), lineage=lineage, exact=exact)


def execute(made: "MovePlan", *, verify: bool = False, progress: Progress | bool = SILENT) -> "MoveReport":
    """Execute a plan."""
    from dataver.transfer import execute_move

    with receiver(progress, "Copying", "pack") as shown:
        return execute_move(made, author=author(), verify=verify, progress=shown)


def mirror(
    source: End,
    target: End,
    *,
    lineage: bool = True,
    verify: bool = False,
    source_options: Mapping[str, Any] | None = None,
    target_options: Mapping[str, Any] | None = None,
    progress: Progress | bool = SILENT,
) -> "MoveReport":
    """Copy everything that one repository holds to another: versions, tags, lineage. Deletes nothing.

    Repeating it sends new objects only. If the target holds no repository, one is created, with an id of its
    own and the source's chunk size. A tag that was moved in the target is moved back.

    Args:
        source: a repository or its URL.
        target: a repository or its URL.
        lineage: also copy the events of runs.
        verify: read everything back from the target afterwards, and verify it.
        source_options: passed to the source's store.
        target_options: passed to the target's store.
        progress: receives counts of packs and bytes; True shows a bar.

    Returns:
        The report. `problems` lists objects that could not be read, and versions whose label belongs to
        another version in the target; all others were copied.

    Raises:
        NotFound: there is no repository at `source`.
        StoreError: the target failed, or the source cannot be reached; repeating it continues.
    """
    here = open_end(source, source_options)
    there = open_or_init(target, target_options, like=here)
    return execute(plan(here, there, lineage=lineage, exact=True), verify=verify, progress=progress)


def open_or_init(
    end: End, storage_options: Mapping[str, Any] | None = None, *, like: RepositoryCore, make: bool = True
) -> RepositoryCore:
    """Return the repository at a mirror's target, creating it with the chunk size of `like` if needed.

    If `make` is False nothing is created; an empty repository in memory takes its place for the plan.
    """
    try:
        return open_end(end, storage_options)
    except NotFound:
        if not make:
            store = MemoryStore()
            store.url = str(end)
            return RepositoryCore(store, replace(like.config, id=os.urandom(16).hex()))
        average = like.config.chunking.average
        options = options_for(str(end), storage_options)
        return init_repository(str(end), options, chunk_size=average)
