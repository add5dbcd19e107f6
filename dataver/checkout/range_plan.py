"""Planning reads: the extents of files become few, large, ordered ranges of packs.

The idea: files are planned a *window* at a time. Their extents are sorted by place, adjacent ones are read in
one range even across a small gap, and longer ones are split between frames. So a folder of tiny files is read
like one file, each frame is fetched once per window, and memory does not grow with the dataset.

A *piece* is one extent's part of one file. Every range holds whole pieces; a piece's frames are adjacent.
Does no I/O itself (footers, needed only to split, come from the caller) and trusts no extent:
`dataver.checkout.frames` detects those that do not fit their frames.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dataver.errors import IntegrityError
from dataver.formats.entry import Extent, Kind
from dataver.hashing.digest import new_hasher
from dataver.repository.frame_reader import MAX_RANGE, max_gap

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from dataver.formats.entry import Entry
    from dataver.formats.pack import Footer

__all__ = [
    "WINDOW_ENTRIES",
    "WINDOW_EXTENTS",
    "WINDOW_FAR",
    "WINDOW_NEAR",
    "FetchedFile",
    "FramePart",
    "Range",
    "plan",
    "positions",
    "raw_extents",
    "raw_start",
    "split_extent",
]

WINDOW_ENTRIES: Final = 20_000
WINDOW_EXTENTS: Final = 60_000  # ~20 MB of Python objects
WINDOW_NEAR: Final = 16 * 1024 * 1024  # bytes of files: the next window is planned while these are read
WINDOW_FAR: Final = 1 << 62  # any other store gets as few requests as possible
MAX_RANGE_RAW: Final = 16 * 1024 * 1024  # bytes of file content that one range may produce
_FOOTERS: Final = 32  # footers read in parallel, ~0.2 MB each
_SPARSE: Final = 256  # ratio of file bytes to stored bytes above which a file consists nearly of holes
MAX_WHOLE: Final = 4 * 1024 * 1024  # files up to this size are assembled in memory


class FetchedFile:
    """A file being fetched: its expected content, and the parts that have arrived.

    Attributes:
        path: its path in the version.
        executable: the executable bit.
        size: bytes.
        digest: BLAKE3-256 of them.
        extents: their locations.
        whole: one range holds all of it, so it is assembled in memory and written at once.
        parts: the arrived pieces of a whole file with several pieces.
        landed: the spans of any other file that are written and not yet hashed.
        reused: bytes copied from local files, unverified until the whole file is.
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
    def of(cls, entry: Entry) -> FetchedFile:
        """Return the target for the file of an entry."""
        return cls(entry.path, entry.kind == Kind.EXECUTABLE, entry.size, entry.digest, entry.extents)

    def spread(self) -> None:
        """Prepare for pieces that arrive in any order, from several threads."""
        self.whole = False
        self.landed = {}
        self.frontier = 0
        self.hashing = False
        # holes are hashed on several cores; files that are read and decoded need the other cores
        self.hasher = new_hasher(parallel=_SPARSE * sum(each.stored for each in self.extents) < self.size)
        self.lock = threading.Lock()

    # for a spread file: the holder of `hashing` advances the frontier, others append their spans to `landed`

    def hand_over(self, spans: Iterable[tuple[int, int]]) -> bool:
        """Record written spans; return whether the caller must hash adjacent ones."""
        assert self.lock is not None
        assert self.landed is not None
        with self.lock:
            self.landed.update(spans)
            begins = not self.hashing
            self.hashing = True
            return begins

    def next_span(self) -> int:
        """Return the length of the span at the frontier; for the hashing thread."""
        assert self.lock is not None
        assert self.landed is not None
        with self.lock:
            return self.landed.pop(self.frontier)

    def release(self) -> bool | None:
        """End the hashing; return whether all of the file is hashed: True for only one caller.

        None if there is another span at the frontier: then the hashing must continue.
        """
        assert self.lock is not None
        assert self.landed is not None
        with self.lock:
            if self.frontier in self.landed:
                return None
            self.hashing = False
            return self.frontier == self.size


class FramePart(NamedTuple):
    """`length` bytes at `skip` bytes into the frames stored at `[offset, offset + stored)` of a pack.

    They belong at byte `position` of the target.
    """

    offset: int
    stored: int
    skip: int
    length: int
    target: FetchedFile
    position: int


class Range(NamedTuple):
    """One read: bytes of a pack, and the pieces in them by ascending offset.

    Attributes:
        pack: the pack's id.
        offset: first byte.
        length: bytes.
        pieces: the pieces in the range.
        raw: bytes of whole files among the pieces, in memory until they are written.
    """

    pack: bytes
    offset: int
    length: int
    pieces: list[FramePart]
    raw: int


def plan(
    wanted: Iterable[tuple[FetchedFile, Iterable[tuple[Extent, int]]]],
    footers: Callable[[Collection[bytes]], Mapping[bytes, Footer]],
) -> list[Range]:
    """Return the ranges that contain the wanted extents, each with the position of its bytes in the target.

    Sets `whole` of every small target whose pieces are all in one range. Reads footers, several at a time, of
    packs with extents longer than a range.
    """
    packs: dict[bytes, list[FramePart]] = {}
    long: list[tuple[FetchedFile, Extent, int]] = []
    for target, extents in wanted:
        for extent, position in extents:
            pieces = packs.setdefault(extent.pack, [])
            if extent.stored > MAX_RANGE:
                long.append((target, extent, position))
                continue
            pieces.append(
                FramePart(extent.offset, extent.stored, extent.skip, extent.length, target, position)
            )
    for start in range(0, len(long), _FOOTERS):
        some = long[start : start + _FOOTERS]
        found = footers({extent.pack for _, extent, _ in some})
        for target, extent, position in some:
            parts = split_extent(extent, found[extent.pack])
            packs[extent.pack] += (
                FramePart(part.offset, part.stored, part.skip, part.length, target, at)
                for part, at in positions(parts, position)
            )
    ranges: list[Range] = []
    homes: dict[FetchedFile, int] = {}
    for pack, pieces in packs.items():
        pieces.sort(key=attrgetter("offset", "position"))
        for one in _coalesce(pack, pieces):
            _assign_range(one, len(ranges), homes)
            ranges.append(one)
    return [one._replace(raw=sum(p.length for p in one.pieces if p.target.whole)) for one in ranges]


def _assign_range(one: Range, number: int, homes: dict[FetchedFile, int]) -> None:
    for piece in one.pieces:
        target = piece.target
        if target.whole and (target.size > MAX_WHOLE or homes.setdefault(target, number) != number):
            target.spread()


def _coalesce(pack: bytes, pieces: list[FramePart]) -> Iterator[Range]:
    """Yield ranges over pieces sorted by offset."""
    start, end, raw = pieces[0].offset, 0, 0
    gap = max_gap(pack)
    held: list[FramePart] = []
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


def split_extent(extent: Extent, footer: Footer) -> Iterator[Extent]:
    """Yield extents that together contain the bytes of `extent`, as `raw_extents` does."""
    return raw_extents(footer, raw_start(footer, extent), extent.length)


def raw_extents(footer: Footer, start: int, length: int) -> Iterator[Extent]:
    """Yield extents for `length` bytes from `start` of a pack's raw stream, all its chunks in order.

    Each has at most `MAX_RANGE` stored bytes, unless a single frame has more.
    """
    end = start + length
    if end > footer.raw_starts[-1]:
        raise IntegrityError(f"pack {footer.pack_id.hex()} holds fewer bytes than a tree block says")
    while start < end:
        first = last = bisect_right(footer.raw_starts, start) - 1
        offset = footer.frame_offsets[first]
        while footer.raw_starts[last + 1] < end and footer.frame_offsets[last + 2] - offset <= MAX_RANGE:
            last += 1
        until = min(end, footer.raw_starts[last + 1])
        stored = footer.frame_offsets[last + 1] - offset
        yield Extent(footer.pack_id, offset, stored, start - footer.raw_starts[first], until - start)
        start = until


def raw_start(footer: Footer, extent: Extent) -> int:
    """Return the position of an extent's bytes in its pack's raw stream."""
    return footer.raw_starts[footer.frame_at(extent.offset)] + extent.skip


def positions(extents: Iterable[Extent], position: int = 0) -> Iterator[tuple[Extent, int]]:
    """Yield each extent of a file with its position in the file, starting at `position`."""
    for extent in extents:
        yield extent, position
        position += extent.length
