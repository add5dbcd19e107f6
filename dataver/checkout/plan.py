"""Which bytes of which packs give which files: extents become few, large, ordered ranges.

The idea: files are planned a *window* at a time. Their extents are sorted by place, neighbours are read in
one range even across a small gap, and what is longer than a range is split between frames. So a folder of
tiny files is read like one file, each frame is fetched once a window, and memory does not grow with the
dataset.

A *piece* is one extent's share of one file. Every range holds whole pieces; a piece's frames are adjacent.
Does no I/O itself (footers, needed only to split, come from the caller) and trusts no extent: what does not
fit its frames is noticed in `dataver.checkout.frames`.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dataver.formats.entry import Kind, is_external

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from dataver.formats.entry import Entry, Extent
    from dataver.formats.pack import Footer

__all__ = [
    "MAX_RANGE",
    "WINDOW_ENTRIES",
    "WINDOW_EXTENTS",
    "WINDOW_FAR",
    "WINDOW_NEAR",
    "Piece",
    "Range",
    "Target",
    "plan",
    "positions",
    "raw_extents",
    "raw_start",
    "split_extent",
]

WINDOW_ENTRIES: Final = 20_000
WINDOW_EXTENTS: Final = 60_000  # ~20 MB of Python objects
WINDOW_NEAR: Final = 16 * 1024 * 1024  # bytes of files: the next is planned while these are read
WINDOW_FAR: Final = 1 << 62  # any other is asked for as few ranges as can be
MAX_GAP: Final = 256 * 1024  # reading this much for nothing costs less than another request
MAX_RANGE: Final = 8 * 1024 * 1024  # stored bytes of one read
MAX_RANGE_RAW: Final = 16 * 1024 * 1024  # bytes of files whose content one range may make at once
_FOOTERS: Final = 32  # asked for side by side, ~0.2 MB each
MAX_WHOLE: Final = 4 * 1024 * 1024  # files up to this size are put together in memory


class Target:
    """A file on its way: what it must become, and what of it has arrived.

    Attributes:
        path: its path in the version.
        executable: the executable bit.
        size: bytes.
        digest: BLAKE3-256 of them.
        extents: where they are stored.
        whole: all of it comes out of one range, so it is put together in memory and written in one go.
        parts: of a whole file in several pieces, what has arrived.
        landed: of any other file, the spans written and not yet hashed.
        reused: local bytes that were taken from elsewhere, unchecked until the whole file is.
    """

    __slots__ = (
        "digest", "executable", "extents", "frontier", "hasher", "hashing", "landed", "left", "lock", "parts",
        "path", "reused", "size", "whole",
    )  # fmt: skip

    def __init__(
        self, path: str, executable: bool, size: int, digest: bytes, extents: tuple[Extent, ...]
    ) -> None:
        self.path = path
        self.executable = executable
        self.size = size
        self.digest = digest
        self.extents = extents
        self.whole = True
        self.left = size
        self.parts: list[tuple[int, bytes | memoryview]] | None = None
        self.reused = 0
        self.landed: dict[int, int] | None = None
        self.frontier = 0
        self.hashing = False
        self.hasher: Any = None
        self.lock: threading.Lock | None = None

    @classmethod
    def of(cls, entry: Entry) -> Target:
        """Return the target for the file of an entry."""
        return cls(entry.path, entry.kind == Kind.EXECUTABLE, entry.size, entry.digest, entry.extents)

    def spread(self) -> None:
        """Make ready for arriving in any order, from several threads, into a file."""
        from dataver.hashing.digest import new_hasher

        self.whole = False
        self.landed = {}
        self.frontier = 0
        self.hashing = False
        self.hasher = new_hasher()
        self.lock = threading.Lock()

    # of a spread file: whoever holds `hashing` moves the frontier, the others leave their spans in `landed`

    def hand_over(self, spans: Iterable[tuple[int, int]]) -> bool:
        """Leave spans that were written; tell whether the caller is to hash what is adjacent."""
        assert self.lock is not None
        assert self.landed is not None
        with self.lock:
            self.landed.update(spans)
            begins = not self.hashing
            self.hashing = True
            return begins

    def next_span(self) -> int:
        """Return the length of the span at the frontier; for who hashes, when `release` said there is one."""
        assert self.lock is not None
        assert self.landed is not None
        with self.lock:
            return self.landed.pop(self.frontier)

    def release(self) -> bool | None:
        """End the hashing; tell whether all of the file is hashed, which only one caller is ever told.

        None where there is more at the frontier: then the hashing goes on.
        """
        assert self.lock is not None
        assert self.landed is not None
        with self.lock:
            if self.frontier in self.landed:
                return None
            self.hashing = False
            return self.frontier == self.size


class Piece(NamedTuple):
    """`length` bytes that lie `skip` bytes into the frames stored at `[offset, offset + stored)` of a pack.

    They belong at byte `position` of the target.
    """

    offset: int
    stored: int
    skip: int
    length: int
    target: Target
    position: int


class Range(NamedTuple):
    """One read: bytes of a pack, and the pieces in them by ascending offset.

    Attributes:
        pack: the pack's id.
        offset: first byte.
        length: bytes.
        pieces: what is in them.
        raw: bytes of whole files among the pieces, which are in memory until they are written.
    """

    pack: bytes
    offset: int
    length: int
    pieces: list[Piece]
    raw: int


def plan(
    wanted: Iterable[tuple[Target, Iterable[tuple[Extent, int]]]],
    footers: Callable[[Collection[bytes]], Mapping[bytes, Footer]],
) -> list[Range]:
    """Return the ranges that give the wanted extents, each with the position of its bytes in the target.

    Sets `whole` of every target whose pieces all lie in one range and that is small enough. Footers are asked
    for some packs at a time, those whose extents are longer than a range.
    """
    packs: dict[bytes, list[Piece]] = {}
    long: list[tuple[Target, Extent, int]] = []
    for target, extents in wanted:
        for extent, position in extents:
            pieces = packs.setdefault(extent.pack, [])
            if extent.stored > MAX_RANGE:
                long.append((target, extent, position))
                continue
            pieces.append(Piece(extent.offset, extent.stored, extent.skip, extent.length, target, position))
    for start in range(0, len(long), _FOOTERS):
        some = long[start : start + _FOOTERS]
        found = footers({extent.pack for _, extent, _ in some})
        for target, extent, position in some:
            parts = split_extent(extent, found[extent.pack])
            packs[extent.pack] += (
                Piece(part.offset, part.stored, part.skip, part.length, target, at)
                for part, at in positions(parts, position)
            )
    ranges: list[Range] = []
    homes: dict[Target, int] = {}
    for pack, pieces in packs.items():
        pieces.sort(key=attrgetter("offset", "position"))
        for one in _coalesce(pack, pieces):
            _settle(one, len(ranges), homes)
            ranges.append(one)
    return [one._replace(raw=sum(p.length for p in one.pieces if p.target.whole)) for one in ranges]


def _settle(one: Range, number: int, homes: dict[Target, int]) -> None:
    for piece in one.pieces:
        target = piece.target
        if target.whole and (target.size > MAX_WHOLE or homes.setdefault(target, number) != number):
            target.spread()


def _coalesce(pack: bytes, pieces: list[Piece]) -> Iterator[Range]:
    """Yield ranges over pieces sorted by offset."""
    start, end, raw = pieces[0].offset, 0, 0
    gap = 0 if is_external(pack) else MAX_GAP  # what lies between may be another object, and gone
    held: list[Piece] = []
    for piece in pieces:
        behind = max(end, piece.offset + piece.stored)
        if held and (
            piece.offset > end + gap
            or behind - start > MAX_RANGE
            or (raw + piece.length > MAX_RANGE_RAW and piece.offset != held[-1].offset)
            or raw > 4 * MAX_RANGE_RAW
        ):
            yield Range(pack, start, end - start, held, 0)
            held, start, raw = [], piece.offset, 0
            behind = piece.offset + piece.stored
        held.append(piece)
        end = behind
        raw += piece.length
    if held:
        yield Range(pack, start, end - start, held, 0)


def split_extent(extent: Extent, footer: Footer, limit: int = MAX_RANGE) -> Iterator[Extent]:
    """Yield extents that together give the bytes of `extent`, each of at most `limit` stored bytes.

    One frame is never split, so a frame larger than `limit` is an extent of its own.
    """
    first = raw_start(footer, extent)
    return raw_extents(footer, first, extent.length, limit)


def raw_extents(footer: Footer, start: int, length: int, limit: int = MAX_RANGE) -> Iterator[Extent]:
    """Yield extents for `length` bytes from `start` of a pack's raw stream, all its chunks in a row."""
    from dataver.errors import IntegrityError
    from dataver.formats.entry import Extent

    end = start + length
    if end > footer.raw_starts[-1]:
        raise IntegrityError(f"pack {footer.pack_id.hex()} holds fewer bytes than a tree block says")
    while start < end:
        first = last = bisect_right(footer.raw_starts, start) - 1
        offset = footer.frame_offsets[first]
        while footer.raw_starts[last + 1] < end and footer.frame_offsets[last + 2] - offset <= limit:
            last += 1
        until = min(end, footer.raw_starts[last + 1])
        stored = footer.frame_offsets[last + 1] - offset
        yield Extent(footer.pack_id, offset, stored, start - footer.raw_starts[first], until - start)
        start = until


def raw_start(footer: Footer, extent: Extent) -> int:
    """Return where an extent's bytes begin in its pack's raw stream."""
    return footer.raw_starts[footer.frame_at(extent.offset)] + extent.skip


def positions(extents: Iterable[Extent], position: int = 0) -> Iterator[tuple[Extent, int]]:
    """Yield each extent of a file with the position of its bytes in the file, the first one's being given."""
    for extent in extents:
        yield extent, position
        position += extent.length
