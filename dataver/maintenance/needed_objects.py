"""The objects that a garbage collection must keep, marked from records, holds, tombstones and drafts.

Kept are those needed by a version, by an upload (its hold names the tree), by a draft of this machine, and by
a version that was deleted within the grace period, as it may be read. A sweep marks again before each batch:
only the trees that are new since the first mark.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from dataver import parallel
from dataver.errors import Conflict, IntegrityError, NotFound, StoreError
from dataver.repository.holds import current_holds
from dataver.repository.layout import RETIRED
from dataver.repository.marking import Marks, mark, pass_over, pass_over_missing
from dataver.repository.records import Listed
from dataver.repository.repository import RepositoryCore
from dataver.storage import ObjectInfo

__all__ = ["NeededObjects"]


@dataclass(frozen=True)
class _NeededTrees:
    """Roots of the trees that are needed at one moment.

    Attributes:
        roots: trees of records, which must be complete.
        held: trees of holds, to be published; blocks may still be missing.
        dying: trees of young tombstones, which may be incomplete.
        everything: whether a hold covers all objects, so that none may be swept.
        moved: keys of the lists of retired packs; a new one means that layouts have changed.
        holds: number of holds.
    """

    roots: frozenset[bytes]
    held: frozenset[bytes]
    dying: frozenset[bytes]
    everything: bool
    moved: frozenset[str]
    holds: int


class NeededObjects:
    """Objects that must be kept; marked on creation.

    Args:
        repo: the repository.
        now: the store's time.
        is_old: whether an object is older than the grace period.
        packs: other packs to keep.
        trees: roots of other trees to keep.

    Attributes:
        living: what versions, uploads and drafts need.
        dying: what versions that were deleted within the grace period need.

    Raises:
        IntegrityError: a version, or a damaged block that an upload or draft needs, cannot be read.
    """

    def __init__(
        self,
        repo: RepositoryCore,
        now: datetime,
        is_old: Callable[[ObjectInfo], bool],
        packs: Collection[bytes],
        trees: Collection[bytes],
    ) -> None:
        self._repo = repo
        self._store = repo.store
        self._now = now
        self._is_old = is_old
        self._trees = frozenset(trees)
        self._published: dict[Listed, bytes] = {}
        self._buried: dict[Listed, bytes] = {}
        self.living, self.dying = Marks(packs=set(packs)), Marks()
        self._look = self._needed_trees(self._check_listing())
        self._mark(self._look)

    @property
    def holds(self) -> int:
        """The number of active writers."""
        return self._look.holds

    def trees_by_dataset(self) -> dict[str, set[bytes]]:
        """Return the trees of the listed versions of each dataset."""
        found: dict[str, set[bytes]] = {}
        for (dataset, *_), tree in self._published.items():
            found.setdefault(dataset, set()).add(tree)
        return found

    def require_known(self) -> None:
        """Check that the needs of all writers are known.

        Raises:
            Conflict: a repack is running, or a hold is unreadable.
        """
        self._require_known(self._look)

    def mark_again(self) -> set[str]:
        """Return the keys of all objects that are needed now or were needed before.

        Raises:
            Conflict: a repack is running or has moved packs, or a hold is unreadable.
        """
        look = self._needed_trees()
        self._require_known(look)
        self._mark(look, self._look)
        self._look = look
        return self.living.keys() | self.dying.keys()

    def _require_known(self, look: _NeededTrees) -> None:
        if look.everything or not look.moved <= self._look.moved:
            raise Conflict(
                f"a repack is running in {self._store.url}; nothing more was deleted.",
                hint="run gc again when the repack, or the upload with an unreadable hold, is done",
            )

    def _check_listing(self) -> list[Listed]:
        """Return the listed versions; check the listing, since a missing version loses its objects.

        A version of this machine's last gc that is listed neither as existing nor as deleted is read by key.

        Raises:
            StoreError: its record exists, so the listing is incomplete.
        """
        records, cache = self._repo.records, self._repo.cache
        if cache is None:  # listings of a local store are complete
            return []
        name = f"{self._store.location}\nversions that gc saw"
        found = records.everything(uncached=True)
        there = {f"{dataset}@{label}" for dataset, label, _ in found}
        gone = {f"{dataset}@{label}" for dataset, label in records.deleted()}
        for ref in sorted(set((cache.get(name) or b"").decode().split()) - there - gone):
            dataset, _, label = ref.partition("@")
            if records.tombstone(dataset, label) is None and records.read_back(dataset, label) is not None:
                raise StoreError(
                    f"a listing of {self._store.url} leaves out {ref}, which exists; nothing was deleted.",
                    hint="repeat the command; check for a proxy or a cache in front of the store",
                )
        cache.put(name, "\n".join(sorted(there)).encode())
        return found

    def _needed_trees(self, more: Sequence[Listed] = ()) -> _NeededTrees:
        """List holds, then records: the record of a hold that was released in between is listed.

        Versions of an earlier listing (`more`) are included, unless they were deleted meanwhile.
        """
        repo = self._repo
        holds = current_holds(self._store, self._now)
        moved = frozenset(info.key for info in self._store.list(RETIRED))
        held = {hold.tree for hold in holds.values() if hold is not None and hold.tree is not None}
        versions = [*{*repo.records.everything(), *more}]
        repo.records.prepare(version for version in versions if version not in self._published)
        roots = self._trees_of(versions, self._published, self._tree_of_version)
        young = [(*ref, info) for ref, info in repo.records.deleted().items() if not self._is_old(info)]
        dying = self._trees_of(young, self._buried, self._tree_of_deleted)
        everything = any(hold is None or hold.tree is None for hold in holds.values())
        return _NeededTrees(roots, frozenset(held), dying, everything, moved, len(holds))

    def _trees_of(
        self, refs: Sequence[Listed], known: dict[Listed, bytes], read: Callable[[Listed], bytes | None]
    ) -> frozenset[bytes]:
        """Return the trees of these versions; the values of objects that were read before are reused."""
        fresh = [ref for ref in refs if ref not in known]
        with parallel.pool(parallel.REQUESTS if self._store.local_root is None else 1, "look") as pool:
            found = zip(fresh, pool.map(read, fresh), strict=True)
            known.update((ref, tree) for ref, tree in found if tree is not None)
        return frozenset(known[ref] for ref in refs if ref in known)

    def _tree_of_version(self, ref: Listed) -> bytes | None:
        """Return the tree of a listed version, or None if a tombstone shows that it was deleted meanwhile."""
        try:
            return self._repo.records.get(*ref).record.tree
        except NotFound:
            self._tree_of_deleted(ref)
            return None

    def _tree_of_deleted(self, ref: Listed) -> bytes | None:
        tombstone = self._repo.records.tombstone(*ref[:2])
        if tombstone is not None:
            return tombstone.tree
        raise StoreError(
            f"{ref[0]}@{ref[1]} is in a listing of {self._store.url} and cannot be found; "
            "nothing more was deleted.",
            hint="repeat the command; if that does not help, restore it from a copy of the repository",
            transient=True,
        )

    def _mark(self, look: _NeededTrees, known: _NeededTrees | None = None) -> None:
        """Mark the trees of a `_NeededTrees`, except those of records and tombstones in `known`.

        A held tree is always marked again, since its writer may still store blocks of it.
        """
        roots, dying = look.roots, look.dying
        if known is not None:
            roots, dying = roots - known.roots, look.dying - known.dying
        marks = mark(self._store, roots)
        marks.add(self._mark_unpublished(look.held | self._trees))
        self.living.add(marks)
        self.dying.add(mark(self._store, dying, on_error=pass_over))

    def _mark_unpublished(self, trees: frozenset[bytes]) -> Marks:
        """Mark the trees of holds and drafts, whose blocks may be missing, but not damaged.

        Adding the same content again replaces a damaged block, if the objects below it still exist.
        """
        try:
            return mark(self._store, trees, on_error=pass_over_missing)
        except IntegrityError as error:
            raise IntegrityError(
                f"{error.message} An upload or draft needs it, so nothing more was deleted.",
                hint="list all damage with `dataver verify`; the hold of an upload expires after a day, and "
                "`dataver discard` deletes a draft",
            ) from error
