"""What a fetch would move, found out as the fetch finds it out, and nothing moved.

One idea: the same questions to the same sources, and the same planner of ranges, so that bytes and requests
are those of the fetch that follows. Tree blocks are read for it, and footers of packs where a long file has
to be split; both are kept, and the fetch does not read them again.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataver.checkout.own_copy import Existing
from dataver.checkout.plan import (
    WINDOW_ENTRIES,
    WINDOW_EXTENTS,
    WINDOW_FAR,
    WINDOW_NEAR,
    Range,
    Target,
    plan,
    positions,
)
from dataver.checkout.reuse import Cached
from dataver.checkout.transfer import Wanted
from dataver.checkout.wish import FILES, Wish, survey
from dataver.errors import IntegrityError
from dataver.repository.rates import Rate, recall

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from dataver.checkout.version_cache import VersionCache
    from dataver.formats.entry import Entry
    from dataver.repository import Repository
    from dataver.tree.shard import Shard

__all__ = ["FetchPlan", "plan_fetch"]


@dataclass(frozen=True)
class FetchPlan:
    """What a fetch would do.

    Attributes:
        files: files of the version, or of what is selected.
        size: bytes of them.
        reused_files: files that are on this machine already as a whole.
        reused: bytes that are, parts of files included.
        transferred: stored bytes to be read from the repository.
        requests: reads of packs.
        seconds: expected time; None where the speed is not known.
        speed: bytes a second that this is reckoned with, and where the number is from; None likewise.
        differing: files in `dest` that differ, which the fetch refuses to replace unless told to.
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


def plan_fetch(
    repo: Repository,
    tree: bytes,
    *,
    cache: VersionCache,
    dest: Path | None = None,
    patterns: Sequence[str] | None = None,
    shard: Shard | None = None,
    near: Sequence[bytes] = (),
    measure: bool = True,
) -> FetchPlan:
    """Return what `fetch` would do; its arguments are `fetch`'s.

    What an interrupted fetch left is not looked at: it can only make less of it.

    Args:
        repo: the repository.
        tree: digest of the version's tree.
        cache: the machine's cached folders.
        dest: folder for an own copy.
        patterns: globs; None takes everything.
        shard: of what they select, the part of some of several readers.
        near: digests of trees that share much with this one.
        measure: read one range where no speed is remembered, to know one.

    Raises:
        PathNotFound: the globs select nothing.
    """
    wish = Wish(repo, tree, tuple(patterns or ()), shard)
    total = survey(wish, None)
    if dest is None and cache.lookup(tree, wish.patterns, shard) is not None:
        return FetchPlan(total.files, total.size, total.files, total.size, 0, 0, 0.0, None, 0)
    with ExitStack() as stack:
        scan = _Scan(wish, _sources(stack, wish, cache, near))
        if dest is not None and dest.is_dir():
            found = stack.enter_context(Existing(dest)).compare(wish.entries())
            scan.there, scan.differing = found.same, len(found.differing) + len(found.blocked)
        scan.run()
    speed = recall(repo.id, "fetch") if scan.transferred else None
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


def _sources(stack: ExitStack, wish: Wish, cache: VersionCache, near: Sequence[bytes]) -> list[Cached]:
    found = []
    for tree in dict.fromkeys((wish.tree, *near)):
        for folder in cache.of_tree(tree):
            try:
                source = Cached(wish.repo, wish.tree, folder, link=False, full=False)
            except (OSError, IntegrityError):
                continue
            stack.callback(source.close)
            found.append(source)
    return found


class _Scan:
    """One pass over what is wanted."""

    def __init__(self, wish: Wish, sources: Sequence[Cached]) -> None:
        self._wish = wish
        self._sources = sources
        self.there: bytearray | None = None  # by entry: 1 where `dest` has it
        self.differing = 0
        self.files = self.reused = self.transferred = self.requests = 0
        self.largest: Range | None = None

    def run(self) -> None:
        """Count it, as many files at a time as the fetch plans together."""
        most = WINDOW_FAR if self._wish.repo.store.local_root is None else WINDOW_NEAR
        window: list[Wanted] = []
        extents = size = 0
        for entry in self._missing():
            window.append(self._wanted(entry))
            extents += len(entry.extents)
            size += entry.size
            if len(window) >= WINDOW_ENTRIES or extents >= WINDOW_EXTENTS or size >= most:
                self._count(window)
                window, extents, size = [], 0, 0
        self._count(window)

    def _missing(self) -> Iterator[Entry]:
        """Yield the files that are not here as they are wanted."""
        at = -1
        for rows, numbers in self._wish.parts():
            for number in numbers:
                at += 1
                if rows.kinds[number] not in FILES:
                    continue
                if self.there and self.there[at]:
                    pass
                elif rows.sizes[number] and not any(one.holds(rows, number) for one in self._sources):
                    yield rows.entry(number)
                    continue
                elif not rows.sizes[number]:
                    continue
                self.files += 1
                self.reused += rows.sizes[number]

    def _wanted(self, entry: Entry) -> Wanted:
        target = Target.of(entry)
        for source in self._sources:
            shared = source.share(entry, target)
            if shared is not None:
                self.reused += target.reused
                return shared
        return Wanted(target, positions(entry.extents))

    def _count(self, window: list[Wanted]) -> None:
        ranges = plan(((one.target, one.extents) for one in window), self._wish.repo.packs.footers)
        self.requests += len(ranges)
        self.transferred += sum(one.length for one in ranges)
        largest = max(ranges, key=lambda one: one.length, default=None)
        if largest is not None and (self.largest is None or largest.length > self.largest.length):
            self.largest = largest


def _measured(repo: Repository, one: Range) -> Rate:
    """Read one range and say how fast it came."""
    began = time.perf_counter()
    size = len(repo.packs.read(one.pack, one.offset, one.length))
    took = max(time.perf_counter() - began, 1 / os.sysconf("SC_CLK_TCK") / 1000)
    return Rate(size / took, f"one read of {size / 1e6:.1f} MB just now; a fetch has several at once")
