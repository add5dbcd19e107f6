"""Garbage collection: a readable plan, then a sweep that checks again before it deletes.

Deleted are packs and blocks that nothing needs (`dataver.maintenance.needed_objects`) and that are older than
the grace period (those of a running upload are younger). Kept are those in a list of retired packs younger
than it (a reader may use a layout from before the repack). Ages are by the store's clock. Holds of writers
are valid for every grace period. While a draft is forked, no packs are deleted (`dataver.repository.forks`).
Unfinished files of interrupted writers are deleted, too: only a local store has them, listings leave them
out, and no process uses those of another.

The sweep, by batch (`dataver.repository.holds` is the other side):

    1  put the keys that it may delete
    2  list holds, then records; mark the trees that are new since the first mark; list marks of forks
    3  delete the keys that are still not marked: blocks first, then packs
    4  record its end

Profiles are rewritten last: a store that refuses them, or an error in them, keeps nothing else.

A crash leaves fewer unneeded objects and at worst the marker of 1, which the next sweep removes; no version
loses an object. If a version is unreadable, nothing is deleted.
"""

import contextlib
import os
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final

from dataver import parallel
from dataver.errors import Conflict, DataverError, NotFound, StoreError
from dataver.formats.keeping import Sweep, parse_retired, parse_sweep
from dataver.machine.deep_folders import open_folder, walk_folders
from dataver.machine.process_identity import is_gone, this_process
from dataver.machine.store_clock import CLOCK_REQUESTS, PROBES, Stopwatch, store_now
from dataver.maintenance.delete import remove_record
from dataver.maintenance.needed_objects import NeededObjects
from dataver.progress import SILENT, Progress
from dataver.repository.forks import forked_until
from dataver.repository.holds import LASTS, read_note
from dataver.repository.layout import (
    PACKS,
    PARTS,
    PROFILES,
    RETIRED,
    SWEEPS,
    SWEPT,
    TURNS,
    pack_key,
    parse_object_key,
    parse_record_key,
    sweep_key,
    swept_key,
)
from dataver.repository.marking import list_inventory
from dataver.repository.profiles import Listed
from dataver.repository.repository import RepositoryCore
from dataver.short_repr import short_repr
from dataver.storage import ObjectInfo, Store
from dataver.storage.base import TEMPORARY

__all__ = [
    "GRACE", "GcPlan", "GcReport",
    "execute_gc", "is_unfinished", "plan_gc", "remove_unfinished", "unfinished",
]  # fmt: skip

GRACE: Final = timedelta(days=14)
"""Default age from which on an unreferenced object is deleted."""

_BATCH: Final = 4_000  # objects in a batch; a writer that needs one of them waits for the whole batch
_TOGETHER: Final = 1_000  # objects of one call
_AROUND: Final = 10  # requests before and after the deletions of a batch; checked by a test
_TURN: Final = timedelta(days=1)  # a writer uses a position in a dataset for at most six hours
_WRITING: Final = timedelta(minutes=1)  # after the last byte, for flushing and renaming the file
_LATEST: Final = 3600.0  # maximum seconds between marking and a delete, in case the process is suspended


@dataclass
class GcPlan:
    """Plan of a sweep.

    Attributes:
        grace: the grace period.
        packs: unneeded packs.
        blocks: unneeded tree blocks.
        leftovers: unfinished files, probes, and expired markers.
        records: records left by interrupted deletions.
        profiles: objects with profiles of which some are of files that no version of their dataset has; the
            others are kept. Their bytes are not counted.
        problems: why profiles are not in the plan.
        waiting: number of packs and blocks that no version needs, but that are too young or may still be
            read; a later `gc` deletes them.
        waiting_size: bytes of these.
        kept: number of packs and blocks that are needed.
        kept_size: bytes of these.
        held: number of active writers.
        forked_until: time until which all packs are kept because a draft is forked; None if none is.
        requests: approximate number of requests of a sweep, without those of marking again.
        seconds: estimated duration, from the measured time of marking and of a request.
    """

    grace: timedelta
    packs: list[ObjectInfo] = field(default_factory=list)
    blocks: list[ObjectInfo] = field(default_factory=list)
    leftovers: list[ObjectInfo] = field(default_factory=list)
    records: list[ObjectInfo] = field(default_factory=list)
    profiles: list[Listed] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    waiting: int = 0
    waiting_size: int = 0
    kept: int = 0
    kept_size: int = 0
    held: int = 0
    forked_until: datetime | None = None
    requests: int = 0
    seconds: float = 0.0

    __repr__ = short_repr

    @property
    def size(self) -> int:
        """Bytes to free."""
        return sum(info.size for info in (*self.packs, *self.blocks, *self.leftovers, *self.records))

    @property
    def count(self) -> int:
        """Number of objects to delete."""
        beside = len(self.leftovers) + len(self.records) + len(self.profiles)
        return len(self.packs) + len(self.blocks) + beside

    @property
    def most(self) -> bool:
        """Whether more than half of the bytes in packs and blocks would be deleted."""
        going = sum(info.size for info in (*self.packs, *self.blocks))
        return going > self.kept_size + self.waiting_size


@dataclass
class GcReport:
    """Result of a sweep.

    Attributes:
        packs: number of packs deleted.
        blocks: number of tree blocks deleted.
        leftovers: number of other objects deleted.
        profiles: number of objects with profiles that were deleted or replaced by shorter ones.
        size: bytes of all deleted objects.
        spared: number of objects of the plan that are needed meanwhile.
        problems: `(key, reason)` of objects that could not be deleted, or profiles not be rewritten.
    """

    packs: int = 0
    blocks: int = 0
    leftovers: int = 0
    profiles: int = 0
    size: int = 0
    spared: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)

    __repr__ = short_repr


def plan_gc(
    repo: RepositoryCore,
    *,
    grace: timedelta = GRACE,
    packs: Collection[bytes] = (),
    trees: Collection[bytes] = (),
) -> GcPlan:
    """Plan a sweep.

    Args:
        repo: the repository.
        grace: time for which unneeded objects are kept.
        packs: other packs to keep: those that drafts on this machine need.
        trees: roots of other trees to keep.

    Raises:
        IntegrityError: a version, or a damaged block that an upload or draft needs, cannot be read; what it
            needs is unknown, so nothing may be freed.
    """
    return _Collection(repo, grace, packs, trees).plan


def execute_gc(
    repo: RepositoryCore,
    *,
    grace: timedelta = GRACE,
    packs: Collection[bytes] = (),
    trees: Collection[bytes] = (),
    delete_most: bool = False,
    progress: Progress = SILENT,
) -> GcReport:
    """Plan and execute a sweep.

    Args:
        repo: the repository.
        grace: time for which unneeded objects are kept.
        packs: other packs to keep.
        trees: roots of other trees to keep.
        delete_most: allow the deletion of more than half of the repository's bytes.
        progress: receives objects and bytes.

    Raises:
        IntegrityError: a version, or a damaged block that an upload or draft needs, cannot be read.
        Conflict: a repack is running, or more than half would be deleted; nothing was deleted.
        StoreError: the store failed; a repeated call continues.
    """
    found = _Collection(repo, grace, packs, trees)
    if found.plan.most and not delete_most:
        raise Conflict(
            f"more than half of {repo.url} would be deleted ({len(found.plan.packs):,} packs); nothing was.",
            hint="`dataver list` shows the versions; if all are there: --yes-delete-most, delete_most=True",
        )
    return found.execute(progress)


class _Collection:
    """State of one garbage collection: the marks, the plan, and the sweep."""

    def __init__(
        self, repo: RepositoryCore, grace: timedelta, packs: Collection[bytes], trees: Collection[bytes]
    ) -> None:
        self._repo = repo
        self._store = repo.store
        began = time.perf_counter()
        self.now = store_now(self._store)
        self._parts = list(self._store.list(PARTS))
        self._grace = grace
        asking = (time.perf_counter() - began) / CLOCK_REQUESTS
        self._inventory = list_inventory(self._store)
        self._profiles = self._list_profiles()  # before the records of the versions that they name
        self._needed = NeededObjects(repo, self.now, self._is_old, packs, trees)
        self.plan = self._plan()
        self._estimate(time.perf_counter() - began, asking)

    def execute(self, progress: Progress) -> GcReport:
        """Sweep the objects of the plan."""
        plan = self.plan
        report = GcReport(problems=list(plan.problems))
        self._needed.require_known()
        progress.start(plan.count, plan.size)
        self._remove_leftovers(report, progress)
        self._remove_turns()
        for kind in (
            plan.blocks,
            plan.packs,
        ):  # a pack without its blocks is better than a block without its packs
            for batch in _batches(kind):
                self._sweep(batch, report, progress)
        self._rewrite_profiles(report, progress)
        return report

    # planning

    def _is_old(self, info: ObjectInfo) -> bool:
        """Return whether an object is older than the grace period; without a time only if that is 0."""
        if info.modified is None:
            return not self._grace
        try:
            return info.modified <= self.now - self._grace
        except OverflowError:
            return False

    def _is_left(self, info: ObjectInfo) -> bool:
        """Return whether an unfinished file is abandoned: after a minute or the grace period."""
        return self._is_old(info) and (info.modified is None or self.now - info.modified > _WRITING)

    def _plan(self) -> GcPlan:
        forked = forked_until(self._parts, self.now)
        plan = GcPlan(self._grace, held=self._needed.holds, forked_until=forked)
        retired, needed = self._retired(plan), self._needed
        spared = self._inventory.packs if forked else needed.dying.packs | retired
        for found, marked, later, going in (
            (self._inventory.packs, needed.living.packs, spared, plan.packs),
            (self._inventory.blocks, needed.living.blocks, needed.dying.blocks, plan.blocks),
        ):
            for name, info in found.items():
                if name in marked:
                    plan.kept += 1
                    plan.kept_size += info.size
                elif name not in later and self._is_old(info):
                    going.append(info)
                else:
                    plan.waiting += 1
                    plan.waiting_size += info.size
        plan.leftovers += [info for info in unfinished(self._store) if self._is_left(info)]
        parts = () if forked else self._parts
        plan.leftovers += [info for info in (*self._store.list(PROBES), *parts) if self._is_old(info)]
        plan.leftovers += self._dead_sweeps()
        plan.records += self._repo.records.interrupted_deletions()
        if isinstance(self._profiles, StoreError):
            plan.problems.append((PROFILES, self._profiles.message))
            return plan
        try:
            plan.profiles += self._repo.profiles.stale(self._profiles, self._needed.trees_by_dataset())
        except StoreError as error:
            plan.problems.append((PROFILES, error.message))
        return plan

    def _list_profiles(self) -> list[Listed] | StoreError:
        try:
            return self._repo.profiles.objects()
        except StoreError as error:
            return error

    def _estimate(self, looking: float, asking: float) -> None:
        """Estimate the cost of a sweep from the seconds of marking and of one request."""
        plan = self.plan
        if not plan.count:
            return
        at_once = self._store.deletes_at_once
        swept = sum(-(-len(kind) // at_once) for kind in (plan.packs, plan.blocks))
        beside = len(plan.leftovers) + len(plan.records) + 2 * len(plan.profiles)
        batches = sum(-(-len(kind) // _BATCH) for kind in (plan.packs, plan.blocks))
        plan.requests = swept + beside + batches * _AROUND
        width = parallel.REQUESTS if self._store.local_root is None and at_once == 1 else 1
        plan.seconds = looking + (swept / width + beside + batches * _AROUND) * asking

    def _retired(self, plan: GcPlan) -> set[bytes]:
        """Return the packs that were retired within the grace period; add older lists to the plan.

        An unreadable list may contain any pack.
        """
        retired: set[bytes] = set()
        for info in self._store.list(RETIRED):
            if self._is_old(info):
                plan.leftovers.append(info)
                continue
            try:
                found = read_note(self._store, info.key, parse_retired)
            except NotFound:
                continue
            retired.update(self._inventory.packs if found is None else found.packs)
        return retired

    def _dead_sweeps(self) -> Iterator[ObjectInfo]:
        """Yield the markers of sweeps that have ended, and one surplus marker of finished sweeps."""
        yield from islice(self._store.list(SWEPT), 1, 2)  # a crash left two
        for info in list(self._store.list(SWEEPS)):
            try:
                sweep = read_note(self._store, info.key, parse_sweep)
            except NotFound:
                continue
            gone = sweep is not None and is_gone(sweep.owner)
            if gone or (info.modified is not None and self.now - info.modified > LASTS):
                yield info

    # sweeping

    def _remove_leftovers(self, report: GcReport, progress: Progress) -> None:
        for info in (*self.plan.leftovers, *self.plan.records):
            record = parse_record_key(info.key)
            if is_unfinished(info.key):  # in any folder
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

    def _remove_turns(self) -> None:
        """Delete expired turns, which are not part of the plan."""
        for info in list(self._store.list(TURNS)):
            if info.modified is not None and self.now - info.modified > _TURN:
                self._store.delete(info.key)

    def _rewrite_profiles(self, report: GcReport, progress: Progress) -> None:
        """Remove the profiles of files that no version has, at once: they can be made again."""
        living = self._needed.trees_by_dataset()
        for each in self.plan.profiles:
            try:
                self._repo.profiles.rewrite(each, living.get(each[1].dataset, ()), self._repo.blocks.load)
            except DataverError as error:
                report.problems.append((PROFILES, error.message))
                return
            report.profiles += 1
            progress.advance(1, 0)

    def _sweep(self, batch: list[ObjectInfo], report: GcReport, progress: Progress) -> None:
        key = sweep_key(os.urandom(16).hex())
        note = Sweep(keys=tuple(info.key for info in batch), owner=this_process())
        self._store.put(key, note.encode())
        try:
            watch = Stopwatch()
            needed = self._needed.mark_again()
            if batch[0].key.startswith(PACKS) and forked_until(self._store.list(PARTS), self.now):
                needed.update(info.key for info in batch)  # a draft was forked since the plan
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

    def _delete(self, going: list[ObjectInfo], watch: Stopwatch) -> Iterator[tuple[ObjectInfo, str | None]]:
        """Delete objects; yield each with its error, if any."""

        def check() -> None:
            if watch.seconds() > _LATEST:
                raise StoreError("the sweep was suspended too long; run gc again")

        for start in range(0, len(going), _TOGETHER):
            some = going[start : start + _TOGETHER]
            refused = self._store.delete_many([info.key for info in some], check=check)
            for info in some:
                error = refused.get(info.key)
                yield info, None if error is None else error.message


def _finish(store: Store, key: str) -> None:
    """Record the end of a sweep: put a new key before deleting the old ones, so that listings differ.

    Of two sweeps that end concurrently at least one leaves its key: each deletes only keys that it listed
    before it wrote its own, and they cannot both have listed the other's.
    """
    old = [info.key for info in store.list(SWEPT)]
    store.put(swept_key(os.urandom(16).hex()), b"{}")
    for each in (key, *old):
        store.delete(each)


def _batches(items: Iterable[ObjectInfo]) -> Iterator[list[ObjectInfo]]:
    source = iter(items)
    while batch := list(islice(source, _BATCH)):
        yield batch


def unfinished(store: Store) -> Iterator[ObjectInfo]:
    """Yield the unfinished files of a local store; other stores have none. Keys are relative paths."""
    root = store.local_root
    if root is None:
        return
    top = open_folder(os.path.realpath(root))
    try:
        for visit in walk_folders(top, failed=lambda _path, _error: None):
            for name in visit.others:
                if name.startswith(TEMPORARY):
                    try:
                        found = os.lstat(name, dir_fd=visit.fd)
                    except OSError:
                        continue  # it was just renamed
                    when = datetime.fromtimestamp(found.st_mtime, UTC)
                    yield ObjectInfo(f"{visit.path}/{name}".lstrip("/"), found.st_size, when)
    finally:
        os.close(top)


def is_unfinished(key: str) -> bool:
    """Return whether a path is of an unfinished file; no object has such a key."""
    return key.rpartition("/")[2].startswith(TEMPORARY)


def remove_unfinished(store: Store, key: str) -> None:
    """Remove an unfinished file, if it exists and permissions allow it."""
    root = store.local_root
    if root is not None and is_unfinished(key):
        with contextlib.suppress(OSError):
            (root / key).unlink()
