"""Plan of a fetch, without fetching.

The idea: the plan uses the same sources and the same planner of ranges as the fetch, so that bytes and
requests are equal. It reads tree blocks, and footers of packs if a long file must be split; both are cached,
and the fetch does not read them again.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataver.checkout.cached_files import CachedFiles
from dataver.checkout.local_sources import planned
from dataver.checkout.range_plan import WINDOW_ENTRIES, WINDOW_EXTENTS, WINDOW_FAR, WINDOW_NEAR, Range, plan
from dataver.checkout.selection import FILES, FetchRequest, survey
from dataver.checkout.working_copy import Existing
from dataver.machine.speeds import Rate, recent_rate
from dataver.short_repr import short_repr
from dataver.tree.selection import WHOLE, Selection

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from dataver.cache.version_cache import VersionCache
    from dataver.checkout.transfer import PlannedFile
    from dataver.formats.entry import Entry
    from dataver.repository import RepositoryCore

__all__ = ["FetchPlan", "plan_fetch"]


@dataclass(frozen=True)
class FetchPlan:
    """Plan of a fetch.

    Attributes:
        files: files of the version, or of the selection.
        size: their bytes.
        reused_files: complete files that are on this machine already.
        reused: bytes on this machine already, including parts of files.
        transferred: stored bytes to be read from the repository.
        requests: reads of packs.
        seconds: expected time; None if the speed is unknown.
        speed: the assumed bytes per second, and the origin of the number; None if unknown.
        differing: files in `dest` that differ, which the fetch replaces only with `overwrite`.
    """

    files: int
    size: int
    reused_files: int
    reused: int
    transferred: int
    requests: int
    seconds: float | None
    speed: Rate | None
    differing: int

    __repr__ = short_repr


def plan_fetch(
    repo: RepositoryCore,
    tree: bytes,
    *,
    cache: VersionCache,
    dest: Path | None = None,
    selection: Selection = WHOLE,
    near: Sequence[bytes] = (),
    measure: bool = True,
) -> FetchPlan:
    """Return the plan of a `fetch` with these arguments.

    Remains of an interrupted fetch are ignored: they can only reduce the work.

    Args:
        repo: the repository.
        tree: digest of the version's tree.
        cache: the machine's cached folders.
        dest: folder for a working copy.
        selection: the part of the version.
        near: digests of trees that share much with this one.
        measure: read one range to measure the speed, if none is recorded.

    Raises:
        PathNotFound: a pattern matches nothing.
    """
    wish = FetchRequest(repo, tree, selection)
    total = survey(wish, None)
    if dest is None and cache.lookup(tree, selection) is not None:
        return FetchPlan(total.files, total.size, total.files, total.size, 0, 0, 0.0, None, 0)
    with ExitStack() as stack:
        cached = CachedFiles(repo, cache, (tree, *near), link=False, full=False)
        scan = _Scan(wish, stack.enter_context(cached))
        if dest is not None and dest.is_dir():
            found = stack.enter_context(Existing(dest)).compare(wish.entries())
            scan.there, scan.differing = found.same, len(found.differing) + len(found.blocked)
        scan.run()
    speed = recent_rate(repo.local_name, "fetch") if scan.transferred else None
    if speed is None and measure and scan.largest is not None:
        speed = _measured(repo, scan.largest)
    return FetchPlan(
        total.files,
        total.size,
        scan.files,
        scan.reused,
        scan.transferred,
        scan.requests,
        0.0 if not scan.transferred else scan.transferred / speed.speed if speed else None,
        speed,
        scan.differing,
    )


class _Scan:
    """One pass over the wanted entries."""

    def __init__(self, wish: FetchRequest, cached: CachedFiles) -> None:
        self._wish = wish
        self._cached = cached
        self.there: bytearray | None = None  # by entry: 1 if `dest` has it
        self.differing = 0
        self.files = self.reused = self.transferred = self.requests = 0
        self.largest: Range | None = None

    def run(self) -> None:
        """Count the files in the batches in which the fetch plans them."""
        most = WINDOW_FAR if self._wish.repo.store.local_root is None else WINDOW_NEAR
        window: list[PlannedFile] = []
        extents = size = 0
        for entry in self._missing():
            window.append(planned(entry, [self._cached]))
            self.reused += window[-1].target.reused
            extents += len(entry.extents)
            size += entry.size
            if len(window) >= WINDOW_ENTRIES or extents >= WINDOW_EXTENTS or size >= most:
                self._count(window)
                window, extents, size = [], 0, 0
        self._count(window)

    def _missing(self) -> Iterator[Entry]:
        """Yield the files that are not on this machine."""
        at = -1
        for rows, numbers in self._cached.look_up(self._wish.parts()):
            for number in numbers:
                at += 1
                if rows.kinds[number] not in FILES:
                    continue
                if self.there and self.there[at]:
                    pass
                elif rows.sizes[number] and not self._cached.holds(rows, number):
                    yield rows.entry(number)
                    continue
                elif not rows.sizes[number]:
                    continue
                self.files += 1
                self.reused += rows.sizes[number]

    def _count(self, window: list[PlannedFile]) -> None:
        ranges = plan(((one.target, one.extents) for one in window), self._wish.repo.packs.footers)
        self.requests += len(ranges)
        self.transferred += sum(one.length for one in ranges)
        largest = max(ranges, key=lambda one: one.length, default=None)
        if largest is not None and (self.largest is None or largest.length > self.largest.length):
            self.largest = largest


def _measured(repo: RepositoryCore, one: Range) -> Rate:
    """Read one range and return its speed."""
    began = time.perf_counter()
    size = len(repo.packs.read(one.pack, one.offset, one.length))
    took = max(time.perf_counter() - began, 1 / os.sysconf("SC_CLK_TCK") / 1000)
    return Rate(size / took, f"one read of {size / 1e6:.1f} MB just now; a fetch has several at once")
