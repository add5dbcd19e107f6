"""A draft: a version under construction, local and mutable.

The idea: a draft *is* a tree. Every command edits the tree and adds new blocks to the draft's log and new
packs to its spool; the state file then names the new tree. So `status` is a tree diff, `finalize` needs no
further work, and a crash between any two steps leaves the tree of the last finished command.

Write order within a command (invariants 4 and 6): packs, then blocks, then `draft.json`; each synced before
the next. One command at a time holds the draft's lock; others wait.
"""

import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

from dataver.errors import Conflict, InvalidInput, NotFound, StoreError
from dataver.formats.entry import Entry, check_path
from dataver.formats.names import check_dataset_name, check_label
from dataver.formats.record import ParentRef
from dataver.ingest.add_operation import AddOperation, AddReport
from dataver.ingest.add_plan import AddPlan, plan_add
from dataver.ingest.current_draft import set_current
from dataver.ingest.draft_place import belongs, follow
from dataver.ingest.draft_state import (
    DraftState,
    draft_folder,
    kept_in,
    load_state,
    make_draft_folder,
    save_state,
    sealed_alike,
)
from dataver.ingest.local_draft import LocalDraft
from dataver.ingest.pack_uploader import SPOOL, PackSender, check_spool
from dataver.ingest.parents import merge_onto, merge_parents, mirror_changes, parents_onto
from dataver.ingest.scan import Scan, ScanOptions, require_folder, require_sources, scan
from dataver.ingest.session import DraftSession, draft_session, open_index
from dataver.progress import SILENT, Progress
from dataver.repository import Published, RepositoryCore
from dataver.tree import Change, Selection, diff, path_of, walk

if TYPE_CHECKING:
    from dataver.ingest.external import ExternalPlan, ExternalReport

__all__ = ["DraftCore"]


class DraftCore(LocalDraft):
    """One draft in a workspace. The public `dataver.Draft` adds finalizing into a `Version`."""

    # making and finding

    @classmethod
    def start(
        cls,
        repository: RepositoryCore,
        url: str,
        workspace: Path,
        dataset: str,
        parents: Sequence[Published],
        *,
        current: bool = True,
        folder: Path | None = None,
        spool: int = 0,
        mirrors: str | None = None,
    ) -> Self:
        """Create a draft, and with `current` make it the current one of a folder of the workspace.

        `folder` None means the workspace's top folder. `spool` and `mirrors` as in `DraftState`.
        """
        check_dataset_name(dataset)
        state = DraftState(
            id=os.urandom(6).hex(),
            repository=url,
            repository_id=repository.id,
            location=repository.store.location,
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
        home = draft_folder(workspace, state.id)
        make_draft_folder(workspace, home)
        try:
            with kept_in(home):
                draft = cls(repository, workspace, state)
                root, conflicts = merge_parents(
                    repository, parents, draft._load, draft._log.add, draft._is_published
                )
                draft._log.commit()
                state.base = state.tree = root.hex()
                state.conflicts = conflicts
                save_state(home, state)
                if current:
                    set_current(workspace, state.id, folder)
        except BaseException:
            shutil.rmtree(home, ignore_errors=True)
            raise
        return draft

    @classmethod
    def load(cls, repository: RepositoryCore, workspace: Path, draft_id: str) -> Self:
        """Open a draft of this workspace.

        Raises:
            NotFound: there is no such draft.
            InvalidInput: it belongs to another repository, or to another copy of this one.
        """
        state = load_state(draft_folder(workspace, draft_id))
        if not belongs(state, repository):
            raise InvalidInput(
                f"draft {draft_id} belongs to the repository {state.repository}, not to {repository.url}.",
                hint=f"add --repo {state.repository}",
            )
        return cls(repository, workspace, follow(state, repository, workspace))

    # changing

    def stream(self, spool: int = SPOOL) -> None:
        """Upload packs from now on while files are added, and keep no copy of sent packs.

        Args:
            spool: the limit of bytes of unsent packs; adding waits for the network when it is reached.

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
        checksum: bool = False,
        default_ignore: bool = True,
        progress: Progress = SILENT,
    ) -> AddReport:
        """Add files and the contents of folders; their bytes are durable when this returns (invariant 6).

        Args:
            sources: files and folders. A folder's contents go below `dest`, a file goes into it.
            dest: folder inside the version; "" is its root.
            exclude: gitignore patterns to leave out.
            include: gitignore patterns; when given, only matching files are added. Each must match a file.
            follow_links: store the targets of symbolic links.
            checksum: read every file, also those with unchanged size and times.
            default_ignore: leave out `.dvc`, `__pycache__`, `.ipynb_checkpoints` and `.DS_Store`, unless an
                ignore file re-includes them.
            progress: receives counts of files and bytes.

        Raises:
            PathNotFound: a source does not exist, or a pattern of `include` matches no file; nothing was
                added.
            Conflict: another command holds the draft, or it was finalized.
        """
        how = Scan(dest, exclude, include, follow_links, checksum, default_ignore)
        return self._add_sources(sources, how, progress, mirror=False)

    def plan_add(self, *sources: str | Path, **options: Unpack[ScanOptions]) -> AddPlan:
        """Return what `add` with these arguments would add and read; reads no content and changes nothing."""
        return plan_add(self._repository, self.tree, sources, Scan(**options))

    def plan_sync(
        self, folder: str | Path, *, allow_shrink: bool = False, **options: Unpack[ScanOptions]
    ) -> AddPlan:
        """Return what `sync` with these arguments would add, read and remove; changes nothing."""
        require_folder(folder)
        how = Scan(**options)
        return plan_add(self._repository, self.tree, (folder,), how, mirror=True, allow_shrink=allow_shrink)

    def add_external(
        self,
        *urls: str | Path,
        dest: str = "",
        exclude: Sequence[str] = (),
        include: Sequence[str] = (),
        progress: Progress = SILENT,
    ) -> "ExternalReport":
        """Record external files: each is read once, to be hashed, and none is copied.

        A fetch of the version reads them from their places and reports changed ones by name. Files that are
        recorded already and unchanged are not read again. This allows this machine to read the places; other
        machines must allow them first, unless they are in the repository's own bucket (`docs/stores.md`).

        Args:
            urls: folders, files, or URLs of prefixes and objects. What is below goes below `dest`.
            dest: folder inside the version; "" is its root.
            exclude: gitignore patterns to leave out.
            include: gitignore patterns; when given, only matching files are recorded. Each must match a file.
            progress: receives counts of files and bytes.

        Raises:
            PathNotFound: there is nothing at a URL, or a pattern of `include` matches no file; nothing was
                recorded.
            StoreError: a store refuses or cannot be reached; nothing was recorded.
            Conflict: another command holds the draft, or it was finalized.
        """
        from dataver.ingest.external import add_external

        with self._changing():
            report = add_external(
                self,
                self._repository,
                self._edit,
                urls,
                Scan(dest, exclude, include, default_ignore=False),
                progress,
            )
            self._commit()
        return report

    def plan_external(
        self, *urls: str | Path, dest: str = "", exclude: Sequence[str] = (), include: Sequence[str] = ()
    ) -> "ExternalPlan":
        """Return what `add_external` with these arguments would record and read; reads no file content."""
        from dataver.ingest.external import plan_external

        return plan_external(self, self._repository, urls, Scan(dest, exclude, include, default_ignore=False))

    def sync(
        self,
        folder: str | Path,
        dest: str = "",
        *,
        exclude: Sequence[str] = (),
        include: Sequence[str] = (),
        follow_links: bool = False,
        checksum: bool = False,
        default_ignore: bool = True,
        allow_shrink: bool = False,
        progress: Progress = SILENT,
    ) -> AddReport:
        """Make `dest` mirror a folder: add its files, remove all others. Other arguments as for `add`.

        Raises:
            InvalidInput: `folder` is not a folder, or would leave less than half of the files that `dest`
                holds and `allow_shrink` is not set. The draft is unchanged.
        """
        require_folder(folder)
        how = Scan(dest, exclude, include, follow_links, checksum, default_ignore)
        return self._add_sources((folder,), how, progress, mirror=True, allow_shrink=allow_shrink)

    def plan_remove(self, *patterns: str | os.PathLike[str]) -> list[str]:
        """Return every path that a pattern matches; changes nothing.

        Raises:
            PathNotFound: some patterns match nothing.
        """
        tree = self.tree
        selection = Selection.of(tree, patterns)
        selection.require(tree, where="the draft")
        return [leaf.paths[number] for leaf, numbers in selection.parts(tree) for number in numbers]

    def remove(self, *patterns: str | os.PathLike[str]) -> list[str]:
        """Remove every path that a pattern matches; return them.

        Raises:
            PathNotFound: some patterns match nothing; nothing was removed.
        """
        with self._changing():
            gone = self.plan_remove(*patterns)
            self._edit(dict.fromkeys(gone))
            self._commit()
        return gone

    def move(self, source: str | os.PathLike[str], target: str | os.PathLike[str]) -> int:
        """Rename a file or a folder inside the draft; return the number of moved paths.

        Raises:
            NotFound: the path does not exist.
            InvalidInput: the target exists, or is inside the source.
        """
        source, target = path_of(source), path_of(target)
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
                if tree.get(path) is not None or tree.is_folder(path):
                    raise InvalidInput(f"the draft has '{path}' already.", hint="remove it first")
                changes[path] = entry._replace(path=path)
            self._edit(changes)
            self._commit()
        return len(moved)

    def changes(self) -> Iterator[Change]:
        """Yield the changes of this draft against its parents."""
        return diff(bytes.fromhex(self._state.base), bytes.fromhex(self._state.tree), self._load)

    def discard(self) -> None:
        """Delete the draft and its unpublished data."""
        with self._locked():
            index = open_index(self._repository, self.id)
            index.disown()
            index.close()
        self._drop()

    def forget(self) -> None:
        """Remove the local files of an uploaded draft."""
        if self._state.status == "uploaded":
            self._drop()

    def seal(self, sealed: dict[str, Any], *, label: str | None, bump: str, allow_empty: bool) -> None:
        """Fix the draft's content and the fields of its record.

        Repeating it changes only the label, if another one is given: the first may be taken by then.

        Raises:
            InvalidInput: nothing changed, or the label is invalid.
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
            if state.sealed and sealed_alike(state, sealed, label, bump):  # it was reopened and is unchanged
                state.status = "sealed"
                save_state(self._folder, state)
                return
            if self._adds_nothing() and not allow_empty:
                since = f" since {', '.join(self.parents)}" if self.parents else ""
                raise InvalidInput(
                    f"draft {self.id} of {self.dataset} changes nothing{since}.",
                    hint="add something, or finalize with --allow-empty",
                )
            state.sealed = {**sealed, "tree": state.tree}
            state.label, state.bump, state.status, state.attempted = label, bump, "sealed", None
            save_state(self._folder, state)

    def merge_onto(self, latest: Published, *, keep: bool) -> None:
        """Apply this sealed draft's changes to the latest version, which becomes its parent.

        Raises:
            Conflict: both changed the same paths, and `keep` is off; or the draft changes nothing.
        """
        state = self._state
        if self._adds_nothing():
            raise Conflict(
                f"this draft changes nothing since {', '.join(self.parents)}, and {latest.ref} is the latest "
                "version now.",
                hint="--allow-fork publishes it beside that; to make the latest version like an older one, "
                "fetch that and `dataver sync` its folder",
            )
        old = [ParentRef(**each) for each in state.parents]
        parents, base = parents_onto(self._repository, old, latest)
        root = merge_onto(
            latest,
            bytes.fromhex(state.tree),
            base,
            self._load,
            self._log.add,
            self._is_published,
            keep=keep,
        )
        self._move_onto(latest, parents, root.hex())

    def mirror_onto(self, latest: Published, dest: str) -> None:
        """Apply this sealed draft's mirror to `dest` of the latest version; reads no file."""
        changes = mirror_changes(latest, self.tree, path_of(dest), self._load)
        parents = parents_onto(self._repository, [ParentRef(**each) for each in self._state.parents], latest)
        self._state.tree = latest.record.tree.hex()
        self._edit(changes)
        self._move_onto(latest, parents[0], self._state.tree)

    def _adds_nothing(self) -> bool:
        """Return whether nothing was edited and the merged parents equal the first one."""
        state = self._state
        return state.tree == state.base and all(parent["tree"] == state.tree for parent in state.parents[:1])

    def _move_onto(self, latest: Published, parents: Sequence[ParentRef], root: str) -> None:
        state = self._state
        state.parents = [asdict(each) for each in parents]
        state.base, state.tree = latest.record.tree.hex(), root
        state.sealed = {**(state.sealed or {}), "tree": root}
        self._commit()

    def _published(self, published: Published, packs: Iterable[bytes]) -> None:
        """Record that the version is published, and drop the data that the repository holds now."""
        index = open_index(self._repository, self.id)
        index.publish(packs)
        index.disown()
        index.close()
        self._state.status, self._state.published = "uploaded", published.record.label
        save_state(self._folder, self._state)
        shutil.rmtree(self.spool, ignore_errors=True)
        shutil.rmtree(self.external, ignore_errors=True)
        # the tree it started from may be unpublished: an empty one, or merged parents
        base = walk(
            [bytes.fromhex(self._state.base)],
            self._load,
            within=self._log.__contains__,
            on_error=lambda _digest, _error: None,
        )
        self._log.keep_only([block.digest for block in base])

    # inside

    def _add_sources(
        self,
        sources: Sequence[str | Path],
        how: Scan,
        progress: Progress,
        *,
        mirror: bool,
        allow_shrink: bool = True,
    ) -> AddReport:
        began = time.perf_counter()
        for source in sources:
            if not os.path.lexists(source):
                next(scan(source, how), None)  # raises its error before anything is changed
        require_sources(how, sources)
        with self._changing(), self._session() as (packs, known, sender):
            operation = AddOperation(
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
                operation.add(source)
            operation.remove_unseen(allow_shrink=allow_shrink)
            if sender is not None and self._state.mirrors is not None:
                sender.leave_the_rest()  # `upload` follows at once and sends the last ones itself
            packs.close()
            self._commit()
            if sender is not None:
                self._finish_sending(sender)
        report = operation.report
        report.stored = packs.stored
        if sender is not None:
            report.sent_packs, report.sent_size = sender.packs, sender.size
        report.ignored, report.problems = how.ignored, how.problems
        report.left_out = sorted(how.left_out)
        report.seconds = time.perf_counter() - began
        return report

    def _session(self) -> AbstractContextManager[DraftSession]:
        return draft_session(self._repository, self._folder, self.id, self._state.spool)

    def _finish_sending(self, sender: PackSender) -> None:
        try:
            sender.finish()
        except StoreError as error:
            if self._state.mirrors is not None:
                raise
            raise StoreError(
                f"everything was added to draft {self.id}, but not sent: {error.message}",
                hint="the rest is safe in the draft, and `dataver upload` sends it",
                transient=error.transient,
            ) from error
