"""The public repository: one method an operation on datasets, versions and drafts.

The class holds a `dataver.repository` core, and each method calls the module that does the work, which it
imports: commands that only read metadata start in two thirds of the time.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, overload

from dataver.api.author import author
from dataver.api.version import DatasetSummary, Diff, UploadReport, Version
from dataver.errors import InvalidInput
from dataver.formats.tag import TagMove
from dataver.machine.paths import absolute_url, workspace_of
from dataver.progress import SILENT, Progress
from dataver.progress_bar import receiver
from dataver.repository import Ref, RepositoryCore, ref_text
from dataver.repository.lines import latest_of_each
from dataver.tree.selection import Given, Selection

if TYPE_CHECKING:
    from dataver.api.draft import Draft
    from dataver.api.sync import SyncReport
    from dataver.api.transfer import End
    from dataver.checkout import FetchReport, RepositoryReport, VerifyReport
    from dataver.checkout.fetch_plan import FetchPlan
    from dataver.formats.tombstone import Tombstone
    from dataver.ingest.add_plan import AddPlan
    from dataver.ingest.scan import ScanOptions
    from dataver.lineage.lineage import Lineage
    from dataver.maintenance.delete import DeletePlan, DeleteRule
    from dataver.maintenance.gc import GcPlan, GcReport
    from dataver.maintenance.repack import RepackPlan, RepackReport
    from dataver.maintenance.usage import UsageReport
    from dataver.reading import Files
    from dataver.transfer import MoveReport

__all__ = ["Repository"]


class Repository:
    """A repository: a folder or a bucket prefix that holds datasets.

    Get one from `dataver.open` or `dataver.init`. Besides the errors that a method lists, each that uses the
    store raises `StoreError` if the store fails, and `IntegrityError` if bytes that it needs are damaged.

        repo = dataver.open("s3://ml-data/repo")
        for version in repo.versions("vision/cats"):
            print(version.ref, version.created, version.files)
    """

    def __init__(self, core: RepositoryCore, given_url: str) -> None:
        self._core = core
        self._given_url = given_url

    def __repr__(self) -> str:
        return f"Repository({self.url!r})"

    @property
    def url(self) -> str:
        """Its URL, without secrets."""
        return self._core.url

    @property
    def id(self) -> str:
        """Its random id, 32 hex characters; copies of a repository have the same."""
        return self._core.id

    @cached_property
    def lineage(self) -> "Lineage":
        """The runs that consumed and produced its versions."""
        from dataver.lineage.lineage import Lineage

        return Lineage(self._core)

    # drafts

    def create(
        self,
        name: str,
        *,
        parents: Ref | Sequence[Ref] = (),
        workspace: str | Path | None = None,
        stream: bool = False,
        spool: int | None = None,
    ) -> "Draft":
        """Start a draft, and make it the current one of this folder.

        Args:
            name: the dataset, such as `vision/cats`.
            parents: versions to start from; a later one takes precedence over an earlier one.
            workspace: the folder that keeps the draft in its `.dataver/`, and in which it is the current one;
                None means the nearest one upwards, else this folder.
            stream: upload packs while files are added and keep no copy of them, so that the data may exceed
                the disk; see `Draft.stream`.
            spool: with `stream`, the limit of bytes of packs in the local spool; None means 256 MB.

        Raises:
            NotFound: a parent does not exist.
            InvalidInput: the spool is too small, or the name differs from a dataset's only in case.
        """
        from dataver.api.draft import create_draft
        from dataver.ingest.pack_uploader import SPOOL

        size = (SPOOL if spool is None else spool) if stream else 0
        return create_draft(self._core, self._given_url, name, parents, workspace, spool=size)

    def draft(self, draft_id: str | None = None, *, workspace: str | Path | None = None) -> "Draft":
        """Return a draft of a workspace.

        Args:
            draft_id: its id, or an unambiguous prefix; None means the current draft.
            workspace: the folder whose `.dataver/` holds it, or one below; None means the current folder.

        Raises:
            NotFound: there is none.
            InvalidInput: the prefix is ambiguous, or the draft belongs to another repository.
        """
        from dataver.api.draft import open_draft

        return open_draft(self._core, draft_id, workspace)

    def drafts(self, workspace: str | Path | None = None) -> "list[Draft]":
        """Return the drafts of a workspace for this repository that are not uploaded, oldest first.

        Args:
            workspace: as for `draft`.
        """
        from dataver.api.draft import open_drafts

        return open_drafts(self._core, workspace)

    def sync(
        self,
        folder: str | Path,
        name: str,
        *,
        dest: str = "",
        message: str = "",
        label: str | None = None,
        bump: str = "patch",
        metadata: Mapping[str, Any] | None = None,
        author: str | None = None,
        created: datetime | None = None,
        exclude: Sequence[str] = (),
        include: Sequence[str] = (),
        follow_links: bool = False,
        checksum: bool = False,
        default_ignore: bool = True,
        allow_shrink: bool = False,
        allow_fork: bool = False,
        workspace: str | Path | None = None,
        spool: int | None = None,
        progress: Progress | bool = SILENT,
        sending: Progress = SILENT,
    ) -> "SyncReport":
        """Create and publish the next version of a dataset as a mirror of a folder, in one step.

        The latest version is the parent; without a change no version is made. If another version is published
        meanwhile, the folder, as it was read, is mirrored onto it: its changes elsewhere remain. With
        `allow_fork` a fork is published instead, and `latest` does not move.

        Unless the store is a local folder, packs are sent while the folder is read. A call that a failure of
        the store or network ended continues when repeated.

            report = repo.sync("photos/", "vision/cats", dest="train", message="July photos")
            print(report.version or "nothing had changed")

        Args:
            folder: the folder to mirror.
            name: the dataset; it need not exist.
            dest: folder inside the version; "" is its root.
            message: the description of the version.
            label: the label; None means the next free one.
            bump: the part of the highest label to increment: "major", "minor" or "patch".
            metadata: JSON values to attach.
            author: the author; None means `DATAVER_AUTHOR`, else the user's login name.
            created: the time of the version, for imported data, as for `Draft.finalize`; None means now.
            exclude: gitignore patterns to leave out.
            include: gitignore patterns; when given, only matching files are added. Each must match a file.
            follow_links: store the targets of symbolic links.
            checksum: read every file, also those with unchanged size and times.
            default_ignore: leave out clutter such as `__pycache__`, as `Draft.add` does.
            allow_shrink: publish also a version with less than half of the files.
            allow_fork: publish a fork if another version was published meanwhile.
            workspace: the folder that keeps the draft meanwhile, as for `create`.
            spool: the limit of bytes of unsent packs; None means 256 MB.
            progress: receives counts of files and bytes read; True shows a bar.
            sending: receives counts of packs sent.

        Raises:
            InvalidInput: the folder is empty or (without `allow_shrink`) leaves less than half of the files,
                it is not a folder, or the name, the label or the metadata is invalid.
            PathNotFound: a pattern of `include` matches no file.
            Conflict: the label is taken, or other processes keep publishing versions.
            StoreError: the store failed; repeating the call continues.
        """
        from dataver.api.draft import check_created
        from dataver.api.sync import SyncOperation

        if created is not None:  # before the folder is read
            there = self._core.records.labels(name)
            check_created(created, [self._core.resolve(name)] if there else ())
        home = workspace_of(workspace)
        step = SyncOperation(self._core, self._given_url, home, name, absolute_url(folder), dest, spool)
        with receiver(progress is True if sending is SILENT else sending, "Uploading") as shown:
            return step.run(
                lambda draft: draft.sync(
                    folder,
                    dest,
                    exclude=exclude,
                    include=include,
                    follow_links=follow_links,
                    checksum=checksum,
                    default_ignore=default_ignore,
                    allow_shrink=allow_shrink,
                    progress=progress,
                ),
                lambda draft: draft.finalize(
                    message,
                    label=label,
                    bump=bump,
                    metadata=metadata,
                    author=author,
                    created=created,
                    allow_empty=True,
                ),
                shown,
                allow_fork=allow_fork,
            )

    def plan_sync(
        self, folder: str | Path, name: str, *, allow_shrink: bool = False, **options: "Unpack[ScanOptions]"
    ) -> "AddPlan":
        """Return what `sync` with these arguments would add, read and remove; changes nothing.

        Args:
            folder: the folder to mirror.
            name: the dataset.
            allow_shrink: as for `sync`.
            options: `dest`, `exclude`, `include`, `follow_links`, `checksum` and `default_ignore` of `sync`.

        Raises:
            InvalidInput: `folder` is not a folder, or leaves too few files.
        """
        from dataver.api.sync import plan_sync

        return plan_sync(self._core, folder, name, options, allow_shrink=allow_shrink)

    # queries

    def datasets(self, prefix: str = "") -> list[DatasetSummary]:
        """Return the datasets whose name starts with `prefix`, by name."""
        found = self._core.records.datasets(prefix)
        newest = latest_of_each(self._core.records, found)
        return [
            DatasetSummary(name, len(labels), Version.of(self._core, newest[name]))
            for name, labels in found.items()
        ]

    def versions(self, name: str) -> list[Version]:
        """Return the versions of a dataset, oldest first.

        Raises:
            NotFound: the dataset does not exist.
        """
        if not self._core.records.labels(name):
            self._core.resolve(name)  # raises NotFound with similar names
        return [Version.of(self._core, published) for published in self._core.records.versions(name)]

    def version(self, ref: Ref) -> Version:
        """Return the version named `name`, `name@label`, `name@tag`, `name@latest` or `dv1:<prefix>`.

        Raises:
            NotFound: the version does not exist.
            InvalidInput: invalid reference, or an ambiguous digest.
        """
        return Version.of(self._core, self._core.resolve(ref))

    def files(self, ref: Ref, *, run: object = None) -> "Files":
        """Return the files of a version for reading on demand, without fetching them first.

        Args:
            ref: the version.
            run: the run to link the read files to, as for `fetch`; None means the current one.

        Raises:
            NotFound: the version does not exist.
            InvalidInput: `run` is invalid.
        """
        from dataver.reading import Files

        key = None
        if run is not None:
            from dataver.lineage.attribution.owner import key_of

            key, _ = key_of(run)
        return Files(self._core, self._core.resolve(ref), run=key)

    def diff(
        self, old: Ref, new: Ref | None = None, *, include: Given | None = None, exclude: Given = ()
    ) -> Diff:
        """Return the changes from one version to another, at a cost proportional to the difference.

        Args:
            old: the older version, or the only one.
            new: the newer version; None compares `old` with its first parent.
            include: as for `Version.diff`.
            exclude: as for `Version.diff`.

        Raises:
            NotFound: a version or the parent does not exist.
            PathNotFound: a pattern of `include` matches nothing.
        """
        other = None if new is None else self.version(new)
        return self.version(old).diff(other, include=include, exclude=exclude)

    def restore(
        self,
        ref: Ref,
        message: str = "",
        *,
        label: str | None = None,
        bump: str = "patch",
        metadata: Mapping[str, Any] | None = None,
    ) -> UploadReport:
        """Publish the content of an older version as the latest version of its dataset; transfer no data.

        The new version is a child of the latest one, and its message names the older one. If the latest
        version has that content already, no version is made (`UploadReport.already`).

        Args:
            ref: the older version.
            message: the description of the new version, to which the name of the older one is added.
            label: the label; None means the next free one.
            bump: the part of the highest label to increment: "major", "minor" or "patch".
            metadata: JSON values to attach; None means those of the older version.

        Raises:
            NotFound: the version does not exist.
            InvalidInput: the label or the metadata is invalid.
            Conflict: the label is taken.
        """
        return self.version(ref).restore(message, label=label, bump=bump, metadata=metadata)

    # tags

    def tag(self, ref: Ref, tag: str, *, forward: bool = False) -> Version:
        """Point a tag at a version; return the version that it points to.

        Args:
            ref: the version.
            tag: the tag.
            forward: do not move a tag that points to a descendant of this version, as `upload --tag`
                does: with concurrent writers, the newest version keeps it.

        Raises:
            NotFound: the version does not exist.
            InvalidInput: the tag is not a valid name, has the form of a label, or differs from another name
                only in case.
            Conflict: other writers keep moving the tag.
        """
        published = self._core.resolve(ref)
        move = self._core.tags.move(
            published, tag, author=author(), write_id=os.urandom(16).hex(), forward=forward
        )
        if move.label not in (None, published.record.label):
            published = self._core.records.get(published.record.dataset, str(move.label))
        return Version.of(self._core, published)

    def untag(self, name: str, tag: str) -> None:
        """Remove a tag; keep its history.

        Raises:
            NotFound: the tag does not exist.
        """
        self._core.tags.remove(name, tag, author=author(), write_id=os.urandom(16).hex())

    def tagged(self, name: str) -> dict[str, str]:
        """Return the tags of a dataset and the labels they point to; empty if there is no such dataset."""
        return {tag: move.label for tag, move in self._core.tags.current(name).items() if move.label}

    def tag_history(self, name: str, tag: str) -> list[TagMove]:
        """Return all moves of a tag, oldest first; empty if it never existed."""
        return self._core.tags.history(name, tag)

    # fetching

    def fetch(
        self,
        ref: Ref,
        *,
        dest: str | Path | None = None,
        paths: Given | Selection | None = None,
        exclude: Given = (),
        shard: "tuple[int | Iterable[int], int] | str | None" = None,
        verify: str = "stat",
        overwrite: bool = False,
        run: object = None,
        progress: Progress | bool = SILENT,
    ) -> "FetchReport":
        """Bring a version to this machine, verify every byte, and link it to the current run.

        Args:
            ref: the version.
            dest: the folder for a writable working copy; None returns a read-only view in the cache.
            paths: globs; only matching files are fetched.
            exclude: globs; matching files are not fetched, even if `paths` matches them.
            shard: `(rank, world)`: only that shard of the matching files; ranks start at 0. "rank" takes both
                from the launcher of this process (torchrun, Slurm, Open MPI), "node" the shards of all ranks
                of this machine. Without a launcher, that is everything.
            verify: how an existing folder is checked: "stat" or "full" (hashes every file).
            overwrite: replace files in `dest` that differ.
            run: the run to link it to: a key such as `mlflow:4f1c…`, a `dataver.Run`, or a tracker's own
                object; None means the current run (`dataver.run` describes how it is found).
            progress: receives counts of files and bytes; True shows a bar.

        Raises:
            NotFound: the version does not exist.
            PathNotFound: a pattern of `paths` matches nothing, or `exclude` matches all the rest.
            InvalidInput: `run`, `shard` or `verify` is invalid.
            Conflict: files in `dest` differ and `overwrite` is off; nothing was changed.
            IntegrityError: the repository holds damaged bytes; none of them was left under a file's name.
        """
        from dataver.api.fetching import fetch

        return fetch(
            self._core,
            ref,
            dest=dest,
            paths=paths,
            exclude=exclude,
            shard=shard,
            verify=verify,
            overwrite=overwrite,
            run=run,
            progress=progress,
        )

    def plan_fetch(
        self,
        ref: Ref,
        *,
        dest: str | Path | None = None,
        paths: Given | Selection | None = None,
        exclude: Given = (),
        shard: "tuple[int | Iterable[int], int] | str | None" = None,
        measure: bool = True,
    ) -> "FetchPlan":
        """Return what a fetch with these arguments would transfer; writes nothing and links no run.

        Args:
            ref: the version.
            dest: the folder for a working copy; None means the cache.
            paths: globs; only matching files.
            exclude: globs; no matching files.
            shard: as for `fetch`.
            measure: if no speed of this repository is recorded, read up to 8 MB of the data to measure it.

        Raises:
            NotFound: the version does not exist.
            PathNotFound: as for `fetch`.
            InvalidInput: `shard` is invalid.
        """
        from dataver.api.fetching import plan_fetch

        return plan_fetch(
            self._core, ref, dest=dest, paths=paths, exclude=exclude, shard=shard, measure=measure
        )

    def fetch_run(
        self, run: str, *, dest: str | Path | None = None, progress: Progress | bool = SILENT
    ) -> "dict[str, FetchReport]":
        """Fetch exactly the data that a run read: the same versions, and the same part of each.

        Args:
            run: a run's id in any system, or an unambiguous prefix (`Lineage.run`).
            dest: the folder for writable working copies, each in `name@label` if there are several; None
                returns read-only views in the cache.
            progress: receives counts of files and bytes; True shows a bar.

        Returns:
            One report per version, by `name@label`.

        Raises:
            NotFound: the run does not exist or read nothing, or a version was deleted.
            InvalidInput: several runs match.
            IntegrityError: a label names a different version from the one the run read.
        """
        from dataver.api.fetching import fetch_run

        return fetch_run(self._core, self.lineage, run, dest=dest, progress=progress)

    @overload
    def verify(
        self, ref: None = None, *, quick: bool = False, progress: Progress | bool = SILENT
    ) -> "RepositoryReport": ...

    @overload
    def verify(
        self, ref: Ref, *, quick: bool = False, progress: Progress | bool = SILENT
    ) -> "VerifyReport": ...

    def verify(
        self, ref: Ref | None = None, *, quick: bool = False, progress: Progress | bool = SILENT
    ) -> "VerifyReport":
        """Read a version, or without a name the whole repository, and compare all bytes with their digests.

        Args:
            ref: the version. None verifies every version of every dataset and every other object: tags,
                tombstones, lineage, and what no version needs; the result is a `RepositoryReport`.
            quick: compare checksums of stored bytes only, without decompressing them.
            progress: receives counts of files and bytes, and as `new` of stored bytes read; True shows a bar.

        Raises:
            NotFound: the version does not exist.
            StoreError: the store failed.
        """
        if ref is None:
            from dataver.api.maintenance import verify_everything

            with receiver(progress, "Verifying") as shown:
                return verify_everything(self._core, quick=quick, progress=shown)
        from dataver.checkout import verify_version

        found = self._core.resolve(ref)
        with receiver(progress, "Verifying") as shown:
            tree = found.record.tree
            return verify_version(self._core, tree, published=found, quick=quick, progress=shown)

    def verify_folder(
        self,
        ref: Ref,
        folder: str | Path,
        *,
        include: Given | None = None,
        exclude: Given = (),
        progress: Progress | bool = SILENT,
    ) -> "VerifyReport":
        """Compare a local folder with a version, file by file, by digest.

        Args:
            ref: the version.
            folder: the folder.
            include: globs; only matching files, as after `fetch` with `paths`. Other files are ignored.
            exclude: globs of files to leave out.
            progress: receives counts of files and bytes; True shows a bar.

        Raises:
            NotFound: the version does not exist.
            PathNotFound: `folder` is not a folder, or a pattern of `include` matches nothing.
        """
        from dataver.checkout import verify_folder

        tree = self._core.resolve(ref).record.tree
        selection = Selection.across([self._core.tree(tree)], include, exclude)
        with receiver(progress, "Verifying") as shown:
            return verify_folder(self._core, tree, Path(folder), selection=selection, progress=shown)

    # maintenance

    def plan_delete(
        self,
        ref: Ref | Sequence[Ref],
        *,
        entire_dataset: bool = False,
        keep_last: int | None = None,
        older_than: timedelta | None = None,
    ) -> "DeletePlan":
        """Return what `delete` would delete, with the tags, children and runs that depend on it.

        Arguments and errors as for `delete`.
        """
        from dataver.api.maintenance import plan_delete_with_runs

        rule = _delete_rule(keep_last, older_than)
        return plan_delete_with_runs(self._core, _ref_texts(ref), dataset=entire_dataset, rule=rule)

    def delete(
        self,
        ref: Ref | Sequence[Ref],
        *,
        entire_dataset: bool = False,
        keep_last: int | None = None,
        older_than: timedelta | None = None,
        force: bool = False,
        reason: str = "",
    ) -> "list[Tombstone]":
        """Delete versions: names at once, bytes when `gc` finds them unneeded.

        Children stay complete; lineage keeps its history. Labels are never used again.

        Args:
            ref: one version or several; with `entire_dataset`, `keep_last` or `older_than`, names of
                datasets.
            entire_dataset: delete all versions of the datasets.
            keep_last: delete all but this many of the newest versions. Like `older_than`, with which it can
                be combined, it never chooses the latest version or one that has a tag.
            older_than: delete the versions that are older than this, by the store's clock.
            force: also delete tagged versions that `ref` names; the tags are removed.
            reason: recorded in the tombstones.

        Raises:
            NotFound: there is no such version or dataset.
            InvalidInput: `keep_last` is less than 1.
            Conflict: a version has a tag, and `force` is off; nothing was deleted.
        """
        from dataver.maintenance.delete import execute_delete, plan_delete

        rule = _delete_rule(keep_last, older_than)
        plan = plan_delete(self._core, _ref_texts(ref), dataset=entire_dataset, rule=rule)
        return execute_delete(self._core, plan, author=author(), reason=reason, force=force and rule is None)

    def plan_gc(self, *, grace: timedelta | None = None) -> "GcPlan":
        """Return what `gc` would free; arguments and errors as for `gc`."""
        from dataver.api.maintenance import needs_of_drafts
        from dataver.machine.store_clock import GRACE
        from dataver.maintenance.gc import plan_gc

        packs, trees = needs_of_drafts(self._core)
        return plan_gc(self._core, grace=GRACE if grace is None else grace, packs=packs, trees=trees)

    def gc(
        self,
        *,
        grace: timedelta | None = None,
        delete_most: bool = False,
        progress: Progress | bool = SILENT,
    ) -> "GcReport":
        """Delete objects that no version needs; safe beside uploads, fetches and other `gc` calls.

        Args:
            grace: how long objects that were deleted, replaced or left by an interrupted upload are kept, by
                the store's clock; None means 14 days. With 0, running fetches of a deleted version fail.
            delete_most: delete even more than half of the repository's bytes, which otherwise is a Conflict.
            progress: receives counts of objects and bytes; True shows a bar.

        Raises:
            IntegrityError: a version, or a damaged block that an upload or draft needs, cannot be read; its
                needs are unknown, so nothing was deleted.
            Conflict: a repack is running, or more than half would be deleted.
            StoreError: the store failed; repeating the call continues.
        """
        from dataver.api.maintenance import needs_of_drafts
        from dataver.machine.store_clock import GRACE
        from dataver.maintenance.gc import execute_gc

        packs, trees = needs_of_drafts(self._core)
        keep = GRACE if grace is None else grace
        with receiver(progress, "Deleting") as shown:
            return execute_gc(
                self._core, grace=keep, packs=packs, trees=trees, delete_most=delete_most, progress=shown
            )

    def plan_repack(self, *, dead: float = 0.5) -> "RepackPlan":
        """Return which packs are mostly dead; arguments and errors as for `repack`."""
        from dataver.maintenance.repack import plan_repack

        return plan_repack(self._core, dead=dead)

    def repack(self, *, dead: float = 0.5, progress: Progress | bool = SILENT) -> "RepackReport":
        """Copy needed bytes out of packs that are mostly dead, so that `gc` can delete these.

        No digest changes, and readers are not interrupted.

        Args:
            dead: rewrite packs with at least this share, from 0 to 1, of dead bytes.
            progress: receives counts of packs and bytes; True shows a bar.

        Raises:
            Conflict: a gc or another repack is under way.
            IntegrityError: a pack or a block is damaged; versions are unchanged.
            StoreError: the store failed; repeating the call continues.
        """
        from dataver.maintenance.repack import execute_repack

        with receiver(progress, "Repacking") as shown:
            return execute_repack(self._core, dead=dead, progress=shown)

    def du(self, name: str | None = None) -> "UsageReport":
        """Return the size of versions and datasets, and what deleting each would free.

        Args:
            name: a dataset or a version; None reports on all.

        Raises:
            NotFound: the dataset or version does not exist.
            IntegrityError: a version cannot be read.
        """
        from dataver.maintenance.usage import usage

        if name is None:
            return usage(self._core)
        record = self._core.resolve(name).record
        return usage(self._core, record.dataset, record.label if "@" in name or ":" in name else None)

    # transfer

    def push(
        self,
        target: "End",
        refs: str | Sequence[str] = (),
        *,
        lineage: bool = True,
        verify: bool = False,
        storage_options: Mapping[str, Any] | None = None,
        progress: Progress | bool = SILENT,
    ) -> "MoveReport":
        """Copy versions, their tags and their lineage to another repository.

        Packs are copied unchanged, and objects that the target has are not sent; repeating it after an
        interruption sends the rest.

        Args:
            target: a repository or its URL.
            refs: datasets (`name`: every version and tag), versions (`name@label`, `dv1:<prefix>`) and tags
                (`name@tag`); without refs, everything.
            lineage: also copy the events of the runs that consumed or produced them.
            verify: read everything selected back from the target afterwards, and verify it.
            storage_options: passed to the target's store.
            progress: receives counts of packs and bytes; True shows a bar.

        Returns:
            The report. `problems` lists objects that could not be read, and versions whose label belongs
            to another version in the target; all others were copied.

        Raises:
            NotFound: a reference does not resolve, or there is no repository at `target`.
            InvalidInput: `target` is this repository.
            StoreError: the target failed, or this repository cannot be reached; repeating it continues.
        """
        from dataver.api.transfer import execute, open_end, plan

        made = plan(self._core, open_end(target, storage_options), refs, lineage=lineage)
        return execute(made, verify=verify, progress=progress)

    def pull(
        self,
        source: "End",
        refs: str | Sequence[str] = (),
        *,
        lineage: bool = True,
        verify: bool = False,
        storage_options: Mapping[str, Any] | None = None,
        progress: Progress | bool = SILENT,
    ) -> "MoveReport":
        """Copy versions, their tags and their lineage from another repository to this one.

        Result and errors as for `push`.

        Args:
            source: a repository or its URL.
            refs: datasets, versions and tags of `source`; without refs, everything.
            lineage: also copy the events of the runs that consumed or produced them.
            verify: read everything selected back afterwards, and verify it.
            storage_options: passed to the source's store.
            progress: receives counts of packs and bytes; True shows a bar.
        """
        from dataver.api.transfer import execute, open_end, plan

        made = plan(open_end(source, storage_options), self._core, refs, lineage=lineage)
        return execute(made, verify=verify, progress=progress)


def _ref_texts(ref: Ref | Sequence[Ref]) -> list[str]:
    if isinstance(ref, Sequence) and not isinstance(ref, str):
        return [ref_text(each) for each in ref]
    return [ref_text(ref)]


def _delete_rule(keep_last: int | None, older_than: timedelta | None) -> "DeleteRule | None":
    from dataver.maintenance.delete import DeleteRule

    if keep_last is not None and keep_last < 1:
        raise InvalidInput("at least the last version is kept.", hint="`entire_dataset` deletes all versions")
    given = keep_last is not None or older_than is not None
    return DeleteRule(keep_last or 0, older_than) if given else None
