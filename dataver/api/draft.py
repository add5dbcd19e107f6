"""Public drafts: a `DraftCore` that can become a `Version`."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, TypeAlias, overload

from dataver._about import __version__
from dataver.api.author import author
from dataver.api.version import Diff, UploadReport, Version
from dataver.errors import InvalidInput
from dataver.formats.names import check_dataset_name
from dataver.formats.record import ParentRef, Record
from dataver.ingest import DraftCore, Sent, current_draft, find_draft, list_drafts, upload_draft
from dataver.ingest.dedup_lookup import spooled
from dataver.ingest.draft_place import belongs
from dataver.ingest.draft_state import save_state
from dataver.ingest.upload import ROUNDS
from dataver.lineage.record.recorder import record_made
from dataver.machine.paths import find_workspace, workspace_of
from dataver.progress import SILENT, Progress
from dataver.repository import Published, Ref, RepositoryCore
from dataver.repository.lines import Behind, Position, busy, find_position
from dataver.tree import Tree, new_name_problems

if TYPE_CHECKING:
    from dataver.ingest.upload_plan import UploadPlan

__all__ = ["Draft", "create_draft", "open_draft", "open_drafts"]

BytesMode: TypeAlias = Literal["rb", "wb", "xb", "ab", "r+b", "w+b", "x+b", "a+b", "rb+", "wb+", "xb+", "ab+"]
TextMode: TypeAlias = Literal["r", "w", "x", "a", "r+", "w+", "x+", "a+", "rt", "wt", "xt", "at"]


class Draft(DraftCore):
    """A version under construction: local, mutable, crash-safe.

    Get one from `Repository.create` or `Repository.draft`.
    """

    def status(self) -> Diff:
        """Return the difference between this draft and its parents."""
        return Diff.of(self.changes())

    @overload
    def open(
        self, path: str | os.PathLike[str], mode: BytesMode = "rb", *, executable: bool | None = None
    ) -> IO[bytes]: ...

    @overload
    def open(
        self,
        path: str | os.PathLike[str],
        mode: TextMode,
        *,
        executable: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[str]: ...

    def open(
        self,
        path: str | os.PathLike[str],
        mode: str = "rb",
        *,
        executable: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[Any]:
        """Open a file of this draft, to read, write or change it without a copy of the dataset.

        Written data is durable in the draft when `close` returns (invariant 6). If an exception leaves the
        `with` block, the file is unchanged. Several files may be open at once; each takes some 30 MB of
        memory while a large file is written. For many small files, write a folder and `add` it.

        Args:
            path: of the file in the version.
            mode: as for the built-in `open`. "w", "x" and "a" take bytes in order and keep no copy on this
                machine; with "+" written data waits in a local file of that size. "a" and "+" read the
                existing content once, since a file's digest covers all its bytes; only new chunks are stored.
            executable: whether the file is executable; None keeps the existing kind.
            encoding: of text; the default is UTF-8.
            errors: as for the built-in `open`.
            newline: as for the built-in `open`.

        Raises:
            PathNotFound: the file does not exist and the mode reads it.
            AlreadyExists: the file exists and the mode is "x".
            InvalidInput: unknown mode, invalid path, or the path is a link or a folder.
            Conflict: the draft was finalized; from `close` also: another writer changed the file meanwhile.
            StoreError: the disk or the store failed.
        """
        from dataver.api.draft_file import open_in_draft

        return open_in_draft(
            self, path, mode, executable=executable, encoding=encoding, errors=errors, newline=newline
        )

    def finalize(
        self,
        message: str = "",
        *,
        label: str | None = None,
        bump: str = "patch",
        metadata: Mapping[str, Any] | None = None,
        allow_empty: bool = False,
    ) -> Version:
        """Seal the draft: its content is fixed and has a digest; it is still local. Repeating it is safe.

        The version is recorded as an output of the current run.

        Args:
            message: the description of this version.
            label: the user's choice; with None, `upload` takes the next free one.
            bump: the part of the highest label to increment: "major", "minor" or "patch".
            metadata: JSON values to attach.
            allow_empty: make a version even if nothing changed.

        Raises:
            InvalidInput: nothing changed, or the label or the metadata is invalid.
        """
        if bump not in ("major", "minor", "patch"):
            raise InvalidInput(f"unknown part of a label: '{bump}'.", hint="choose major, minor or patch")
        values = {
            "message": message,
            "author": author(),
            "created": datetime.now(UTC).isoformat(),
            "metadata": dict(metadata or {}),
            "write_id": os.urandom(16).hex(),
        }
        self._record(values).encode()  # validates the values before anything is fixed
        self.seal(values, label=label, bump=bump, allow_empty=allow_empty)
        version = self.version()
        record = self._record(self._state.sealed or values)
        record_made(self._repository, record, version.record_id, how="finalize")
        return version

    def portability(self) -> list[tuple[str, str]]:
        """Return `(path, reason)` of names this draft adds that some file systems cannot hold.

        Checks the folders that gained a name, not the whole version.
        """
        added = [change.path for change in self.changes() if change.old is None]
        return new_name_problems(self.tree, Tree(bytes.fromhex(self._state.base), self._load), added)

    def version(self) -> Version:
        """Return the sealed version.

        Raises:
            InvalidInput: the draft is not finalized.
        """
        sealed, state = self._state.sealed, self._state
        if sealed is None:
            raise InvalidInput(
                f"draft {self.id} of {self.dataset} is not finalized.", hint="finalize it first"
            )
        if state.published is not None:
            return Version.of(self._repository, self._repository.records.get(self.dataset, state.published))
        record = replace(self._record(sealed), label=state.label or "")
        return Version(self._repository, record, None, self.tree, self._send)

    def upload(
        self, progress: Progress = SILENT, *, rebase: bool = False, allow_fork: bool = False
    ) -> UploadReport:
        """Publish the sealed version atomically. Repeating it is safe.

        If other versions were published since, this draft's changes are applied to the latest version of its
        line, which becomes its parent. A draft without parents in the dataset is published unchanged.

        Args:
            progress: receives counts of packs.
            rebase: keep this draft's content of a path that both changed, instead of raising.
            allow_fork: publish a fork beside the latest version instead; `latest` does not move.

        Raises:
            InvalidInput: the draft is not finalized.
            Conflict: other versions changed the same paths, or the chosen label was taken meanwhile.
            StoreError: the store failed; call again to continue.
        """
        return self.version().upload(progress, rebase=rebase, allow_fork=allow_fork)

    # drafts of interrupted `sync` calls, which the next call resumes (`dataver.api.sync` holds the locks)

    def mark(self, mirrors: str) -> None:
        """Record the folder that a one-step `sync` mirrors into this draft."""
        self._state.mirrors = mirrors
        save_state(self._folder, self._state)

    def matches_record(self, record: Record) -> bool:
        """Return whether a published record is this draft's, created by a write whose reply was lost."""
        return self._state.sealed is not None and self._state.sealed["write_id"] == record.write_id

    def is_child_of(self, parents: Sequence[Published]) -> bool:
        """Return whether it started from exactly these versions."""
        return [each["record"] for each in self._state.parents] == [each.record_id for each in parents]

    def reopen(self, spool: int) -> None:
        """Unseal the draft; sealing it with the same content and metadata restores the same version."""
        with self._locked():
            self._state.status, self._state.spool = "open", spool
            save_state(self._folder, self._state)

    def remove_published(self, published: Published) -> None:
        """Remove the draft, whose record is published."""
        with self._locked():
            self._published(published, [bytes.fromhex(path.name) for path in spooled(self.spool)])
        self.forget()

    def move_packs_from(self, other: "Draft") -> None:
        """Move the packs of an abandoned draft into this one, and discard that draft."""
        for path in spooled(other.spool):
            path.replace(self.spool / path.name)
        other.discard()

    def plan_upload(self) -> "UploadPlan":
        """Return what `upload` would send, with the time if it can be estimated; sends nothing.

        A draft that is not finalized is planned in its current state.
        """
        from dataver.ingest.upload_plan import plan_upload

        published = self._state.published is not None
        parents = len(self._state.parents)
        return plan_upload(self, self._repository, parents=parents, published=published)

    def _record(self, sealed: Mapping[str, Any]) -> Record:
        state, summary = self._state, self.tree.summary()
        return Record(
            dataset=state.dataset,
            label=state.label or "0.0.0",
            tree=summary.digest,
            parents=tuple(ParentRef(**each) for each in state.parents),
            created=datetime.fromisoformat(sealed["created"]),
            author=sealed["author"],
            message=sealed["message"],
            files=summary.files,
            size=summary.size,
            entries=summary.entries,
            metadata=sealed["metadata"],
            tool=f"dataver {__version__}",
            write_id=sealed["write_id"],
        )

    def _send(self, progress: Progress, rebase: bool, allow_fork: bool) -> tuple[Sent, Published | None]:
        """Publish; return the amount sent, and the version that the changes were applied to, if any."""
        with self._locked():
            onto = None
            for _ in range(ROUNDS):
                try:
                    sent = self._send_once(progress, allow_fork)
                except Behind as behind:
                    if self._state.mirrors is not None:
                        raise
                    onto = behind.latest
                    self.merge_onto(onto, keep=rebase)
                else:
                    return sent, onto
            raise busy(self.dataset)

    def _send_once(self, progress: Progress, allow_fork: bool) -> Sent:
        state = self._state
        record = self._record(state.sealed or {})

        def remember(label: str) -> None:
            state.attempted = label
            save_state(self._folder, state)

        def locate() -> Position:
            return find_position(
                self._repository.records,
                record,
                label=state.label,
                bump=state.bump,
                mirrors=state.mirrors is not None,
                allow_fork=allow_fork,
            )

        if state.label is not None:
            self._repository.tags.refuse_label(self.dataset, state.label)
        sent = upload_draft(
            self,
            self._repository,
            record,
            locate=locate,
            attempted=state.attempted,
            on_attempt=remember,
            progress=progress,
        )
        self._published(sent.published, sent.packs)
        return sent


def create_draft(
    core: RepositoryCore,
    url: str,
    name: str,
    parents: Ref | Sequence[Ref],
    workspace: str | Path | None,
    *,
    spool: int,
) -> Draft:
    """Start a draft; see `dataver.Repository.create`."""
    check_dataset_name(name)
    wanted = list(parents) if isinstance(parents, Sequence) and not isinstance(parents, str) else [parents]
    found = [core.resolve(ref) for ref in wanted]
    if name not in {each.record.dataset for each in found}:
        core.records.refuse_dataset(name)
    folder = Path.cwd() if workspace is None else None
    return Draft.start(core, url, workspace_of(workspace), name, found, folder=folder, spool=spool)


def open_draft(core: RepositoryCore, draft_id: str | None, workspace: str | Path | None) -> Draft:
    """Open a draft of a workspace; see `dataver.Repository.draft`."""
    start = Path(workspace) if workspace is not None else None
    if draft_id is None:
        home, draft_id = current_draft(start)
    else:
        home = find_workspace(start) or workspace_of(workspace)
        draft_id = find_draft(home, draft_id)
    return Draft.load(core, home, draft_id)


def open_drafts(core: RepositoryCore, workspace: str | Path | None) -> list[Draft]:
    """Open the drafts of a workspace; see `dataver.Repository.drafts`."""
    home = find_workspace(Path(workspace) if workspace is not None else None)
    return [
        Draft(core, home, state)
        for state in (list_drafts(home) if home else [])
        if home and state.status != "uploaded" and belongs(state, core)
    ]
