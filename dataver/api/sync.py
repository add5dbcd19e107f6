"""One-step `sync`: mirror a folder into a draft, seal and upload it, or resume an interrupted call.

The idea: such a draft records what it mirrors, and a lock beside it shows whether a process works on it. The
next call for the same folder, dataset and destination finds it. If it is still a child of the latest version,
it is mirrored again, which reads only new files; else its packs move into the new draft, where their chunks
are found. Packs already sent are in the store and in the local index, for any draft.

Keeps invariant 4: repeating an interrupted call ends with the result of a single call. A record whose reply
was lost is recognised by its write id, also if others have published since.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from dataver.api.draft import Draft
from dataver.api.version import UploadReport, Version
from dataver.errors import Conflict, DataverError, InvalidInput, StoreError
from dataver.formats.names import check_dataset_name
from dataver.ingest import AddReport, DraftCore, DraftState, list_drafts, load_state
from dataver.ingest.add_plan import AddPlan, plan_add
from dataver.ingest.dedup import spooled
from dataver.ingest.draft_state import belongs, draft_folder
from dataver.ingest.pack_uploader import SPOOL, check_spool
from dataver.ingest.scan import Scan, ScanOptions, require_folder
from dataver.ingest.upload import ROUNDS, mend
from dataver.lineage.record.recorder import record_output
from dataver.progress import Progress
from dataver.repository import Published, RepositoryCore
from dataver.repository.lines import Behind, busy, latest
from dataver.repository.soundness import DamagedPacks
from dataver.short_repr import short_repr

__all__ = ["SyncOperation", "SyncReport", "plan_sync"]

_LOCK = "one-step.lock"
_ATTEMPTS = 4  # a `gc` without a grace period may delete packs again between two attempts


@dataclass(frozen=True)
class SyncReport:
    """Result of a one-step `sync`.

    Attributes:
        version: the published version; None if nothing had changed.
        add: the result of reading the folder.
        upload: the result of the upload; None if nothing had changed.
        seconds: wall time.
    """

    version: Version | None
    add: AddReport
    upload: UploadReport | None
    seconds: float

    __repr__ = short_repr


class SyncOperation:
    """One call of `Repository.sync`.

    Args:
        repository: where the dataset is.
        url: the repository as the user gave it.
        home: the workspace.
        name: the dataset.
        folder: the folder to mirror; a call resumes interrupted ones for the same folder, dataset and `dest`.
        dest: the destination folder in the version.
        spool: the limit of bytes of unsent packs while the folder is read, None is the default; to a store
            in a local folder none are sent before the end.
    """

    def __init__(
        self,
        repository: RepositoryCore,
        url: str,
        home: Path,
        name: str,
        folder: str,
        dest: str,
        spool: int | None,
    ) -> None:
        check_dataset_name(name)
        self._repository, self._url, self._home, self._name = repository, url, home, name
        self._mirrors, self._dest = f"{folder} -> {dest}", dest
        far = repository.store.local_root is None
        self._spool = check_spool(SPOOL if spool is None else spool) if far else 0
        self._locks: dict[str, FileLock] = {}

    def run(
        self,
        mirror: Callable[[Draft], AddReport],
        seal: Callable[[Draft], Any],
        sending: Progress,
        *,
        allow_fork: bool,
    ) -> SyncReport:
        """Mirror, seal and publish; `mirror` and `seal` receive the draft.

        If another version is published meanwhile, the folder, as it was read, is mirrored onto it.

        Raises:
            Conflict: the label is taken, or is a tag; nothing of the draft is left.
            StoreError: the store failed; the draft is left, and repeating the call continues.
        """
        began = time.perf_counter()
        records = self._repository.records
        labels = records.listed(self._name)
        if not labels:
            records.refuse_dataset(self._name)
        last = latest(records, self._name, labels) if labels else None
        try:
            draft, done = self._draft(last)
            report = self._mirror(draft, mirror)
            if not labels and not report.files and not report.problems:
                draft.discard()
                raise _empty(self._name)
            if not draft.changed and (labels or not report.files):
                if report.new_chunks:  # their chunks are in damaged packs
                    mend(draft._core, self._repository, sending)
                draft.discard()
                version = done.version if done is not None else None
                if last is not None and version is None:
                    record_output(self._repository, last.record, last.record_id, how="unchanged")
                return SyncReport(version, report, done, time.perf_counter() - began)
            for left in reversed(range(_ATTEMPTS)):
                seal(draft)
                try:
                    sent = self._upload(draft, report, sending, allow_fork=allow_fork)
                    break
                except DamagedPacks:  # they are marked now, so that their chunks are read and stored again
                    if not left:
                        raise
                    draft._core.reopen(self._spool)
                    report = self._mirror(draft, mirror)
            if isinstance(sent, Published):
                record_output(self._repository, sent.record, sent.record_id, how="unchanged")
                return SyncReport(None, report, None, time.perf_counter() - began)
        finally:
            for lock in self._locks.values():
                lock.release()
        sent = replace(sent, packs=sent.packs + report.sent_packs, size=sent.size + report.sent_size)
        return SyncReport(sent.version, report, sent, time.perf_counter() - began)

    def _mirror(self, draft: Draft, mirror: Callable[[Draft], AddReport]) -> AddReport:
        try:
            return mirror(draft)
        except (StoreError, KeyboardInterrupt) as error:
            if not (draft.changed or spooled(draft._core.spool)):
                draft.discard()
            elif isinstance(error, StoreError):
                _encourage(error)
            raise
        except BaseException:
            draft.discard()
            raise

    def _upload(
        self, draft: Draft, report: AddReport, sending: Progress, *, allow_fork: bool
    ) -> UploadReport | Published:
        """Publish the draft; return the latest version if it has the same content."""
        try:
            sent = self._publish(draft, report, sending, allow_fork=allow_fork)
        except Conflict:
            draft.discard()  # repeating with another label has little new to add
            raise
        except StoreError as error:
            _encourage(error)
            raise
        if isinstance(sent, Published):
            draft.discard()
        else:
            draft._core.forget()
        return sent

    def _publish(
        self, draft: Draft, report: AddReport, sending: Progress, *, allow_fork: bool
    ) -> UploadReport | Published:
        onto = None
        for _ in range(ROUNDS):
            try:
                return replace(draft.upload(sending, allow_fork=allow_fork), onto=onto)
            except Behind as behind:
                onto = behind.latest.ref
                if report.problems:  # an incomplete mirror: missing files may be unread ones
                    draft._core.merge_onto(behind.latest, keep=True)
                else:
                    draft._core.mirror_onto(behind.latest, self._dest)
                if not draft.changed:
                    return behind.latest
        raise busy(self._name)

    def _draft(self, last: Published | None) -> tuple[Draft, UploadReport | None]:
        """Return the draft to work on, and the upload of an earlier call whose reply was lost."""
        parents = [last] if last is not None else []
        taken: Draft | None = None
        done: UploadReport | None = None
        rest: list[Draft] = []
        for draft in self._left_behind():
            if last is not None and draft._core.matches_record(last.record):
                draft._core.remove_published(last)
                done = UploadReport(Version.of(self._repository, last), 0, 0, 0, 0.0, already=True)
            elif taken is None and draft._core.is_child_of(parents):
                taken = draft
                draft._core.reopen(self._spool)
            else:
                rest.append(draft)
        if taken is None:
            taken = Draft(
                DraftCore.start(
                    self._repository,
                    self._url,
                    self._home,
                    self._name,
                    parents,
                    current=False,
                    spool=self._spool,
                )
            )
            if self._lock(taken.id):
                taken._core.mark(self._mirrors)
        for draft in rest:
            taken._core.move_packs_from(draft._core)
        return taken, done

    def _left_behind(self) -> Iterator[Draft]:
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


def plan_sync(
    repository: RepositoryCore, folder: str | Path, name: str, options: ScanOptions, *, allow_shrink: bool
) -> AddPlan:
    """Return the plan of a one-step `sync`; see `dataver.Repository.plan_sync`."""
    check_dataset_name(name)
    require_folder(folder)
    records = repository.records
    labels = records.listed(name)
    if not labels:
        records.refuse_dataset(name)
    tree = repository.tree(latest(records, name, labels).record.tree) if labels else None
    how = Scan(**options)
    plan = plan_add(repository, tree, (folder,), how, mirror=True, allow_shrink=allow_shrink)
    if not labels and not plan.files and not plan.problems:
        raise _empty(name)
    return plan


def _empty(name: str) -> InvalidInput:
    return InvalidInput(
        f"the folder holds no files, and {name} has no version yet.",
        hint="is the folder the right one, and its disk mounted?",
    )


def _encourage(error: StoreError) -> None:
    again = "repeat the same command to continue"
    error.hint = f"{error.hint}; then {again}" if error.hint else again
