"""One-step `sync`: a draft, mirrored, sealed and uploaded; taken up again where an earlier one was cut short.

The idea: such a draft says what it mirrors, and a lock beside it says whether anybody is at it. The next call
for the same folder, dataset and place finds it: still a child of the latest version, it is mirrored again,
which reads what is new only; else its packs move into the new draft, so that chunks are found there. A pack
that was sent is in the store and in the local index, for everybody.

Keeps invariant 4: whatever stopped the first call, repeating it ends as one call would have. A record whose
reply was lost is recognised by its write id, before or after others published.
"""

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from dataver._draft import Draft
from dataver._repository import Repository, SyncReport
from dataver._version import UploadReport, Version
from dataver.errors import Conflict, DataverError, StoreError
from dataver.formats.names import check_dataset_name
from dataver.ingest import AddReport, DraftState, list_drafts, load_state
from dataver.ingest.draft_state import draft_folder
from dataver.ingest.known import spooled
from dataver.progress import Progress
from dataver.repository import Published
from dataver.repository.resolve import latest

__all__ = ["OneStep"]

_LOCK = "one-step.lock"


class OneStep:
    """One call of `Repository.sync`.

    Args:
        repository: where the dataset is.
        url: the repository as the user gave it.
        home: the workspace.
        name: the dataset.
        mirrors: what is mirrored where; calls that say the same take up each other's work.
        spool: bytes of packs that may wait to be sent while the folder is read; 0 sends none before its end.
    """

    def __init__(
        self, repository: Repository, url: str, home: Path, name: str, mirrors: str, spool: int
    ) -> None:
        check_dataset_name(name)
        self._repository, self._url, self._home, self._name = repository, url, home, name
        self._mirrors, self._spool = mirrors, spool
        self._locks: dict[str, FileLock] = {}

    def run(
        self, mirror: Callable[[Draft], AddReport], seal: Callable[[Draft], Any], sending: Progress
    ) -> SyncReport:
        """Do it; `mirror` and `seal` are given the draft.

        Raises:
            Conflict: the label is taken, or is a tag; nothing of the draft is left.
            StoreError: the store failed; the draft is left, and repeating the call continues.
        """
        began = time.perf_counter()
        labels = self._repository.records.labels(self._name)
        last = (
            self._repository.records.get(self._name, latest(self._repository.records, self._name, labels))
            if labels
            else None
        )
        try:
            draft, done = self._draft(last)
            report = self._mirror(draft, mirror)
            if not draft.changed and (labels or not report.files):
                draft.discard()
                version = done.version if done is not None else None
                return SyncReport(version, report, done, time.perf_counter() - began)
            seal(draft)
            sent = self._upload(draft, sending)
        finally:
            for lock in self._locks.values():
                lock.release()
        sent = replace(sent, packs=sent.packs + report.sent_packs, size=sent.size + report.sent_size)
        return SyncReport(sent.version, report, sent, time.perf_counter() - began)

    def _mirror(self, draft: Draft, mirror: Callable[[Draft], AddReport]) -> AddReport:
        try:
            return mirror(draft)
        except (StoreError, KeyboardInterrupt) as error:
            if not (draft.changed or spooled(draft.spool)):
                draft.discard()
            elif isinstance(error, StoreError):
                _encourage(error)
            raise
        except BaseException:
            draft.discard()
            raise

    def _upload(self, draft: Draft, sending: Progress) -> UploadReport:
        try:
            sent = draft.upload(sending)
        except Conflict:
            draft.discard()  # repeating with another label adds again what little was new
            raise
        except StoreError as error:
            _encourage(error)
            raise
        draft.forget()
        return sent

    def _draft(self, last: Published | None) -> tuple[Draft, UploadReport | None]:
        """Return the draft to work on, and what an earlier call published without hearing of it."""
        parents = [last] if last is not None else []
        taken: Draft | None = None
        done: UploadReport | None = None
        rest: list[Draft] = []
        for draft in self._left_behind():
            if last is not None and draft.would_be(last.record):
                draft.was_published(last)
                done = UploadReport(Version.of(self._repository, last), 0, 0, 0, 0.0, already=True)
            elif taken is None and draft.is_child_of(parents):
                taken = draft
                draft.reopen(self._spool)
            else:
                rest.append(draft)
        if taken is None:
            taken = Draft.start(
                self._repository,
                self._url,
                self._home,
                self._name,
                parents,
                current=False,
                spool=self._spool,
            )
            if self._lock(taken.id):
                taken.mark(self._mirrors)
        for draft in rest:
            taken.take_packs(draft)
        return taken, done

    def _left_behind(self) -> Iterator[Draft]:
        """Yield the drafts of earlier calls that nobody is at any more; they are locked."""
        states: list[DraftState] = []
        with contextlib.suppress(DataverError):  # a damaged draft is no reason not to make this one
            states = list_drafts(self._home)
        for state in states:
            if self._fits(state) and self._lock(state.id):
                folder = draft_folder(self._home, state.id)
                try:
                    now = load_state(folder)
                except DataverError:  # it was finished just before it was locked
                    shutil.rmtree(folder, ignore_errors=True)
                    continue
                if self._fits(now):
                    yield Draft(self._repository, self._home, now)

    def _fits(self, state: DraftState) -> bool:
        return (state.repository_id, state.dataset, state.mirrors) == (
            self._repository.id,
            self._name,
            self._mirrors,
        ) and state.status != "uploaded"

    def _lock(self, draft_id: str) -> bool:
        lock = FileLock(draft_folder(self._home, draft_id) / _LOCK, timeout=0)
        try:
            lock.acquire()
        except (Timeout, OSError):
            return False
        self._locks[draft_id] = lock
        return True


def _encourage(error: StoreError) -> None:
    again = "repeat the same command: it goes on where it stopped"
    error.hint = f"{error.hint}; then {again}" if error.hint else again
