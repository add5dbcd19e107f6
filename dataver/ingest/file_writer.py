"""Writing one file directly into a draft, without a copy on the disk or a working folder.

The idea: written bytes are cut, hashed and packed at once, as `add` does with bytes it reads. Packs are
written to the writer's own folder below the draft (`writing/<id>/`), so that several writers and commands can
work in parallel; only `close` takes the draft's lock, moves the packs into the draft's spool (a streamed
draft sends them meanwhile) and puts the entry into its tree.

Keeps invariants 4 (a crash leaves a folder whose lock is free, which the next writer removes, and an
unchanged draft) and 6 (packs, then blocks, then `draft.json`, each synced before `close` returns). Memory is
bounded by one window and the frames in flight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dataver.errors import AlreadyExists, Conflict, InvalidInput, StoreError
from dataver.formats.entry import Entry, Kind, check_path, same_content
from dataver.hashing import DIGEST_SIZE, new_hasher
from dataver.ingest.add_operation import changes_with
from dataver.ingest.cutting import CutBuffer, Cutter, File, LargeFile
from dataver.ingest.dedup import Placed, extents_of, place, spooled
from dataver.ingest.draft_session import DraftSession, draft_session
from dataver.ingest.draft_state import kept_in
from dataver.ingest.pack_uploader import note_sent, sent_before
from dataver.ingest.parent_chunks import Expected
from dataver.ingest.scan import Scan, ScannedItem
from dataver.ingest.stat_cache import FileStat
from dataver.machine.locked_folder import LockedFolder
from dataver.storage.durable import flush_folder

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from typing_extensions import Buffer

    from dataver.ingest.draft_store import DraftStore

__all__ = ["FileWriter"]

_WINDOW: Final = 1 << 20  # bytes gathered before they are cut
_FOLDER: Final = "writing"
_UNREAD: Final = FileStat(0, 0, 0, 0)


class FileWriter:
    """Sequential writer of one file into a draft. Use from one thread.

    End it with `close` or `discard`; the draft is unchanged until `close` has returned.

    Args:
        draft: the draft; it must be open when this is closed.
        path: the file's path in the version. An existing entry, except a folder, is replaced.
        executable: whether the file is executable; None keeps the existing kind.
        exclusive: refuse to replace an existing entry.
        based_on: the entry that must still exist at `close`, if the written bytes derive from it.

    Attributes:
        size: bytes written so far.
        done: counters of new chunks.

    Raises:
        InvalidInput: the path is invalid, or a folder of the draft.
        AlreadyExists: the path exists, and `exclusive` is on.
        Conflict: the draft was finalized.
    """

    def __init__(
        self,
        draft: DraftStore,
        path: str,
        *,
        executable: bool | None = None,
        exclusive: bool = False,
        based_on: Entry | None = None,
    ) -> None:
        check_path(path)
        self._draft, self._path = draft, path
        self._exclusive, self._based_on = exclusive, based_on
        if draft.state.status != "open":
            raise Conflict(
                f"draft {draft.id} of {draft.dataset} was finalized and cannot change.",
                hint="upload it, or start the next version with `dataver create`",
            )
        prior = draft.tree.get(path)
        self._check(prior)
        if executable is None:
            executable = prior is not None and prior.kind == Kind.EXECUTABLE
        kind = Kind.EXECUTABLE if executable else Kind.FILE
        params = draft.repository.config.chunking
        self._file = File(ScannedItem(path, path, kind, _UNREAD), _inside(draft.earlier(path)))
        self._hasher = new_hasher()
        self._cutter = Cutter(params)
        self._window = CutBuffer(max(_WINDOW, params.maximum), params)
        self._used = self._window.begin
        self._place: _Place | None = None
        self._large: LargeFile | None = None
        self.size = 0
        self.done = Placed()

    @property
    def folder(self) -> Path:
        """The draft's folder."""
        return self._draft.folder

    def write(self, data: Buffer) -> int:
        """Write bytes (copied at once); return their number.

        Raises:
            StoreError: the disk, or the store of a streamed draft, failed.
        """
        with memoryview(data).cast("B") as view:
            length, taken, room = len(view), 0, self._window.view
            while taken < length:
                count = min(length - taken, len(room) - self._used)
                room[self._used : self._used + count] = view[taken : taken + count]
                self._used += count
                taken += count
                if self._used == len(room):
                    self._cut(final=False)
        self.size += length
        return length

    def close(self) -> Entry:
        """Put the file into the draft; its bytes are durable when this returns (invariant 6).

        Raises:
            Conflict: the draft was finalized or is held by another command; nothing was changed.
            AlreadyExists: the path exists by now, and `exclusive` is on.
            StoreError: the disk failed and nothing was changed; or a streamed draft could not send: then the
                file is in the draft.
        """
        try:
            with kept_in(self._draft.folder):
                return self._finish()
        finally:
            self.discard()

    def discard(self) -> None:
        """Drop the written bytes; the draft is unchanged."""
        place, self._place = self._place, None
        if place is not None:
            place.end()

    def _finish(self) -> Entry:
        self._cut(final=True)
        self._file.digest = self._hasher.digest()
        session = self._begun().session
        problem: StoreError | None = None
        session.packs.close()
        if session.sender is not None:
            try:
                session.sender.finish()
            except StoreError as error:
                problem = error
        kind, size, digest = self._file.found.kind, self.size, self._file.digest
        extents = tuple(extents_of(self._file, session.packs))
        entry = Entry(self._path, kind, size, digest, "", extents)
        self._commit(entry)
        if problem is not None:
            raise StoreError(
                f"'{self._path}' is in draft {self._draft.id}, but was not sent: {problem.message}",
                hint="the rest is safe in the draft, and `dataver upload` sends it",
                transient=problem.transient,
            ) from problem
        return entry

    def _commit(self, entry: Entry) -> None:
        """Move the packs into the draft, and add the entry to its tree."""
        draft = self._draft
        with draft.changing():
            prior = draft.tree.get(self._path)
            self._check(prior)
            if self._based_on is not None and (prior is None or not same_content(prior, self._based_on)):
                raise Conflict(
                    f"'{self._path}' in draft {draft.id} was changed by another writer meanwhile.",
                    hint="open it again",
                )
            if (
                prior is not None
                and (prior.kind, prior.digest) == (entry.kind, entry.digest)
                and _inside(prior)
            ):
                return  # the entry exists already
            self._begun().hand_over(draft.folder)
            how = Scan()
            changes = changes_with(draft.tree, [entry], how)
            if how.problems:
                raise InvalidInput(f"'{self._path}' cannot be written: {how.problems[0][1]}.")
            draft.edit_tree(changes)
            draft.commit()

    def _check(self, prior: Entry | None) -> None:
        if self._draft.tree.is_folder(self._path) or (prior is not None and prior.kind == Kind.DIRECTORY):
            raise InvalidInput(
                f"'{self._path}' is a folder in the draft.", hint="remove it first, or choose another path"
            )
        if prior is not None and self._exclusive:
            raise AlreadyExists(
                f"the draft has '{self._path}' already.", hint="open it with 'wb' to replace it"
            )

    def _begun(self) -> _Place:
        """Return the writer's folder; created when the first window is full, or at the end."""
        if self._place is None:
            self._place = _Place(self._draft)
        return self._place

    def _cut(self, *, final: bool) -> None:
        with kept_in(self._draft.folder):
            session = self._begun().session
            if self._large is None:
                expected, prior = None, self._file.prior
                if prior is not None and prior.extents:
                    session.known.learn(extent.pack for extent in prior.extents)
                    expected = Expected(prior.extents, session.known.footer)
                self._large = LargeFile(self._file, expected)
            window = self._window
            count, self._used = self._used - window.begin, window.begin
            self._hasher.update(window.view[window.begin : window.begin + count])
            chunks = self._cutter.large(window, self._large, count, final=final)
            place(chunks, session.known, session.packs, self.done)


class _Place:
    """A writer's locked folder, and the tools that fill it."""

    def __init__(self, draft: DraftStore) -> None:
        with kept_in(draft.folder):
            self._locked = LockedFolder(draft.folder / _FOLDER)
        self.folder = self._locked.path
        self._ended = False
        self._tools: AbstractContextManager[DraftSession] = draft_session(
            draft.repository, self.folder, draft.id, draft.state.spool, beside=[draft.spool]
        )
        try:
            self.session = self._tools.__enter__()
        except BaseException:
            self._locked.remove()
            raise

    def hand_over(self, draft: Path) -> None:
        """Move unsent packs into the draft's spool, and sync its folder.

        A crash in between leaves unneeded packs there.
        """
        for pack_id in sent_before(self.folder):
            note_sent(draft, pack_id)
        moved = [path.replace(draft / "packs" / path.name) for path in spooled(self.folder / "packs")]
        if moved:
            flush_folder(draft / "packs")

    def end(self) -> None:
        """Close the tools and remove the folder."""
        if not self._ended:
            self._ended = True
            try:
                self._tools.__exit__(None, None, None)
            finally:
                self._locked.remove()


def _inside(entry: Entry | None) -> Entry | None:
    """Return an entry with bytes in packs of the repository or the draft, else None: others are not safe."""
    if entry is None or any(len(extent.pack) != DIGEST_SIZE for extent in entry.extents):
        return None
    return entry
