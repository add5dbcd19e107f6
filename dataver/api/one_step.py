"""Drafts that one call makes and publishes, and that the next call resumes if that was interrupted.

The idea: such a draft records what it is made of, `mirrors`, and a lock beside it shows whether a process
works on it. The next call for the same dataset and source finds it. `dataver drafts` lists it.
"""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from dataver.api.draft import Draft
from dataver.errors import DataverError
from dataver.formats.names import check_dataset_name
from dataver.ingest import DraftCore, DraftState, list_drafts, load_state
from dataver.ingest.draft_state import belongs, draft_folder
from dataver.ingest.pack_uploader import SPOOL, check_spool
from dataver.repository import Published, RepositoryCore

__all__ = ["OneStepDrafts"]

_LOCK = "one-step.lock"


class OneStepDrafts:
    """The drafts of one dataset and source, in a workspace.

    Args:
        repository: where the dataset is.
        url: the repository as the user gave it.
        home: the workspace.
        name: the dataset.
        mirrors: identifies the source.
        spool: the limit of bytes of unsent packs while data is read, None is the default; to a store in a
            local folder none are sent before the end.
    """

    def __init__(
        self, repository: RepositoryCore, url: str, home: Path, name: str, mirrors: str, spool: int | None
    ) -> None:
        check_dataset_name(name)
        self._repository, self._url, self._home = repository, url, home
        self._name, self._mirrors = name, mirrors
        far = repository.store.local_root is None
        self.spool = check_spool(SPOOL if spool is None else spool) if far else 0
        self._locks: dict[str, FileLock] = {}

    def start(self, parents: Sequence[Published]) -> Draft:
        """Start a draft that only a call for this source finds."""
        core = DraftCore.start(
            self._repository, self._url, self._home, self._name, parents, current=False, spool=self.spool
        )
        if self._lock(core.id):
            core.mark(self._mirrors)
        return Draft(core)

    def left_behind(self) -> Iterator[Draft]:
        """Yield the drafts of earlier calls that no process works on, each locked."""
        for state in list_drafts(self._home):
            if self._fits(state) and self._lock(state.id):
                folder = draft_folder(self._home, state.id)
                try:
                    now = load_state(folder)
                except DataverError:  # another process finished it just before this one locked it
                    shutil.rmtree(folder, ignore_errors=True)
                    continue
                if self._fits(now):
                    yield Draft(DraftCore(self._repository, self._home, now))

    def release(self) -> None:
        """Release the locks."""
        for lock in self._locks.values():
            lock.release()

    def _fits(self, state: DraftState) -> bool:
        return (
            (state.dataset, state.mirrors) == (self._name, self._mirrors)
            and state.status != "uploaded"
            and belongs(state, self._repository)
        )

    def _lock(self, draft_id: str) -> bool:
        lock = FileLock(draft_folder(self._home, draft_id) / _LOCK, timeout=0)
        try:
            lock.acquire()
        except (Timeout, OSError):
            return False
        self._locks[draft_id] = lock
        return True
