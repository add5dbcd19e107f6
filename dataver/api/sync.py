"""One-step `sync`: mirror a folder into a draft, seal and upload it, or resume an interrupted call.

The idea: the next call for the same folder, dataset and destination finds the draft (`one_step`). If it is
still a child of the latest version, it is mirrored again, which reads only new files; else its packs move
into the new draft, where their chunks are found. Packs already sent are in the store and in the local index,
for any draft.

Keeps invariant 4: repeating an interrupted call ends with the result of a single call. A record whose reply
was lost is recognised by its write id, also if others have published since.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dataver.api.draft import Draft
from dataver.api.one_step import OneStepDrafts
from dataver.api.version import UploadReport, Version
from dataver.errors import Conflict, InvalidInput, StoreError
from dataver.formats.names import check_dataset_name
from dataver.ingest import AddReport
from dataver.ingest.add_plan import AddPlan, plan_add
from dataver.ingest.dedup import spooled
from dataver.ingest.scan import Scan, ScanOptions, require_folder
from dataver.ingest.upload import ROUNDS, mend
from dataver.lineage.record.recorder import record_output
from dataver.progress import Progress
from dataver.repository import Published, RepositoryCore
from dataver.repository.lines import Behind, busy, latest
from dataver.repository.soundness import DamagedPacks
from dataver.short_repr import short_repr

__all__ = ["SyncOperation", "SyncReport", "plan_sync"]

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
        self._repository, self._name, self._dest = repository, name, dest
        self._drafts = OneStepDrafts(repository, url, home, name, f"{folder} -> {dest}", spool)

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
                    draft._core.reopen(self._drafts.spool)
                    report = self._mirror(draft, mirror)
            if isinstance(sent, Published):
                record_output(self._repository, sent.record, sent.record_id, how="unchanged")
                return SyncReport(None, report, None, time.perf_counter() - began)
        finally:
            self._drafts.release()
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
        for draft in self._drafts.left_behind():
            if last is not None and draft._core.matches_record(last.record):
                draft._core.remove_published(last)
                done = UploadReport(Version.of(self._repository, last), 0, 0, 0, 0.0, already=True)
            elif taken is None and draft._core.is_child_of(parents):
                taken = draft
                draft._core.reopen(self._drafts.spool)
            else:
                rest.append(draft)
        if taken is None:
            taken = self._drafts.start(parents)
        for draft in rest:
            taken._core.move_packs_from(draft._core)
        return taken, done


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
