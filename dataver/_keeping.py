"""Keeping house, as people call it on a repository: delete, gc, repack, du."""

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from dataver._author import author
from dataver.errors import DataverError
from dataver.progress import SILENT, Progress
from dataver.repository import Repository as RepositoryCore

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dataver.formats.tombstone import Tombstone
    from dataver.repository.keeping.collecting import GcPlan, GcReport
    from dataver.repository.keeping.deleting import DeletePlan, Doomed
    from dataver.repository.keeping.repacking import RepackPlan, RepackReport
    from dataver.repository.keeping.usage import UsageReport

__all__ = ["Keeping"]


class Keeping(RepositoryCore):
    """The part of the public repository that deletes, frees and measures."""

    def plan_delete(self, ref: str, *, entire_dataset: bool = False) -> "DeletePlan":
        """Return what deleting a version would do, and which tags, children and runs depend on it.

        Args:
            ref: the version; with `entire_dataset`, the dataset's name.
            entire_dataset: plan for all its versions.

        Raises:
            NotFound: there is no such version or dataset.
        """
        from dataver.repository.keeping.deleting import DeletePlan, plan_delete

        plan = plan_delete(self, ref, dataset=entire_dataset)
        return DeletePlan(list(self._with_runs(plan.versions)), plan.dataset)

    def delete(
        self, ref: str, *, entire_dataset: bool = False, force: bool = False, reason: str = ""
    ) -> "list[Tombstone]":
        """Delete a version, or all of a dataset: names go at once, bytes when `gc` finds nobody needs them.

        Children stay whole; lineage still tells of it. Its label is never used again.

        Args:
            ref: the version; with `entire_dataset`, the dataset's name.
            entire_dataset: delete all its versions.
            force: delete tagged versions, too; the tags are removed.
            reason: why; kept in the tombstone.

        Raises:
            NotFound: there is no such version or dataset.
            Conflict: it has a tag, and `force` is off; nothing was deleted.
        """
        from dataver.repository.keeping.deleting import execute_delete, plan_delete

        plan = plan_delete(self, ref, dataset=entire_dataset)
        return execute_delete(self, plan, author=author(), reason=reason, force=force)

    def plan_gc(self, *, grace: timedelta | None = None) -> "GcPlan":
        """Return what `gc` would free; arguments and errors as for `gc`."""
        from dataver.repository.keeping.clock import GRACE
        from dataver.repository.keeping.collecting import plan_gc

        packs, trees = self._needs_of_drafts()
        return plan_gc(self, grace=GRACE if grace is None else grace, packs=packs, trees=trees)

    def gc(self, *, grace: timedelta | None = None, progress: Progress = SILENT) -> "GcReport":
        """Free what no version needs; safe while others upload, fetch or do the same.

        Args:
            grace: what was deleted, replaced or left by an interrupted upload is kept for so long, by the
                store's clock; None means 14 days. With 0, who still fetches a deleted version is cut off.
            progress: told of objects and bytes.

        Raises:
            IntegrityError: a version cannot be read, so nobody knows what it needs; nothing was deleted.
            Conflict: somebody is repacking.
            StoreError: the store failed; repeating the call continues.
        """
        from dataver.repository.keeping.clock import GRACE
        from dataver.repository.keeping.collecting import execute_gc

        packs, trees = self._needs_of_drafts()
        keep = GRACE if grace is None else grace
        return execute_gc(self, grace=keep, packs=packs, trees=trees, progress=progress)

    def plan_repack(self, *, dead: float = 0.5) -> "RepackPlan":
        """Return which packs are mostly dead; arguments and errors as for `repack`."""
        from dataver.repository.keeping.repacking import plan_repack

        return plan_repack(self, dead=dead)

    def repack(self, *, dead: float = 0.5, progress: Progress = SILENT) -> "RepackReport":
        """Copy what versions need out of packs that are mostly dead, so that `gc` can free these.

        No digest changes, and readers go on.

        Args:
            dead: packs are rewritten of which at least this share, from 0 to 1, is dead.
            progress: told of packs and bytes.

        Raises:
            Conflict: a gc or another repack is under way.
            IntegrityError: a pack or a block is damaged; versions are as they were.
            StoreError: the store failed; repeating the call continues.
        """
        from dataver.repository.keeping.repacking import execute_repack

        return execute_repack(self, dead=dead, progress=progress)

    def du(self, name: str | None = None) -> "UsageReport":
        """Return what versions and datasets take, and what deleting each would free.

        Args:
            name: a dataset or a version; None reports on all.

        Raises:
            NotFound: there is no such dataset or version.
            IntegrityError: a version cannot be read.
        """
        from dataver.repository.keeping.usage import usage

        if name is None:
            return usage(self)
        record = self.resolve(name).record
        return usage(self, record.dataset, record.label if "@" in name or ":" in name else None)

    def _with_runs(self, versions: "Iterable[Doomed]") -> "Iterable[Doomed]":
        """Yield the versions with the runs that are linked to them, where the lineage can be asked."""
        from dataver.lineage.lineage import Lineage

        lineage = Lineage(self)
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

    def _needs_of_drafts(self) -> tuple[set[bytes], set[bytes]]:
        """Return the packs, and the roots of trees, that drafts of this workspace rely on."""
        from dataver.ingest import DraftCore, list_drafts
        from dataver.ingest.upload import needs_of_draft
        from dataver.repository.places import find_workspace

        packs: set[bytes] = set()
        trees: set[bytes] = set()
        home = find_workspace()
        for state in list_drafts(home) if home else ():
            if home and state.repository_id == self.id and state.status != "uploaded":
                needs = needs_of_draft(DraftCore(self, home, state))
                packs |= needs[0]
                trees |= needs[1]
        return packs, trees
