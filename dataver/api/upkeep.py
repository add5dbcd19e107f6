"""The methods of `dataver.Repository` for what is published: tag, describe, verify, delete, free and copy.

Each calls the module that does the work, as in `dataver.api.repository`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, overload

from dataver.api.version import Version
from dataver.arguments import check_range
from dataver.errors import DataverError
from dataver.progress import SILENT, Progress, receiver
from dataver.repository import Ref, RepositoryCore, ref_text
from dataver.tree.selection import Given, Selection
from dataver.user import author

if TYPE_CHECKING:
    from dataver.api.describing import DescriptionFields
    from dataver.api.transfer import End
    from dataver.checkout import RepositoryReport, VerifyReport
    from dataver.formats.description import Description
    from dataver.formats.tag import TagMove
    from dataver.formats.tombstone import Tombstone
    from dataver.maintenance.delete import DeletePlan, DeleteRule, VersionDeletion
    from dataver.maintenance.gc import GcPlan, GcReport
    from dataver.maintenance.rename import RenamePlan
    from dataver.maintenance.repack import RepackPlan, RepackReport
    from dataver.maintenance.usage import UsageReport
    from dataver.transfer import MoveReport

# Imports in functions: each method needs another part of `maintenance`, `checkout` or `transfer`.

__all__ = ["Upkeep"]


class Upkeep:
    """Base class of `dataver.Repository`: the methods for what is published."""

    _core: RepositoryCore

    # tags

    def tag(
        self,
        ref: Ref,
        tag: str,
        *,
        forward: bool = False,
        protect: bool | None = None,
        force: bool = False,
        reason: str = "",
    ) -> Version:
        """Point a tag at a version; return the version that it points to.

        Args:
            ref: the version.
            tag: the tag.
            forward: do not move a tag that points to a descendant of this version, as `upload --tag`
                does: with concurrent writers, the newest version keeps it.
            protect: whether the tag is protected from now on: then it is moved and removed only with `force`
                and a reason. None leaves that as it is.
            force: also move a protected tag.
            reason: recorded in the tag's history; required by `force`.

        Raises:
            NotFound: the version does not exist.
            InvalidInput: the tag is not a valid name, has the form of a label, or differs from another name
                only in case; or `force` is given without a reason.
            Conflict: the tag is protected, or other writers keep moving it.
        """
        published = self._core.resolve(ref)
        move = self._core.tags.move(
            published, tag, author=author(), forward=forward, protect=protect, force=force, reason=reason
        )
        if move.label not in (None, published.record.label):
            published = self._core.records.get(published.record.dataset, str(move.label))
        return Version.of(self._core, published)

    def untag(self, name: str, tag: str, *, force: bool = False, reason: str = "") -> None:
        """Remove a tag; keep its history.

        Args:
            name: the dataset.
            tag: the tag.
            force: also remove a protected tag.
            reason: recorded in the tag's history; required by `force`.

        Raises:
            NotFound: the tag does not exist.
            InvalidInput: `force` is given without a reason.
            Conflict: the tag is protected, and `force` is not set.
        """
        self._core.tags.remove(name, tag, author=author(), force=force, reason=reason)

    def tagged(self, name: str) -> dict[str, str]:
        """Return the tags of a dataset and the labels they point to; empty if there is no such dataset."""
        return {tag: move.label for tag, move in self._core.tags.current(name).items() if move.label}

    def tag_history(self, name: str, tag: str) -> "list[TagMove]":
        """Return all moves of a tag, oldest first; empty if it never existed."""
        return self._core.tags.history(name, tag)

    # descriptions of datasets as a whole; `Version.describe` describes a version

    def describe(
        self, name: str, text: str | None = None, **fields: "Unpack[DescriptionFields]"
    ) -> "Description":
        """Describe a dataset as a whole; return its new description. Arguments and errors as for a version.

        Args:
            name: the dataset.
            text: as for `Version.describe`.
            fields: as for `Version.describe`.

        Raises:
            NotFound: no such dataset.
        """
        from dataver.api.describing import describe

        self._require_dataset(name)
        return describe(self._core, name, None, text, fields)

    def description(self, name: str) -> "Description | None":
        """Return the current description of a dataset as a whole; None if it was not described."""
        return self._core.descriptions.current(name)

    def description_history(self, name: str) -> "list[Description]":
        """Return all descriptions of a dataset as a whole, oldest first."""
        return self._core.descriptions.history(name)

    def _require_dataset(self, name: str) -> None:
        if not self._core.records.labels(name):
            self._core.resolve(name)  # raises NotFound with similar names

    # verification

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
            from dataver.checkout import verify_repository
            from dataver.lineage.verify import verify_lineage

            with receiver(progress, "Verifying") as shown:
                report = verify_repository(self._core, quick=quick, progress=shown)
                lineage = verify_lineage(self._core)
            report.findings += lineage.problems
            report.objects += lineage.objects
            report.stored += lineage.size
            return report
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
            include: globs; only matching files, as after a `fetch` with them. Other files are ignored.
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
        from dataver.maintenance.delete import plan_delete

        rule = _delete_rule(keep_last, older_than)
        plan = plan_delete(self._core, _ref_texts(ref), dataset=entire_dataset, rule=rule)
        return replace(plan, versions=list(_with_runs(self._core, plan.versions)))

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
            force: also delete tagged versions that `ref` names; the tags are removed. If one is protected, a
                reason is required.
            reason: recorded in the tombstones, and in the history of the tags.

        Raises:
            NotFound: there is no such version or dataset.
            InvalidInput: `keep_last` is less than 1, or `older_than` is negative.
            Conflict: a version has a tag, and `force` is off, or a protected tag, and there is no reason;
                nothing was deleted.
        """
        from dataver.maintenance.delete import execute_delete, plan_delete

        rule = _delete_rule(keep_last, older_than)
        refs = _ref_texts(ref)
        plan = plan_delete(self._core, refs, dataset=entire_dataset, rule=rule, children=False)
        return execute_delete(self._core, plan, author=author(), reason=reason, force=force and rule is None)

    def plan_rename(self, old: str, new: str) -> "RenamePlan":
        """Return what `rename` would do; arguments and errors as for `rename`."""
        from dataver.maintenance.rename import plan_rename

        return plan_rename(self._core, old, new)

    def rename(self, old: str, new: str) -> "RenamePlan":
        """Rename a dataset: all its versions and tags. No data is transferred; repeating it is safe.

        Versions keep label, content, time, author and history. References to the old name raise an error that
        names the new one, and nothing can be published under the old name. Runs stay linked to the old name;
        lineage finds them by content.

        Args:
            old: the dataset.
            new: its new name.

        Returns:
            What was renamed.

        Raises:
            NotFound: no such dataset.
            InvalidInput: the new name is not valid, or differs from another one in case only.
            AlreadyExists: the new name has other versions, or had versions with these labels.
            Conflict: other processes keep publishing versions; repeating the call continues.
            StoreError: the store failed; repeating the call continues.
        """
        from dataver.maintenance.rename import execute_rename, plan_rename

        plan = plan_rename(self._core, old, new)
        execute_rename(self._core, plan, author=author())
        return plan

    def plan_gc(self, *, grace: timedelta | None = None) -> "GcPlan":
        """Return what `gc` would free; arguments and errors as for `gc`."""
        from dataver.api.drafts import needs_of_drafts
        from dataver.maintenance.gc import GRACE, plan_gc

        check_range("grace", grace, timedelta(0))
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
            InvalidInput: `grace` is negative.
            IntegrityError: a version, or a damaged block that an upload or draft needs, cannot be read; its
                needs are unknown, so nothing was deleted.
            Conflict: a repack is running, or more than half would be deleted.
            StoreError: the store failed; repeating the call continues.
        """
        from dataver.api.drafts import needs_of_drafts
        from dataver.maintenance.gc import GRACE, execute_gc

        check_range("grace", grace, timedelta(0))
        packs, trees = needs_of_drafts(self._core)
        keep = GRACE if grace is None else grace
        with receiver(progress, "Deleting", "object") as shown:
            return execute_gc(
                self._core, grace=keep, packs=packs, trees=trees, delete_most=delete_most, progress=shown
            )

    def plan_repack(self, *, dead: float = 0.5) -> "RepackPlan":
        """Return which packs are mostly dead or small; arguments and errors as for `repack`."""
        from dataver.maintenance.repack import plan_repack

        check_range("dead", dead, 0, 1)
        return plan_repack(self._core, dead=dead)

    def repack(self, *, dead: float = 0.5, progress: Progress | bool = SILENT) -> "RepackReport":
        """Copy needed bytes out of packs that are mostly dead or small, so that `gc` can delete these.

        No digest changes, and readers are not interrupted. Packs up to 1 MiB are joined if there are at least
        16, so that a dataset with many small versions is fetched with few requests.

        Args:
            dead: rewrite packs with at least this share, from 0 to 1, of dead bytes.
            progress: receives counts of packs and bytes; True shows a bar.

        Raises:
            InvalidInput: `dead` is not from 0 to 1.
            Conflict: a gc or another repack is under way.
            IntegrityError: a pack or a block is damaged; versions are unchanged.
            StoreError: the store failed; repeating the call continues.
        """
        from dataver.maintenance.repack import execute_repack

        check_range("dead", dead, 0, 1)
        with receiver(progress, "Repacking", "pack") as shown:
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

    check_range("keep_last", keep_last, 1, hint="`entire_dataset` deletes all versions")
    check_range("older_than", older_than, timedelta(0))
    given = keep_last is not None or older_than is not None
    return DeleteRule(keep_last or 0, older_than) if given else None


def _with_runs(core: RepositoryCore, versions: "Iterable[VersionDeletion]") -> "Iterator[VersionDeletion]":
    """Yield the versions with the runs linked to them, if the lineage can be queried."""
    from dataver.lineage.lineage import Lineage

    lineage = Lineage(core)
    try:
        for each in versions:
            try:
                answer = lineage.version(each.ref)
            except DataverError:
                yield each
                continue
            links = (*answer.consumed, *answer.produced)
            yield replace(each, runs=sorted({run.key for run, _ in links}))
    finally:
        lineage.close()
