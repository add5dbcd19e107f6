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
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from dataver.errors import InvalidInput, NotFound, StoreError
from dataver.formats.entry import Entry, check_path
from dataver.formats.names import check_dataset_name, check_label
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
from dataver.ingest.local_draft import LocalDraft
from dataver.ingest.parents import merge_parents
from dataver.ingest.scan import Scan, scan
from dataver.ingest.session import Session, draft_session, open_index
from dataver.ingest.streaming import SPOOL, PackSender, check_spool
from dataver.ingest.taking import AddReport, Taking
from dataver.progress import SILENT, Progress
from dataver.repository import Published, Repository
from dataver.tree import Change, Selection, diff

if TYPE_CHECKING:
    from dataver.ingest.external import ExternalPlan, ExternalReport

__all__ = ["DraftCore"]


class DraftCore(LocalDraft):
    """One draft in a workspace. The public `dataver.Draft` adds finalizing into a `Version`."""

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

    def add_external(
        self,
        *urls: str | Path,
        dest: str = "",
        exclude: Sequence[str] = (),
        include: Sequence[str] = (),
        progress: Progress = SILENT,
    ) -> "ExternalReport":
        """Record files that stay where they are: each is read once, to be hashed, and none is copied.

        Whoever fetches the version reads them there, and is told by name what has changed. What is recorded
        already as it is now is not read again. This machine may read the places from then on; readers on
        others have to allow them first, unless they are in the repository's own bucket (`docs/stores.md`).

        Args:
            urls: folders, files, or URLs of prefixes and objects. What is below goes below `dest`.
            dest: folder inside the version; "" is its root.
            exclude: gitignore patterns to leave out.
            include: gitignore patterns; when given, only files that match are recorded.
            progress: told of files and bytes as they are done.

        Raises:
            PathNotFound: there is nothing at a URL; nothing was recorded.
            StoreError: a store refuses or cannot be reached; nothing was recorded.
            Conflict: another command holds the draft, or it was finalized.
        """
        from dataver.ingest.external import add_external

        with self._changing():
            report = add_external(
                self, self._repository, self._edit, urls, Scan(dest, exclude, include), progress
            )
            self._commit()
        return report

    def plan_external(
        self, *urls: str | Path, dest: str = "", exclude: Sequence[str] = (), include: Sequence[str] = ()
    ) -> "ExternalPlan":
        """Return what `add_external` with these arguments would record and read; reads no file's bytes."""
        from dataver.ingest.external import plan_external

        return plan_external(self, self._repository, urls, Scan(dest, exclude, include))

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
        shutil.rmtree(self.external, ignore_errors=True)
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
