"""The repository of a draft: the one it was begun in, also after a move, but not a copy of it.

The idea: a draft depends on the contents of its repository, and copies of a repository share its id. So it is
bound to a location as well. If the repository is at a new location and no longer at the old one, it was
moved, and the draft follows it.
"""

from dataclasses import replace
from pathlib import Path

from dataver.errors import DataverError
from dataver.ingest.draft_state import DraftState, draft_folder, draft_lock, load_state, save_state
from dataver.machine.configuration import options_for
from dataver.repository import RepositoryCore, open_repository

__all__ = ["belongs", "follow"]


def belongs(state: DraftState, repository: RepositoryCore) -> bool:
    """Return whether a draft belongs to a repository."""
    if state.repository_id != repository.id:
        return False
    return state.location == repository.store.location or not _still_there(state, repository)


def follow(state: DraftState, repository: RepositoryCore, workspace: Path) -> DraftState:
    """Record the new location of a draft's repository if it was moved; return the draft's state."""
    location = repository.store.location
    if state.location == location:
        return state
    folder = draft_folder(workspace, state.id)
    with draft_lock(folder):
        state = replace(load_state(folder), repository=repository.url, location=location)
        save_state(folder, state)
    return state


def _still_there(state: DraftState, repository: RepositoryCore) -> bool:
    """Return whether the draft's URL still leads to the repository, at another location than this one."""
    try:
        found = open_repository(state.repository, options_for(state.repository))
        return found.id == state.repository_id and found.store.location != repository.store.location
    except DataverError:
        return False
