"""A draft: a version being built, local and mutable.

The idea: a draft *is* a tree. Every command edits the tree and leaves new blocks in the draft's log and new
packs in its spool; the state file then names the new tree. So `status` is a tree diff, `finalize` needs no
further work, and a crash between any two steps leaves the tree of the last finished command.

Write order within a command (invariants 4 and 6): packs, then blocks, then `draft.json`; each forced to the
disk before the next. One command at a time holds the draft's lock; others wait.
"""

import os
import shutil
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from dataver.errors import Conflict, InvalidInput, NotFound, StoreError
from dataver.formats.block import Inner, Leaf
from dataver.formats.entry import Entry, check_path
from dataver.formats.names import check_dataset_name, check_label
from dataver.ingest.block_log import BlockLog
from dataver.ingest.draft_state import (
    DraftState,
    draft_folder,
    kept_in,
    load_state,
    make_draft_folder,
    save_state,
    sealed_alike,
    set_current,
)
from dataver.ingest.parents import merge_parents
from dataver.ingest.scan import Scan, scan
from dataver.ingest.session import Session, draft_session, open_index
from dataver.ingest.streaming import SPOOL, PackSender, check_spool
from dataver.ingest.taking import AddReport, Taking
from dataver.progress import SILENT, Progress
from dataver.repository import Published, Repository
from dataver.repository.places import FOLDER
from dataver.tree import Change, Selection, Tree, diff, edit

__all__ = ["DraftCore"]

_LOCK_WAIT = 600.0  # seconds a command waits for another one on the same draft
_KEPT = 32  # parsed blocks of the draft's own kept in memory


class DraftCore:
    """One draft in a workspace. The public `dataver.Draft` adds finalizing into a `Version`."""

    def __init__(self, repository: Repository, workspace: Path, state: DraftState) -> None:
        self._repository = repository
        self._state = state
        self.workspace = workspace
        self._folder = draft_folder(workspace, state.id)
        self._log = BlockLog(self._folder / "blocks")
        self._parsed: OrderedDict[bytes, Leaf | Inner] = OrderedDict()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.dataset!r}, id={self.id!r}, {self._state.status})"

    @property
    def id(self) -> str:
        """The draft's id, 12 hex characters."""
        return self._state.id

    @property
    def dataset(self) -> str:
        """The dataset this will be a version of."""
        return self._state.dataset

    @property
    def status_name(self) -> str:
        """`open`, `sealed` or `uploaded`."""
        return self._state.status

    @property
    def sealed(self) -> bool:
        """Whether it was finalized."""
        return self._state.status != "open"

    @property
    def parents(self) -> list[str]:
        """The versions it started from, as `dataset@label`."""
        return [f"{each['dataset']}@{each['label']}" for each in self._state.parents]

    @property
    def conflicts(self) -> list[str]:
        """Paths that its parents disagreed about; the later parent's content was taken."""
        return list(self._state.conflicts)

    @property
    def created(self) -> datetime:
        """When it was made."""
        return datetime.fromisoformat(self._state.created)

    @property
    def changed(self) -> bool:
        """Whether its content differs from what it started from."""
        return self._state.tree != self._state.base

    @property
    def tree(self) -> Tree:
        """The tree as it stands."""
        return Tree(bytes.fromhex(self._state.tree), self._load)

    @property
    def spool(self) -> Path:
        """The folder of the draft's packs."""
        return self._folder / "packs"

    # making and finding

    @classmethod
    def start(
        cls,
        repository: Repository,
        url: str,
        workspace: Path,
        dataset: str,
        parents: Sequence[Published],
        *,
        current: bool = True,
        spool: int = 0,
        mirrors: str | None = None,
    ) -> Self:
        """Make a draft, and unless `current` is off make it the workspace's current one.

        `spool` and `mirrors` are those of `DraftState`.
        """
        check_dataset_name(dataset)
        state = DraftState(
            id=os.urandom(6).hex(),
            repository=url,
            repository_id=repository.id,
            dataset=dataset,
            base="",
            tree="",
            created=datetime.now(UTC).isoformat(),
            parents=[
                {
                    "dataset": each.record.dataset,
                    "label": each.record.label,
                    "record": each.record_id,
                    "tree": each.record.tree.hex(),
                }
                for each in parents
            ],
            spool=check_spool(spool) if spool else 0,
            mirrors=mirrors,
        )
        folder = draft_folder(workspace, state.id)
        make_draft_folder(workspace, folder)
        try:
            with kept_in(folder):
                draft = cls(repository, workspace, state)
                root, conflicts = merge_parents(
                    repository, parents, draft._load, draft._log.add, draft._is_published
                )
                draft._log.commit()
                state.base = state.tree = root.hex()
                state.conflicts = conflicts
                save_state(folder, state)
                if current:
                    set_current(workspace, state.id)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return draft

    @classmethod
    def load(cls, repository: Repository, workspace: Path, draft_id: str) -> Self:
        """Open a draft of this workspace.

        Raises:
            NotFound: there is no such draft.
            InvalidInput: it belongs to another repository.
        """
        state = load_state(draft_folder(workspace, draft_id))
        if state.repository_id != repository.id:
            raise InvalidInput(
                f"draft {draft_id} belongs to the repository {state.repository}, not to {repository.url}.",
                hint=f"add --repo {state.repository}",
            )
        return cls(repository, workspace, state)

    # changing

    def stream(self, spool: int = SPOOL) -> None:
        """Send packs from now on while more is added, and keep no copy of what was sent.

        Args:
            spool: bytes of packs that may wait on this machine; who adds faster than the network waits.

        Raises:
            InvalidInput: it is too small.
            Conflict: another command holds the draft, or it was finalized.
        """
        check_spool(spool)
        with self._changing():
            self._state.spool = spool
            self._commit()

    def add(
        self,
        *sources: str | Path,
        dest: str = "",
        exclude: Sequence[str] = (),
        include: Sequence[str] = (),
        follow_links: bool = False,
        progress: Progress = SILENT,
    ) -> AddReport:
        """Add files and the contents of folders; what they hold now is safe when this returns (invariant 6).

        Args:
            sources: files and folders. A folder's contents go below `dest`, a file goes into it.
            dest: folder inside the version; "" is its root.
            exclude: gitignore patterns to leave out.
            include: gitignore patterns; when given, only files that match are added.
            follow_links: store what symlinks point to.
            progress: told of files and bytes as they are done.

        Raises:
            PathNotFound: a source does not exist; nothing of it was added.
            Conflict: another command holds the draft, or it was finalized.
        """
        how = Scan(dest, exclude, include, follow_links)
        return self._take(sources, how, progress, mirror=False)

    def sync(
        self,
        folder: str | Path,
        dest: str = "",
        *,
        exclude: Sequence[str] = (),
        include: Sequence[str] = (),
        follow_links: bool = False,
        progress: Progress = SILENT,
    ) -> AddReport:
        """Make `dest` mirror a folder: add what is there, remove what is not. Arguments as for `add`."""
        if not Path(folder).is_dir():
            raise InvalidInput(
                f"{folder} is not a folder, and only a folder can be mirrored.", hint="use add"
            )
        how = Scan(dest, exclude, include, follow_links)
        return self._take((folder,), how, progress, mirror=True)

    def remove(self, *patterns: str) -> list[str]:
        """Take out every path that matches a pattern; return them.

        Raises:
            NotFound: nothing matches one of the patterns; nothing was removed.
        """
        selections = [Selection([pattern]) for pattern in patterns]
        with self._changing():
            gone: set[str] = set()
            for pattern, selection in zip(patterns, selections, strict=True):
                found = [path for path in self.tree.paths(selection.prefix()) if selection.matches(path)]
                if not found:
                    raise NotFound(
                        f"nothing in the draft matches '{pattern}'.",
                        hint="`dataver ls --draft` lists its files",
                    )
                gone.update(found)
            self._edit(dict.fromkeys(gone))
            self._commit()
        return sorted(gone)

    def move(self, source: str, target: str) -> int:
        """Rename a file or a folder inside the draft; return how many paths moved.

        Raises:
            NotFound: there is no such path.
            InvalidInput: the target is taken, or lies inside the source.
        """
        source, target = source.strip("/"), target.strip("/")
        check_path(target)
        if (target + "/").startswith(source + "/"):
            raise InvalidInput(f"'{source}' cannot move into itself ('{target}').")
        with self._changing():
            tree = self.tree
            single = tree.get(source)
            moved = [single] if single else list(tree.iterate(source + "/"))
            if not moved:
                raise NotFound(f"the draft has no '{source}'.", hint="`dataver ls --draft` lists its files")
            changes: dict[str, Entry | None] = {entry.path: None for entry in moved}
            for entry in moved:
                path = target + entry.path[len(source) :]
                if tree.get(path) is not None or next(tree.iterate(path + "/"), None) is not None:
                    raise InvalidInput(f"the draft has '{path}' already.", hint="remove it first")
                changes[path] = entry._replace(path=path)
            self._edit(changes)
            self._commit()
        return len(moved)

    def changes(self) -> Iterator[Change]:
        """Yield what this draft changes against its parents."""
        return diff(bytes.fromhex(self._state.base), bytes.fromhex(self._state.tree), self._load)

    def discard(self) -> None:
        """Delete the draft and everything only it has."""
        with self._locked():
            index = open_index(self._repository, self.id)
            index.disown()
            index.close()
        self._drop()

    def forget(self) -> None:
        """Remove what is left of an uploaded draft."""
        if self._state.status == "uploaded":
            self._drop()

    def seal(self, sealed: dict[str, Any], *, label: str | None, bump: str, allow_empty: bool) -> None:
        """Fix the draft's content and what its record will say.

        Repeating it changes nothing but the label, where another one is given: should the first be taken by
        then, the draft is not lost.

        Raises:
            InvalidInput: nothing changed, or the label cannot be one.
        """
        if label is not None:
            check_label(label)
        with self._locked():
            self._state = load_state(self._folder)
            state = self._state
            if state.status == "sealed" and label not in (None, state.label):
                state.label = label
                save_state(self._folder, state)
            if state.status != "open":
                return
            if state.sealed and sealed_alike(
                state, sealed, label, bump
            ):  # it was reopened, and nothing is new
                state.status = "sealed"
                save_state(self._folder, state)
                return
            if state.tree == state.base and not allow_empty:
                since = f" since {', '.join(self.parents)}" if self.parents else ""
                raise InvalidInput(
                    f"draft {self.id} of {self.dataset} changes nothing{since}.",
                    hint="add something, or finalize with --allow-empty",
                )
            state.sealed = {**sealed, "tree": state.tree}
            state.label, state.bump, state.status, state.attempted = label, bump, "sealed", None
            save_state(self._folder, state)

    def _published(self, published: Published, packs: Iterable[bytes]) -> None:
        """Note that the version is published, and let go of what the repository holds now."""
        index = open_index(self._repository, self.id)
        index.publish(packs)
        index.disown()
        index.close()
        self._state.status, self._state.published = "uploaded", published.record.label
        save_state(self._folder, self._state)
        shutil.rmtree(self.spool, ignore_errors=True)
        (self._folder / "blocks").unlink(missing_ok=True)

    # inside

    def _take(
        self, sources: Sequence[str | Path], how: Scan, progress: Progress, *, mirror: bool
    ) -> AddReport:
        began = time.perf_counter()
        for source in sources:
            if not os.path.lexists(source):
                next(scan(source, how), None)  # raises its error before anything is changed
        with self._changing(), self._session() as (packs, known, sender):
            taking = Taking(
                how,
                repository=self._repository,
                tree=lambda: self.tree,
                edit=self._edit,
                session=packs,
                known=known,
                mirror=mirror,
                progress=progress,
            )
            for source in sources:
                taking.take(source)
            taking.remove_unseen()
            if sender is not None and self._state.mirrors is not None:
                sender.leave_the_rest()  # `upload` follows at once and asks for the last ones only once
            packs.close()
            self._commit()
            if sender is not None:
                self._finish_sending(sender)
        report = taking.report
        report.stored = packs.stored
        if sender is not None:
            report.sent_packs, report.sent_size = sender.packs, sender.size
        report.ignored, report.problems = how.ignored, how.problems
        report.seconds = time.perf_counter() - began
        return report

    def _session(self) -> AbstractContextManager[Session]:
        return draft_session(self._repository, self._folder, self.id, self._state.spool)

    def _finish_sending(self, sender: PackSender) -> None:
        try:
            sender.finish()
        except StoreError as error:
            if self._state.mirrors is not None:
                raise
            raise StoreError(
                f"all of it was added to draft {self.id}, but not sent: {error.message}",
                hint="what is left is safe in the draft, and `dataver upload` sends it",
                transient=error.transient,
            ) from error

    def _edit(self, changes: dict[str, Entry | None]) -> None:
        root = bytes.fromhex(self._state.tree)
        ordered = sorted(changes.items())
        new = edit(root, ordered, self._load, self._log.add, self._is_published)
        self._state.tree = new.digest.hex()

    def _is_published(self, digest: bytes) -> bool:
        return digest not in self._log

    def _commit(self) -> None:
        self._log.commit()
        save_state(self._folder, self._state)

    def _load(self, digest: bytes) -> Leaf | Inner:
        if digest not in self._log:
            return self._repository.blocks.load(digest)
        block = self._parsed.get(digest)
        if block is None:
            block = self._parsed[digest] = self._log.load(digest, self._repository.blocks.object)
            while len(self._parsed) > _KEPT:
                self._parsed.popitem(last=False)
        else:
            self._parsed.move_to_end(digest)
        return block

    def block_object(self, digest: bytes) -> bytes:
        """Return the object of a block, from the draft or the repository."""
        return self._log.object(digest) if digest in self._log else self._repository.blocks.object(digest)

    def has_block(self, digest: bytes) -> bool:
        """Whether the draft itself holds a block (else the repository does)."""
        return digest in self._log

    def load_block(self, digest: bytes) -> Leaf | Inner:
        """Return a block, from the draft or the repository."""
        return self._load(digest)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Hold the draft's lock, with its state read anew; on failure the state in memory goes back too."""
        with self._locked():
            self._state = load_state(self._folder)
            self._log = BlockLog(self._folder / "blocks")
            self._parsed.clear()
            if self._state.status != "open":
                raise Conflict(
                    f"draft {self.id} of {self.dataset} was finalized and cannot change.",
                    hint="upload it, or start the next version with `dataver create`",
                )
            try:
                yield
            except BaseException:
                self._state = load_state(self._folder)
                raise

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = FileLock(self._folder / "lock", timeout=_LOCK_WAIT)
        with kept_in(self._folder):
            try:
                lock.acquire()
            except Timeout as error:
                raise Conflict(
                    f"draft {self.id} is being changed by another command.", hint="try again"
                ) from error
            try:
                yield
            finally:
                lock.release()

    def _drop(self) -> None:
        """Remove the draft's folder; `draft.json` goes first, so that a crash leaves no half draft."""
        (self._folder / "draft.json").unlink(missing_ok=True)
        shutil.rmtree(self._folder, ignore_errors=True)
        current = self.workspace / FOLDER / "current"
        if current.is_file() and current.read_text("ascii", "replace").strip() == self.id:
            set_current(self.workspace, None)
