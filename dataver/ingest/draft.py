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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from dataver._about import __version__
from dataver.arguments import check_range
from dataver.errors import Conflict, InvalidInput, NotFound, StoreError
from dataver.formats.entry import Entry, check_path
from dataver.formats.names import check_dataset_name, check_label
from dataver.formats.record import ParentRef, Record
from dataver.ingest.add_operation import AddOperation, AddReport, counted
from dataver.ingest.chunk_pipeline import Adder
from dataver.ingest.current_draft import set_current
from dataver.ingest.dedup import spooled
from dataver.ingest.draft_session import DraftSession, draft_session, open_index
from dataver.ingest.draft_state import (
    DraftState,
    belongs,
    draft_folder,
    follow,
    kept_in,
    load_state,
    make_draft_folder,
    save_state,
    sealed_alike,
)
from dataver.ingest.draft_store import DraftStore
from dataver.ingest.pack_uploader import PackSender, check_spool
from dataver.ingest.parents import merge_onto, merge_parents, mirror_changes, parents_onto
from dataver.ingest.process_count import processes_for
from dataver.ingest.scan import Scan, ScannedItem, SourceScan, require_sources, scan
from dataver.progress import Progress
from dataver.repository import Published, RepositoryCore
from dataver.repository.forks import end_fork
from dataver.tree import Change, Given, Selection, diff, path_of, walk

if TYPE_CHECKING:
    from dataver.ingest.add_processes import AddProcesses
    from dataver.ingest.external import ExternalReport

# Imports in functions: external files and worker processes are options of few adds.

__all__ = ["DraftCore"]

_TOGETHER = 50_000  # paths that are removed from the tree in one edit: bounds memory


class DraftCore(DraftStore):
    """The commands of one draft in a workspace; the public `dataver.Draft` holds one."""

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
                    repository, parents, draft.load_block, draft.log.add, draft.is_published
                )
                draft.log.commit()
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

    def note(self, notes: Mapping[str, Any]) -> None:
        """Replace the draft's notes (`DraftState.notes`)."""
        with self.locked():
            self.reload()
            self.state.notes = dict(notes)
            save_state(self.folder, self.state)

    def stream(self, spool: int) -> None:
        """Upload packs from now on while files are added; see `dataver.Draft.stream`."""
        check_spool(spool)
        with self.changing():
            self.state.spool = spool
            self.commit()

    def add(
        self,
        sources: Sequence[str | Path],
        how: Scan,
        progress: Progress,
        *,
        mirror: bool = False,
        allow_shrink: bool = True,
        workers: int | None = 1,
    ) -> AddReport:
        """Add sources, and with `mirror` remove all other files below `how.dest`.

        `workers` is the number of processes that read files, None the number that pays. Errors as for
        `dataver.Draft.add` and `dataver.Draft.sync`.
        """
        began = time.perf_counter()
        check_range("workers", workers, 1, 64)
        for source in sources:
            if not os.path.lexists(source):
                next(scan(source, how), None)  # raises its error before anything is changed
        require_sources(how, sources)
        with ExitStack() as stack:
            stack.enter_context(self.changing())
            scans = [SourceScan(source, how) for source in sources]
            adder, processes = self._adder(stack, scans, workers)
            stack.enter_context(counted(sources, how, progress))
            operation = stack.enter_context(self._adding(how, progress, mirror=mirror, adder=adder))
            operation.add(scans)
            operation.remove_unseen(allow_shrink=allow_shrink)
        report = operation.report
        if processes is not None:
            report.stored += processes.stored
            report.sent_packs += processes.sent_packs
            report.sent_size += processes.sent_size
        report.seconds = time.perf_counter() - began
        return report

    def add_items(self, items: Iterable[list[ScannedItem]], how: Scan, progress: Progress) -> AddReport:
        """Add items that the caller found, with any paths; reads every file. `how` collects problems."""
        with self.changing(), self._adding(how, progress) as operation:
            operation.add_found(None, items)
        return operation.report

    @contextmanager
    def _adding(
        self, how: Scan, progress: Progress, *, mirror: bool = False, adder: Callable[..., Adder] = Adder
    ) -> Iterator[AddOperation]:
        """An operation that adds to this locked draft; at its end the result is committed and sent."""
        with self._session() as (packs, known, sender):
            operation = AddOperation(
                how,
                repository=self.repository,
                tree=lambda: self.tree,
                edit=self.edit_tree,
                session=packs,
                known=known,
                mirror=mirror,
                progress=progress,
                hint=self.hint,
                adder=adder,
            )
            yield operation
            if sender is not None and self.state.mirrors is not None:
                sender.leave_the_rest()  # `upload` follows at once and sends the last ones itself
            packs.close()
            self.commit()
            if sender is not None:
                self._finish_sending(sender)
        report = operation.report
        report.stored = packs.stored
        if sender is not None:
            report.sent_packs, report.sent_size = sender.packs, sender.size
        report.ignored, report.problems = how.ignored, how.problems
        report.left_out = sorted(how.left_out)

    def edit(self, changes: dict[str, Entry | None]) -> None:
        """Change entries of the tree, by path, None to remove one; the data of entries is published."""
        with self.changing():
            self.edit_tree(changes)
            self.commit()

    def add_external(self, urls: Sequence[str | Path], how: Scan, progress: Progress) -> "ExternalReport":
        """Record external files; see `dataver.Draft.add_external`."""
        from dataver.ingest.external import add_external

        with self.changing():
            report = add_external(self, self.repository, self.edit_tree, urls, how, progress)
            self.commit()
        return report

    def plan_remove(self, *patterns: str | os.PathLike[str], exclude: Given = ()) -> list[str]:
        """Return every path that a pattern matches; see `dataver.Draft.plan_remove`."""
        tree = self.tree
        selection = Selection.of(tree, patterns, exclude)
        selection.require(tree, where="the draft")
        return [leaf.paths[number] for leaf, numbers in selection.parts(tree) for number in numbers]

    def remove(self, *patterns: str | os.PathLike[str], exclude: Given = ()) -> list[str]:
        """Remove every path that a pattern matches; see `dataver.Draft.remove`."""
        with self.changing():
            gone = self.plan_remove(*patterns, exclude=exclude)
            for start in range(0, len(gone), _TOGETHER):
                self.edit_tree(dict.fromkeys(gone[start : start + _TOGETHER]))
            self.commit()
        return gone

    def move(self, source: str | os.PathLike[str], target: str | os.PathLike[str]) -> int:
        """Rename a file or a folder; see `dataver.Draft.move`."""
        source, target = path_of(source), path_of(target)
        check_path(target)
        if (target + "/").startswith(source + "/"):
            raise InvalidInput(f"'{source}' cannot move into itself ('{target}').")
        with self.changing():
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
            self.edit_tree(changes)
            self.commit()
        return len(moved)

    def changes(self) -> Iterator[Change]:
        """Yield the changes of this draft against its parents."""
        return diff(bytes.fromhex(self.state.base), bytes.fromhex(self.state.tree), self.load_block)

    def discard(self) -> None:
        """Delete the draft and its unpublished data."""
        with self.locked():
            index = open_index(self.repository, self.id)
            index.disown()
            index.close()
            if self.state.forked:
                end_fork(self.repository.store, self.id)
        self.drop()

    def forget(self) -> None:
        """Remove the local files of an uploaded draft."""
        if self.state.status == "uploaded":
            self.drop()

    def seal(self, sealed: dict[str, Any], *, label: str | None, bump: str, allow_empty: bool) -> None:
        """Fix the draft's content and the fields of its record.

        Repeating it changes only the label, if another one is given: the first may be taken by then.

        Raises:
            InvalidInput: nothing changed, or the label is invalid.
        """
        if label is not None:
            check_label(label)
        with self.locked():
            self.reload()
            state = self.state
            if state.status == "sealed" and label not in (None, state.label):
                state.label = label
                save_state(self.folder, state)
            if state.status != "open":
                return
            if state.sealed and sealed_alike(state, sealed, label, bump):  # it was reopened and is unchanged
                state.status = "sealed"
                save_state(self.folder, state)
                return
            if self._adds_nothing() and not allow_empty:
                since = f" since {', '.join(self.parents)}" if self.parents else ""
                raise InvalidInput(
                    f"draft {self.id} of {self.dataset} changes nothing{since}.",
                    hint="add something, or finalize with --allow-empty",
                )
            state.sealed = {**sealed, "tree": state.tree}
            state.label, state.bump, state.status, state.attempted = label, bump, "sealed", None
            save_state(self.folder, state)

    def merge_onto(self, latest: Published, *, keep: bool) -> None:
        """Apply this sealed draft's changes to the latest version, which becomes its parent.

        Raises:
            Conflict: both changed the same paths, and `keep` is off; or the draft changes nothing.
        """
        state = self.state
        if self._adds_nothing():
            raise Conflict(
                f"this draft changes nothing since {', '.join(self.parents)}, and {latest.ref} is the latest "
                "version now.",
                hint="--allow-fork publishes it beside that; to make the latest version like an older one, "
                "fetch that and `dataver sync` its folder",
            )
        old = [ParentRef(**each) for each in state.parents]
        parents, base = parents_onto(self.repository, old, latest)
        root = merge_onto(
            latest,
            bytes.fromhex(state.tree),
            base,
            self.load_block,
            self.log.add,
            self.is_published,
            keep=keep,
        )
        self._move_onto(latest, parents, root.hex())

    def mirror_onto(self, latest: Published, dest: str) -> None:
        """Apply this sealed draft's mirror to `dest` of the latest version; reads no file."""
        changes = mirror_changes(latest, self.tree, path_of(dest), self.load_block)
        parents = parents_onto(self.repository, [ParentRef(**each) for each in self.state.parents], latest)
        self.state.tree = latest.record.tree.hex()
        self.edit_tree(changes)
        self._move_onto(latest, parents[0], self.state.tree)

    def _adds_nothing(self) -> bool:
        """Return whether nothing was edited and the merged parents equal the first one."""
        state = self.state
        return state.tree == state.base and all(parent["tree"] == state.tree for parent in state.parents[:1])

    def _move_onto(self, latest: Published, parents: Sequence[ParentRef], root: str) -> None:
        state = self.state
        state.parents = [asdict(each) for each in parents]
        state.base, state.tree = latest.record.tree.hex(), root
        state.sealed = {**(state.sealed or {}), "tree": root}
        self.commit()

    def mark_published(self, published: Published, packs: Iterable[bytes]) -> None:
        """Record that the version is published, and drop the data that the repository holds now."""
        index = open_index(self.repository, self.id)
        index.publish(packs)
        index.disown()
        index.close()
        self.state.status, self.state.published = "uploaded", published.record.label
        save_state(self.folder, self.state)
        if self.state.forked:
            end_fork(self.repository.store, self.id)
        shutil.rmtree(self.spool, ignore_errors=True)
        shutil.rmtree(self.external, ignore_errors=True)
        # the tree it started from may be unpublished: an empty one, or merged parents
        base = walk(
            [bytes.fromhex(self.state.base)],
            self.load_block,
            within=self.log.__contains__,
            on_error=lambda _digest, _error: None,
        )
        self.log.keep_only([block.digest for block in base])

    def record(self, sealed: Mapping[str, Any]) -> Record:
        """Return the record of a version with the draft's current content.

        Args:
            sealed: author, message, time, metadata and write id.
        """
        state, summary = self.state, self.tree.summary()
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

    # drafts of interrupted `sync` calls, which the next call resumes (`dataver.api.sync` holds the locks)

    def mark(self, mirrors: str) -> None:
        """Record the folder that a one-step `sync` mirrors into this draft."""
        self.state.mirrors = mirrors
        save_state(self.folder, self.state)

    def matches_record(self, record: Record) -> bool:
        """Return whether a published record is this draft's, created by a write whose reply was lost."""
        return self.state.sealed is not None and self.state.sealed["write_id"] == record.write_id

    def is_child_of(self, parents: Sequence[Published]) -> bool:
        """Return whether it started from exactly these versions."""
        return [each["record"] for each in self.state.parents] == [each.record_id for each in parents]

    def reopen(self, spool: int) -> None:
        """Unseal the draft; sealing it with the same content and metadata restores the same version."""
        with self.locked():
            self.reload()
            self.state.status, self.state.spool = "open", spool
            save_state(self.folder, self.state)

    def remove_published(self, published: Published) -> None:
        """Remove the draft, whose record is published."""
        with self.locked():
            self.reload()
            self.mark_published(published, [bytes.fromhex(path.name) for path in spooled(self.spool)])
        self.forget()

    def move_packs_from(self, other: "DraftCore") -> None:
        """Move the packs of an abandoned draft into this one, and discard that draft."""
        for path in spooled(other.spool):
            path.replace(self.spool / path.name)
        other.discard()

    # inside

    def _adder(
        self, stack: ExitStack, scans: Sequence[SourceScan], workers: int | None
    ) -> "tuple[Callable[..., Adder], AddProcesses | None]":
        """Return what makes an adder, and the processes that it uses, which the stack ends."""
        count = workers or (1 if self.state.spool else processes_for(scans, self.tree))
        if count == 1:
            return Adder, None
        from dataver.ingest.add_processes import AddProcesses, RemoteAdder

        processes = stack.enter_context(AddProcesses(self, count))
        return partial(RemoteAdder, processes), processes

    def _session(self) -> AbstractContextManager[DraftSession]:
        return draft_session(self.repository, self.folder, self.id, self.state.spool)

    def _finish_sending(self, sender: PackSender) -> None:
        try:
            sender.finish()
        except StoreError as error:
            if self.state.mirrors is not None:
                raise
            raise StoreError(
                f"everything was added to draft {self.id}, but not sent: {error.message}",
                hint="the rest is safe in the draft, and `dataver upload` sends it",
                transient=error.transient,
            ) from error
