"""Moving versions between repositories: `push`, `pull` and `mirror`.

Each is a plan and its execution (`dataver.repository.moving`, imported when something is moved); they differ
in which end is which, and in what is chosen.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataver._author import author
from dataver.errors import NotFound
from dataver.progress import SILENT, Progress
from dataver.repository import Repository as RepositoryCore
from dataver.repository import init_repository, open_repository
from dataver.repository.configuration import options_for
from dataver.storage import MemoryStore

if TYPE_CHECKING:
    from dataver.repository.moving import MovePlan, MoveReport

__all__ = ["Movable", "execute", "mirror", "open_end", "open_or_init", "plan"]

End = str | Path | RepositoryCore


class Movable(RepositoryCore):
    """A repository whose versions can be moved to others, and theirs to it."""

    def push(
        self,
        target: End,
        refs: str | Sequence[str] = (),
        *,
        lineage: bool = True,
        verify: bool = False,
        storage_options: Mapping[str, Any] | None = None,
        progress: Progress = SILENT,
    ) -> "MoveReport":
        """Bring versions, their tags and their lineage from here to another repository.

        Packs are copied as they are, and what the target has is not sent; repeating it after an interruption
        sends the rest.

        Args:
            target: a repository or its URL.
            refs: datasets (`name`: every version and tag), versions (`name@label`, `dv1:<prefix>`) and tags
                (`name@tag`); none mean everything.
            lineage: whether the events of the runs that touched them are moved, too.
            verify: read everything chosen back from the target afterwards, and check it.
            storage_options: handed to the target's store.
            progress: told of packs and their bytes.

        Returns:
            What was done. `problems` names what could not be read, and versions whose label belongs to
            another version in the target; all others were moved.

        Raises:
            NotFound: a reference that names nothing, or no repository at `target`.
            StoreError: the target failed, or this repository cannot be reached; repeating it continues.
        """
        made = plan(self, open_end(target, storage_options), refs, lineage=lineage)
        return execute(made, verify=verify, progress=progress)

    def pull(
        self,
        source: End,
        refs: str | Sequence[str] = (),
        *,
        lineage: bool = True,
        verify: bool = False,
        storage_options: Mapping[str, Any] | None = None,
        progress: Progress = SILENT,
    ) -> "MoveReport":
        """Bring versions, their tags and their lineage from another repository to this one; see `push`."""
        made = plan(open_end(source, storage_options), self, refs, lineage=lineage)
        return execute(made, verify=verify, progress=progress)


def open_end(end: End, storage_options: Mapping[str, Any] | None = None) -> RepositoryCore:
    """Return the repository at one end of a move.

    Raises:
        NotFound: there is none.
    """
    if isinstance(end, RepositoryCore):
        return end
    return RepositoryCore(*open_repository(str(end), options_for(str(end), storage_options)))


def plan(
    source: RepositoryCore,
    target: RepositoryCore,
    refs: str | Sequence[str] = (),
    *,
    lineage: bool = True,
    exact: bool = False,
) -> "MovePlan":
    """Return what moving versions takes; no references mean everything."""
    from dataver.repository.moving import choose, plan_move

    wanted = [refs] if isinstance(refs, str) else list(refs)
    return plan_move(source, target, choose(source, wanted), lineage=lineage, exact=exact)


def execute(made: "MovePlan", *, verify: bool = False, progress: Progress = SILENT) -> "MoveReport":
    """Do what was planned."""
    from dataver.repository.moving import execute_move

    return execute_move(made, author=author(), verify=verify, progress=progress)


def mirror(
    source: End,
    target: End,
    *,
    lineage: bool = True,
    verify: bool = False,
    source_options: Mapping[str, Any] | None = None,
    target_options: Mapping[str, Any] | None = None,
    progress: Progress = SILENT,
) -> "MoveReport":
    """Bring everything that one repository holds to another: versions, tags, lineage. Deletes nothing.

    Repeating it sends what is new. Where there is no repository at the target, one is made, with an id of its
    own and the source's chunk size. A tag that was moved on in the target is moved back.

    Args:
        source: a repository or its URL.
        target: a repository or its URL.
        lineage: whether the events of runs are moved, too.
        verify: read everything back from the target afterwards, and check it.
        source_options: handed to the source's store.
        target_options: handed to the target's store.
        progress: told of packs and their bytes.

    Returns:
        What was done. `problems` names what could not be read, and versions whose label belongs to another
        version in the target; all others were moved.

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
    """Return the repository at a mirror's target; if there is none, made with the chunk size of `like`.

    Where `make` is False nothing is made, and an empty repository in memory stands in for a plan's sake.
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
        return RepositoryCore(*init_repository(str(end), options, chunk_size=average))
