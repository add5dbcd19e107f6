"""The bytes that a wanted file shares with cached files, by the location of their chunks.

The idea: the extents of both files are mapped to intervals of each pack's raw stream (all its chunks in
order): where they overlap, the bytes are equal. Which cached extents can overlap a wanted one follows from
the frames of both. The pack's footer, which locates frames in the raw stream, is needed only then. If it is
not on this machine it costs a request, so it is read once the shared bytes of the pack are as many.

Does not verify: the digest of the whole file covers shared bytes (invariant 1).
"""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from dataver.checkout.range_plan import positions, raw_extents, raw_start
from dataver.errors import IntegrityError
from dataver.formats.entry import Extent
from dataver.repository.packs import footer_cost

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dataver.cache.stat_manifest import Block, BlockHead, LocatedExtents
    from dataver.checkout.cached_source import CachedSource, Look
    from dataver.checkout.transfer import LocalCopy
    from dataver.formats.pack import Footer
    from dataver.repository import RepositoryCore

__all__ = ["SharedSpans"]

_BLOCKS: Final = 16  # decoded blocks in memory, ~0.5 MB each


class _CachedBlock(NamedTuple):
    """A block of a cached folder's manifest."""

    source: CachedSource
    head: BlockHead


class _Overlap(NamedTuple):
    """The numbers of a block's extents that can overlap a wanted one."""

    cached: _CachedBlock
    located: LocatedExtents
    numbers: range


class _CachedFile(NamedTuple):
    """A file in a cached folder, with its stat values at verification."""

    source: CachedSource
    path: str
    look: Look


class _Held(NamedTuple):
    """An interval `[low, high)` of a pack's raw stream that a cached file has at `position`."""

    low: int
    high: int
    position: int
    file: _CachedFile


class _Wanted(NamedTuple):
    """An interval `[low, high)` of a pack's raw stream that is wanted at `position` of a file."""

    low: int
    high: int
    position: int


_Spans = dict[_CachedFile, list[tuple[int, int, int]]]


class SharedSpans:
    """Search for the chunks of files in cached files."""

    def __init__(self, repo: RepositoryCore) -> None:
        self._packs = repo.packs
        self._local = repo.store.local_root is not None
        self._by_pack: dict[bytes, list[_CachedBlock]] = defaultdict(list)
        self._extents: dict[_CachedBlock, LocatedExtents | None] = {}
        self._files: dict[tuple[_CachedBlock, int], _CachedFile | None] = {}
        self._rows = lru_cache(_BLOCKS)(_rows_of)
        self._forgone: dict[bytes, int] = defaultdict(int)  # by pack: bytes that were not worth a footer

    def add(self, source: CachedSource, head: BlockHead) -> None:
        """Add the large files of a block; those of blocks added before are preferred."""
        for pack in head.packs:
            self._by_pack[pack].append(_CachedBlock(source, head))

    def share(
        self, extents: Iterable[tuple[Extent, int]]
    ) -> tuple[list[LocalCopy], list[tuple[Extent, int]]]:
        """Return copies that provide a part of extents, and the remaining extents with their positions."""
        rest: list[tuple[Extent, int]] = []
        spans: _Spans = defaultdict(list)
        found = [(extent, position, self._candidates(extent)) for extent, position in extents]
        footers = self._footers([(extent, blocks) for extent, _, blocks in found if blocks])
        for extent, position, blocks in found:
            footer = footers.get(extent.pack) if blocks else None
            if footer is None:
                rest.append((extent, position))
            else:
                rest += self._share(extent, position, blocks, footer, spans)
        return [file.source.spans(file.path, file.look, found) for file, found in spans.items()], rest

    def _candidates(self, extent: Extent) -> list[_Overlap]:
        """Return the cached extents that can overlap one, by block."""
        found = []
        for cached in self._by_pack.get(extent.pack, ()):
            located = self._located(cached)
            if located is not None:
                stop = extent.offset + extent.stored
                numbers = located.overlapping(extent.pack, extent.offset, stop)
                if numbers:
                    found.append(_Overlap(cached, located, numbers))
        return found

    def _footers(self, found: Sequence[tuple[Extent, Sequence[_Overlap]]]) -> dict[bytes, Footer]:
        """Return the footers of packs with shared bytes that are known, or are worth a request."""
        ends: dict[bytes, int] = {}
        shared: dict[bytes, int] = defaultdict(int)
        for extent, blocks in found:
            known = (each.located.end(extent.pack) for each in blocks)
            ends[extent.pack] = max(ends.get(extent.pack, 0), extent.offset + extent.stored, *known)
            most = max(sum(each.located.lengths[n] for n in each.numbers) for each in blocks)
            shared[extent.pack] += min(extent.length, most)
        footers = {pack: self._packs.kept_footer(pack) for pack in ends}
        worth = []
        for pack, footer in footers.items():
            if footer is None:
                self._forgone[pack] += shared[pack]
                if self._local or self._forgone[pack] >= footer_cost(ends[pack]):
                    worth.append(pack)
        footers.update(self._packs.footers(worth, ends))
        return {pack: footer for pack, footer in footers.items() if footer is not None}

    def _share(
        self, extent: Extent, position: int, blocks: Sequence[_Overlap], footer: Footer, spans: _Spans
    ) -> Iterator[tuple[Extent, int]]:
        """Add the spans of one extent; yield what remains of it."""
        start = raw_start(footer, extent)
        wanted = [_Wanted(start, start + extent.length, position)]
        for each in blocks:
            wanted = list(_cut(wanted, self._held(each, extent.pack, footer), spans))
            if not wanted:
                return
        for low, high, place in wanted:
            yield from positions(raw_extents(footer, low, high - low), place)

    def _held(self, overlap: _Overlap, pack: bytes, footer: Footer) -> list[_Held]:
        """Return the intervals of extents whose files are unchanged, ascending and disjoint."""
        cached, located, numbers = overlap
        found = []
        for number in numbers:
            file = self._file(cached, located.rows[number])
            if file is not None:
                extent = Extent(pack, located.offsets[number], 0, located.skips[number], 0)
                try:
                    low = raw_start(footer, extent)
                except IntegrityError:
                    continue  # the cache is a hint
                found.append(_Held(low, low + located.lengths[number], located.positions[number], file))
        found.sort(key=lambda each: each[:3])
        disjoint: list[_Held] = []
        end = 0
        for low, high, position, file in found:
            if high > end:
                begin = max(low, end)
                disjoint.append(_Held(begin, high, position + begin - low, file))
                end = high
        return disjoint

    def _located(self, cached: _CachedBlock) -> LocatedExtents | None:
        if cached not in self._extents:
            self._extents[cached] = cached.source.extents(cached.head)
        return self._extents[cached]

    def _file(self, cached: _CachedBlock, row: int) -> _CachedFile | None:
        """Return a file, or None if it is not as it was verified."""
        if (cached, row) not in self._files:
            block, found = self._rows(cached), None
            if block is not None:
                look = block.kinds[row], block.sizes[row], block.mtimes[row]
                if cached.source.is_unchanged(block.paths[row], look):
                    found = _CachedFile(cached.source, block.paths[row], look)
            self._files[cached, row] = found
        return self._files[cached, row]


def _rows_of(cached: _CachedBlock) -> Block | None:
    return cached.source.block(cached.head)


def _cut(wanted: Iterable[_Wanted], held: Sequence[_Held], spans: _Spans) -> Iterator[_Wanted]:
    """Add the spans of intervals that others hold, both ascending and disjoint; yield the other parts."""
    number = 0
    for low, high, position in wanted:
        at = low
        while number < len(held) and held[number].low < high:
            start, end, place, file = held[number]
            begin, until = max(start, at), min(end, high)
            if begin < until:
                if at < begin:
                    yield _Wanted(at, begin, position + at - low)
                spans[file].append((place + begin - start, position + begin - low, until - begin))
                at = until
            if end > high:
                break  # the next wanted interval may begin in it
            number += 1
        if at < high:
            yield _Wanted(at, high, position + at - low)
