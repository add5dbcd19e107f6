"""Freeing what nobody needs: a plan that a person can read, then a sweep that looks again before it deletes.

Freed is what no version needs and nothing says it may be needed: packs and blocks older than the grace period
(an upload under way has younger ones) that neither a version deleted within it needs (somebody may be
fetching it) nor a list of retired packs younger than it names (somebody may hold the layout of before a
repack). All ages are by the store's clock. Holds of writers count whatever the grace period.

The sweep, a batch at a time (`dataver.repository.keeping.holds` has the other side):

    1  say which keys it may delete
    2  look for holds, then for records; mark what is new since the first mark
    3  delete what was named and is still not marked: blocks first, then packs
    4  say that it is done

A crash leaves fewer unneeded objects and at worst the note of 1, which the next sweep removes; no version
lacks anything. Versions that cannot be read end the work before anything is deleted.
"""

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import Final, TypeAlias

from dataver.errors import Conflict, NotFound, StoreError
from dataver.formats.keeping import Sweep, parse_retired, parse_sweep
from dataver.formats.tombstone import Tombstone
from dataver.progress import SILENT, Progress
from dataver.repository.keeping.clock import CLOCK_REQUESTS, GRACE, PROBES, Stopwatch, store_now
from dataver.repository.keeping.deleting import remove_record
from dataver.repository.keeping.holds import LASTS, current_holds
from dataver.repository.keeping.leftovers import is_unfinished, remove_unfinished, unfinished
from dataver.repository.keeping.marking import Marks, mark, take_inventory
from dataver.repository.keeping.owner import is_gone, this_process
from dataver.repository.layout import (
    RETIRED,
    SWEEPS,
    SWEPT,
    pack_key,
    parse_object_key,
    parse_record_key,
    sweep_key,
    swept_key,
)
from dataver.repository.repository import Repository
from dataver.storage import ObjectInfo, Store

__all__ = ["GcPlan", "GcReport", "execute_gc", "plan_gc"]

_Ref: TypeAlias = tuple[str, str]  # dataset and label

_BATCH: Final = 4_000  # objects named and deleted together; a writer that needs one of them waits that long
_PARALLEL: Final = 16  # requests in flight
_AROUND: Final = 9  # requests before and after the deletions of a batch, as a test counts them
_WRITING: Final = timedelta(minutes=1)  # since the last byte: what is left is to flush the file and name it
_LATEST: Final = 3600.0  # seconds between the last look and a delete; a sweep that was away looks again


@dataclass
class GcPlan:
    """What a sweep would delete.

    Attributes:
        grace: the grace period.
        packs: packs that nothing needs.
        blocks: tree blocks that nothing needs.
        leftovers: unfinished files, probes, and notes that no longer matter, by key.
        records: records that interrupted deletions left.
        waiting: packs and blocks that no version needs, but which are too young or may still be read; `gc`
            frees them later.
        waiting_size: bytes of these.
        kept: packs and blocks that are needed.
        kept_size: bytes of these.
        held: writers that are at work now.
        requests: what a sweep asks of the store, about; it looks once more before that, as the plan did.
        seconds: how long it would take, by how long looking and a request took just now.
    """

    grace: timedelta
    packs: list[ObjectInfo] = field(default_factory=list)
    blocks: list[ObjectInfo] = field(default_factory=list)
    leftovers: list[ObjectInfo] = field(default_factory=list)
    records: list[ObjectInfo] = field(default_factory=list)
    waiting: int = 0
    waiting_size: int = 0
    kept: int = 0
    kept_size: int = 0
    held: int = 0
    requests: int = 0
    seconds: float = 0.0

    @property
    def size(self) -> int:
        """Bytes that would be freed."""
        return sum(info.size for info in (*self.packs, *self.blocks, *self.leftovers, *self.records))

    @property
    def count(self) -> int:
        """Objects that would be deleted."""
        return len(self.packs) + len(self.blocks) + len(self.leftovers) + len(self.records)


@dataclass
class GcReport:
    """What a sweep deleted.

    Attributes:
        packs: packs deleted.
        blocks: tree blocks deleted.
        leftovers: other objects deleted.
        size: bytes of all of them: what is really free now.
        spared: objects of the plan that somebody needs by now.
        problems: `(key, reason)` of what could not be deleted.
    """

    packs: int = 0
    blocks: int = 0
    leftovers: int = 0
    size: int = 0
    spared: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class _Look:
    """What there was to be needed at one moment.

    Attributes:
        roots: of trees that must be whole: those of records.
        held: of trees that somebody is about to publish; they may not be whole yet.
        dying: of trees of young tombstones; they may not be whole any more.
        everything: whether somebody moves bytes, so that nothing may be swept.
        moved: the lists of retired packs; another one since the last look means that layouts have changed.
        holds: how many holds.
    """

    roots: frozenset[bytes]
    held: frozenset[bytes]
    dying: frozenset[bytes]
    everything: bool
    moved: frozenset[str]
    holds: int


def plan_gc(
    repo: Repository,
    *,
    grace: timedelta = GRACE,
    packs: Collection[bytes] = (),
    trees: Collection[bytes] = (),
) -> GcPlan:
    """Find out what may be freed.

    Args:
        repo: the repository.
        grace: how long what is not needed is kept.
        packs: further packs to be kept: those that drafts on this machine rely on.
        trees: further trees to be kept, by root.

    Raises:
        IntegrityError: a version cannot be read; nobody knows what it needs, so nothing may be freed.
    """
    return _Collection(repo, grace, packs, trees).plan


def execute_gc(
    repo: Repository,
    *,
    grace: timedelta = GRACE,
    packs: Collection[bytes] = (),
    trees: Collection[bytes] = (),
    progress: Progress = SILENT,
) -> GcReport:
    """Free what is not needed, as found out just now. Arguments as for `plan_gc`.

    Raises:
        IntegrityError: a version cannot be read; nothing was deleted.
        Conflict: somebody is repacking; nothing was deleted.
        StoreError: the store failed; repeating the call continues.
    """
    return _Collection(repo, grace, packs, trees).execute(progress)


class _Collection:
    """One look at a repository, and the sweep that follows from it."""

    def __init__(
        self, repo: Repository, grace: timedelta, packs: Collection[bytes], trees: Collection[bytes]
    ) -> None:
        self._repo = repo
        self._store = repo.store
        self._grace = grace
        self._more = Marks(packs=set(packs))
        self._trees = frozenset(trees)
        self._published: dict[_Ref, bytes] = {}
        self._buried: dict[_Ref, bytes] = {}
        began = time.perf_counter()
        self.now = store_now(self._store)
        asking = (time.perf_counter() - began) / CLOCK_REQUESTS
        self._inventory = take_inventory(self._store)
        self._look = self._see()
        self._living, self._dying = Marks(), Marks()
        self._mark(self._look)
        self.plan = self._plan()
        self._reckon(time.perf_counter() - began, asking)

    def execute(self, progress: Progress) -> GcReport:
        """Sweep what the plan names."""
        report = GcReport()
        plan = self.plan
        if self._look.everything:
            raise _busy(self._store)
        progress.start(plan.count, plan.size)
        self._remove_leftovers(report, progress)
        for kind in (plan.blocks, plan.packs):  # a block without its packs would be worse than packs alone
            for batch in _batches(kind):
                self._sweep(batch, report, progress)
        return report

    # looking

    def _see(self) -> _Look:
        """Look for holds, then for records: a hold that is gone by then has become a record."""
        repo = self._repo
        holds = current_holds(self._store, self.now)
        moved = frozenset(info.key for info in self._store.list(RETIRED))
        held = {hold.tree for hold in holds.values() if hold is not None and hold.tree is not None}
        refs = [(name, each) for name, labels in repo.records.datasets().items() for each in labels]
        roots = self._trees_of(refs, self._published, lambda *ref: repo.records.get(*ref).record.tree)
        young = [ref for ref, info in repo.records.deleted().items() if not self._is_old(info)]
        dying = self._trees_of(young, self._buried, lambda *ref: _tree(repo.records.tombstone(*ref)))
        everything = any(hold is None or hold.tree is None for hold in holds.values())
        return _Look(roots, frozenset(held), dying, everything, moved, len(holds))

    def _trees_of(
        self, refs: list[_Ref], known: dict[_Ref, bytes], read: Callable[[str, str], bytes | None]
    ) -> frozenset[bytes]:
        """Return the trees of these versions; what was read at an earlier look is still true."""

        def safely(ref: _Ref) -> bytes | None:
            try:
                return read(*ref)
            except NotFound:
                return None  # it was deleted just now

        fresh = [ref for ref in refs if ref not in known]
        with ThreadPoolExecutor(_PARALLEL if self._store.local_root is None else 1, "dataver-look") as pool:
            found = zip(fresh, pool.map(safely, fresh), strict=True)
            known.update((ref, tree) for ref, tree in found if tree is not None)
        return frozenset(known[ref] for ref in refs if ref in known)

    def _mark(self, look: _Look, known: _Look | None = None) -> None:
        """Mark what a look's trees need, but for those of records and tombstones marked at another look.

        A held tree is marked each time: its writer may still be changing what is stored of it.
        """
        roots, dying = look.roots, look.dying
        if known is not None:
            roots, dying = roots - known.roots, look.dying - known.dying
        marks = mark(self._store, roots)
        marks.add(mark(self._store, look.held | self._trees, lenient=True))
        marks.add(self._more)
        self._living.add(marks)
        self._dying.add(mark(self._store, dying, lenient=True))

    def _is_old(self, info: ObjectInfo) -> bool:
        """Tell whether an object is older than the grace period; without a date only a period of 0 is."""
        if info.modified is None:
            return not self._grace
        try:
            return info.modified <= self.now - self._grace
        except OverflowError:
            return False

    def _is_left(self, info: ObjectInfo) -> bool:
        """Tell whether an unfinished file is nobody's: also without any grace its writer gets a minute."""
        return self._is_old(info) and (info.modified is None or self.now - info.modified > _WRITING)

    # planning

    def _plan(self) -> GcPlan:
        plan = GcPlan(self._grace, held=self._look.holds)
        retired = self._retired(plan)
        for found, needed, later, going in (
            (self._inventory.packs, self._living.packs, self._dying.packs | retired, plan.packs),
            (self._inventory.blocks, self._living.blocks, self._dying.blocks, plan.blocks),
        ):
            for name, info in found.items():
                if name in needed:
                    plan.kept += 1
                    plan.kept_size += info.size
                elif name not in later and self._is_old(info):
                    going.append(info)
                else:
                    plan.waiting += 1
                    plan.waiting_size += info.size
        plan.leftovers += [info for info in unfinished(self._store) if self._is_left(info)]
        plan.leftovers += [info for info in self._store.list(PROBES) if self._is_old(info)]
        plan.leftovers += self._dead_sweeps()
        plan.records += self._repo.records.unburied()
        return plan

    def _reckon(self, looking: float, asking: float) -> None:
        """Say what a sweep costs: looking takes so many seconds, and one request so many."""
        plan = self.plan
        if not plan.count:
            return
        swept, beside = len(plan.packs) + len(plan.blocks), len(plan.leftovers) + len(plan.records)
        batches = sum(-(-len(kind) // _BATCH) for kind in (plan.packs, plan.blocks))
        plan.requests = swept + beside + batches * _AROUND
        parallel = _PARALLEL if self._store.local_root is None else 1
        plan.seconds = looking + (swept / parallel + beside + batches * _AROUND) * asking

    def _retired(self, plan: GcPlan) -> set[bytes]:
        """Return the packs that were replaced within the grace period; older lists are done with."""
        retired: set[bytes] = set()
        for info in self._store.list(RETIRED):
            if self._is_old(info):
                plan.leftovers.append(info)
                continue
            try:
                retired.update(parse_retired(self._store.get(info.key)).packs)
            except NotFound:
                continue
        return retired

    def _dead_sweeps(self) -> Iterator[ObjectInfo]:
        """Yield the notes of sweeps that will delete nothing any more, one of them each."""
        yield from islice(self._store.list(SWEPT), 1, 2)  # a crash left one too many
        for info in list(self._store.list(SWEEPS)):
            try:
                sweep = parse_sweep(self._store.get(info.key))
            except NotFound:
                continue
            if is_gone(sweep.owner) or (info.modified is not None and self.now - info.modified > LASTS):
                yield info

    # sweeping

    def _remove_leftovers(self, report: GcReport, progress: Progress) -> None:
        for info in (*self.plan.leftovers, *self.plan.records):
            record = parse_record_key(info.key)
            if is_unfinished(info.key):  # wherever it lies
                remove_unfinished(self._store, info.key)
            elif record is not None:
                remove_record(self._repo, *record)
            elif info.key.startswith((SWEEPS, SWEPT)):
                _finish(self._store, info.key)
            else:
                self._store.delete(info.key)
            report.leftovers += 1
            report.size += info.size
            progress.advance(1, info.size)

    def _sweep(self, batch: list[ObjectInfo], report: GcReport, progress: Progress) -> None:
        key = sweep_key(os.urandom(16).hex())
        note = Sweep(keys=tuple(info.key for info in batch), owner=this_process())
        self._store.put(key, note.encode())
        try:
            watch = Stopwatch()
            needed = self._look_again()
            going = [info for info in batch if info.key not in needed]
            report.spared += len(batch) - len(going)
            for done, problem in self._delete(going, watch):
                if problem is not None:
                    report.problems.append((done.key, problem))
                    continue
                is_pack = done.key == pack_key(parse_object_key(done.key) or b"")
                report.packs += is_pack
                report.blocks += not is_pack
                report.size += done.size
                progress.advance(1, done.size)
        finally:
            _finish(self._store, key)

    def _look_again(self) -> set[str]:
        """Return the keys that are needed now; what was needed before counts still."""
        look = self._see()
        if look.everything or not look.moved <= self._look.moved:
            raise _busy(self._store)
        self._mark(look, self._look)
        self._look = look
        return self._living.keys() | self._dying.keys()

    def _delete(self, going: list[ObjectInfo], watch: Stopwatch) -> Iterator[tuple[ObjectInfo, str | None]]:
        """Delete objects; yield each, with what went wrong."""

        def remove(info: ObjectInfo) -> tuple[ObjectInfo, str | None]:
            if watch.seconds() > _LATEST:
                return info, "the sweep was interrupted for too long; gc again looks anew"
            try:
                self._store.delete(info.key)
            except StoreError as error:
                if error.transient:
                    raise
                return info, error.message
            return info, None

        if self._store.local_root is not None:
            yield from map(remove, going)
            return
        with ThreadPoolExecutor(_PARALLEL, "dataver-sweep") as pool:
            yield from pool.map(remove, going)


def _finish(store: Store, key: str) -> None:
    """Say that a sweep is done: a new key before the old ones go, so that no two looks are equal.

    Of two sweeps that end at once at least one leaves its key: neither removes what it did not see before it
    wrote its own, and not both can have seen the other's.
    """
    old = [info.key for info in store.list(SWEPT)]
    store.put(swept_key(os.urandom(16).hex()), b"{}")
    for each in (key, *old):
        store.delete(each)


def _tree(tombstone: Tombstone | None) -> bytes | None:
    return None if tombstone is None else tombstone.tree


def _busy(store: Store) -> Conflict:
    return Conflict(
        f"bytes are being moved inside {store.url}; nothing more was deleted.",
        hint="run gc again when the repack, or the upload whose hold cannot be read, is done",
    )


def _batches(items: Iterable[ObjectInfo]) -> Iterator[list[ObjectInfo]]:
    source = iter(items)
    while batch := list(islice(source, _BATCH)):
        yield batch
