"""Drafts as people hold them: a `DraftCore` that can become a `Version`."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any, Literal, TypeAlias, overload

from dataver._about import __version__
from dataver._author import author
from dataver._version import Diff, UploadReport, Version
from dataver.errors import InvalidInput
from dataver.formats.record import ParentRef, Record
from dataver.ingest import DraftCore, Sent, upload_draft
from dataver.ingest.draft_state import save_state
from dataver.ingest.known import spooled
from dataver.lineage.noting import wanted
from dataver.progress import SILENT, Progress
from dataver.repository import Published
from dataver.tree import Tree, new_name_problems

if TYPE_CHECKING:
    from dataver.ingest.upload_plan import UploadPlan

__all__ = ["Draft"]

BytesMode: TypeAlias = Literal["rb", "wb", "xb", "ab", "r+b", "w+b", "x+b", "a+b", "rb+", "wb+", "xb+", "ab+"]
TextMode: TypeAlias = Literal["r", "w", "x", "a", "r+", "w+", "x+", "a+", "rt", "wt", "xt", "at"]


class Draft(DraftCore):
    """A version being built: local, mutable, safe from crashes.

    Get one from `Repository.create` or `Repository.draft`.
    """

    def status(self) -> Diff:
        """Return what this draft changes against its parents."""
        return Diff.of(self.changes())

    @overload
    def open(self, path: str, mode: BytesMode = "rb", *, executable: bool | None = None) -> IO[bytes]: ...

    @overload
    def open(
        self,
        path: str,
        mode: TextMode,
        *,
        executable: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[str]: ...

    def open(
        self,
        path: str,
        mode: str = "rb",
        *,
        executable: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[Any]:
        """Open a file of this draft, to read, write or change it without a copy of the dataset.

        What is written is in the draft, and safe, when `close` returns (invariant 6). Left by an exception,
        the file is as it was. Several may be open at once; each takes some 30 MB of memory while a large file
        is written. Whoever has many small files should put them into a folder and `add` that.

        Args:
            path: of the file in the version.
            mode: as for the built-in `open`. "w", "x" and "a" take bytes in order and keep no copy on this
                machine; with "+" what is written waits in a file as large as that. "a" and "+" read what is
                there already once, since a file's digest is that of all its bytes; only new chunks are kept.
            executable: whether the file is; None means as what stands there.
            encoding: of text; UTF-8 unless told.
            errors: as for the built-in `open`.
            newline: as for the built-in `open`.

        Raises:
            PathNotFound: it is to be read, and is not there.
            AlreadyExists: it is there, and the mode is "x".
            InvalidInput: no mode, no path of a version, a link, or a folder.
            Conflict: the draft was finalized; from `close` also: somebody else changed the file meanwhile.
            StoreError: the disk or the store refuses it.
        """
        from dataver._opening import open_in_draft

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
        """Seal the draft; its content is fixed and has a digest, and it is still local. Repeating it is safe.

        The current run is noted to have produced it.

        Args:
            message: what to say of this version.
            label: the user's choice; None leaves it to `upload`, which takes the next free one.
            bump: which part of the highest label grows: "major", "minor" or "patch".
            metadata: JSON values to attach.
            allow_empty: make a version even if nothing changed.

        Raises:
            InvalidInput: nothing changed, or the label or the metadata cannot be used.
        """
        if bump not in ("major", "minor", "patch"):
            raise InvalidInput(f"'{bump}' is no part of a label.", hint="choose major, minor or patch")
        values = {
            "message": message,
            "author": author(),
            "created": datetime.now(UTC).isoformat(),
            "metadata": dict(metadata or {}),
            "write_id": os.urandom(16).hex(),
        }
        self._record(values).encode()  # refuses what no record can hold, before anything is fixed
        self.seal(values, label=label, bump=bump, allow_empty=allow_empty)
        version = self.version()
        if wanted():
            from dataver.lineage.recorder import note_output

            record = self._record(self._state.sealed or values)
            note_output(self._repository, record, version.record_id, how="finalize")
        return version

    def portability(self) -> list[tuple[str, str]]:
        """Return `(path, why)` of names this draft adds that some file systems cannot hold.

        Looks at the folders that gained a name, not at the whole version.
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

    def upload(self, progress: Progress = SILENT) -> UploadReport:
        """Publish the sealed version; everyone sees it whole or not at all. Repeating it is safe.

        Raises:
            InvalidInput: the draft is not finalized.
            Conflict: the label the user chose was taken meanwhile.
            StoreError: the store failed; call again to continue.
        """
        return self.version().upload(progress)

    # what a one-step `sync` left behind, and the next one takes up (`dataver._one_step` holds the locks)

    def mark(self, mirrors: str) -> None:
        """Note what a one-step `sync` makes this draft mirror."""
        self._state.mirrors = mirrors
        save_state(self._folder, self._state)

    def would_be(self, record: Record) -> bool:
        """Tell whether a published record is this draft's: it was created, but nobody heard of it."""
        return self._state.sealed is not None and self._state.sealed["write_id"] == record.write_id

    def is_child_of(self, parents: Sequence[Published]) -> bool:
        """Tell whether it started from exactly these versions."""
        return [each["record"] for each in self._state.parents] == [each.record_id for each in parents]

    def reopen(self, spool: int) -> None:
        """Let a sealed draft change again; sealed with the same content and words, it is the same again."""
        with self._locked():
            self._state.status, self._state.spool = "open", spool
            save_state(self._folder, self._state)

    def was_published(self, published: Published) -> None:
        """Let go of a draft whose record is there."""
        with self._locked():
            self._published(published, [bytes.fromhex(path.name) for path in spooled(self.spool)])
        self.forget()

    def take_packs(self, other: "Draft") -> None:
        """Take over the packs of a draft that nobody will go on with, and discard that."""
        for path in spooled(other.spool):
            path.replace(self.spool / path.name)
        other.discard()

    def plan_upload(self) -> "UploadPlan":
        """Return what `upload` would send, and how long that takes where it is known; sends nothing.

        A draft that is not finalized is planned as it is now.
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

    def _send(self, progress: Progress) -> Sent:
        with self._locked():
            state = self._state

            def remember(label: str) -> None:
                state.attempted = label
                save_state(self._folder, state)

            sent = upload_draft(
                self,
                self._repository,
                self._record(state.sealed or {}),
                label=state.label,
                bump=state.bump,
                attempted=state.attempted,
                on_attempt=remember,
                progress=progress,
            )
            self._published(sent.published, sent.packs)
        return sent
