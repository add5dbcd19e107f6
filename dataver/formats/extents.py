"""The layout part of a leaf: the locations of its files' bytes, as flat little-endian columns.

    offset | size   | field        | meaning
    0      | 4      | packs P      | number of packs
    4      | 32*P   | pack ids     | each once, in order of first use
           | 4      | extents E    | number of extents
           | 4*F    | counts       | extents of each file of the leaf, in order
           | 4*E    | pack         | number of the extent's pack
           | 4*E    | offset       | of its first frame in the pack's object
           | 4*E    | stored       | bytes of its frames, headers included
           | 4*E    | skip         | raw bytes to skip, less the end (skip + length) of the extent before
                                     if that has the same pack and offset, modulo 2**32
           | 4*(E-N)| length       | raw bytes, without the last extent of each of the N files that have any:
                                     that follows from the file's size

If some packs are external (`dataver.formats.external`), bit 31 of the first number is set and a u32 follows
it: the number of external packs, which come last. The block's flags state this, too.

A leaf without files has no layout. Tiny files that share frames, in order, take almost no space once
compressed. The tree's digest does not cover these bytes: the bytes they locate are checked against the file's
digest (invariant 1). Counts are bounded by the size of the input before anything is allocated.
"""

import struct
from collections.abc import Callable, Sequence
from itertools import accumulate, compress, count, pairwise
from operator import add, eq, ne
from typing import Final, NamedTuple

from dataver.errors import IntegrityError, InvalidInput
from dataver.formats.entry import Entry, Extent, external_id, is_external

__all__ = ["MAX_EXTENTS", "Layout", "encode_layout", "names_external", "parse_layout"]

MAX_EXTENTS: Final = 1 << 21  # of a leaf: for a terabyte file, one every 512 KiB
_SHORTEST: Final = 64  # bytes of the shortest chunk that is not the last of a file
_FREE: Final = 64  # extents of a leaf beyond one a file and one every _SHORTEST bytes
_MASK: Final = 0xFFFFFFFF
_LIMIT: Final = 1 << 32
_EXTERNAL: Final = 1 << 31
_SIZES: Final = (32, 33)  # bytes of a pack's id, and of an external pack's


class Layout(NamedTuple):
    """The parsed columns, one value per extent; file `f` has the extents `starts[f]` to `starts[f + 1]`."""

    packs: list[bytes]
    starts: list[int]
    owners: Sequence[int]
    offsets: Sequence[int]
    stored: Sequence[int]
    skips: Sequence[int]
    lengths: Sequence[int]

    @property
    def outside(self) -> bool:
        """Whether the layout names external packs."""
        return bool(self.packs) and is_external(self.packs[-1])

    def extents(self, file: int) -> tuple[Extent, ...]:
        """Return the extents of one file."""
        start, stop = self.starts[file], self.starts[file + 1]
        packs, owners = self.packs, self.owners
        if stop - start == 1:  # the most frequent case
            return (
                Extent(
                    packs[owners[start]],
                    self.offsets[start],
                    self.stored[start],
                    self.skips[start],
                    self.lengths[start],
                ),
            )
        return tuple(
            Extent(packs[owners[i]], self.offsets[i], self.stored[i], self.skips[i], self.lengths[i])
            for i in range(start, stop)
        )


def encode_layout(files: Sequence[Entry]) -> bytes:
    """Return the layout of a leaf's files.

    Raises:
        InvalidInput: extents that do not add up to their file's size, or out of range.
    """
    if not files:
        return b""
    packs: dict[bytes, int] = {}
    counts, owners, offsets, stored, skips, lengths = [], [], [], [], [], []
    last, end = (b"", -1), 0
    for entry in files:
        total = 0
        for pack, offset, size, skip, length in entry.extents:
            owners.append(packs.setdefault(pack, len(packs)))
            offsets.append(offset)
            stored.append(size)
            skips.append((skip - end) & _MASK if (pack, offset) == last else skip)
            lengths.append(length)
            last, end = (pack, offset), skip + length
            total += length
            if not (length > 0 < size and end < _LIMIT and offset + size < _LIMIT and len(pack) in _SIZES):
                raise InvalidInput(f"an extent of '{entry.path}' is out of range.")
        if total != entry.size:
            raise InvalidInput(f"the extents of '{entry.path}' have {total} bytes and the file {entry.size}.")
        counts.append(len(entry.extents))
        if entry.extents:
            lengths.pop()
    most = _most([entry.size for entry in files])
    if len(owners) > most:
        raise InvalidInput(f"a tree block would have {len(owners)} extents; the limit is {most}.")
    names, head = list(packs), [len(packs)]
    outside = sum(map(is_external, names))
    if outside:
        names.sort(key=is_external)  # keeps the order of first use otherwise
        places = {pack: number for number, pack in enumerate(names)}
        moved = [places[pack] for pack in packs]
        owners = [moved[owner] for owner in owners]
        head = [len(packs) | _EXTERNAL, outside]
    try:
        columns = [_pack(column) for column in (counts, owners, offsets, stored, skips, lengths)]
    except struct.error as error:
        raise InvalidInput("an extent is out of range.") from error
    return b"".join([_pack(head), *(pack[-32:] for pack in names), _pack([len(owners)]), *columns])


def _most(sizes: Sequence[int]) -> int:
    """Return how many extents files of these sizes may have, so that reading costs what their bytes do."""
    return min(MAX_EXTENTS, sum(sizes) // _SHORTEST + len(sizes) + _FREE)


def names_external(layout: bytes) -> bool:
    """Return whether the layout part of a leaf names external packs."""
    return len(layout) > 3 and layout[3] >= _EXTERNAL >> 24


def parse_layout(raw: bytes, sizes: Sequence[int]) -> Layout:
    """Return the layout of the files with these sizes.

    Raises:
        IntegrityError: the bytes are not a layout of such files.
    """
    if not raw and not sizes:
        return Layout([], [0], (), (), (), (), ())
    if len(raw) < 8:
        raise _bad("is too short")
    pack_count, outside, first = int.from_bytes(raw[:4], "little"), 0, 4
    if pack_count >= _EXTERNAL:
        pack_count, outside, first = pack_count - _EXTERNAL, int.from_bytes(raw[4:8], "little"), 8
        if not 0 < outside <= pack_count:
            raise _bad("has another number of external packs than it states")
    start = first + 32 * pack_count
    if len(raw) < start + 4:
        raise _bad("is too short for its packs")
    packs = [raw[i : i + 32] for i in range(first, start, 32)]
    if outside:
        packs[-outside:] = map(external_id, packs[-outside:])
    extent_count = int.from_bytes(raw[start : start + 4], "little")
    most = _most(sizes)
    if extent_count > most:
        raise _bad(f"has {extent_count} extents; the limit is {most} for files of {sum(sizes)} bytes")
    filled = len(sizes) - sizes.count(0)
    if len(raw) != start + 4 + 4 * (len(sizes) + 5 * extent_count - filled) or extent_count < filled:
        raise _bad("has a size that does not match its counts")
    take = _taker(raw, start + 4)
    counts = take(len(sizes))
    owners, offsets, stored, residuals = (take(extent_count) for _ in range(4))
    starts = [0, *accumulate(counts)]
    if starts[-1] != extent_count or not all(map(eq, map(bool, counts), map(bool, sizes))):
        raise _bad("has files without their extents")
    if len(set(packs)) != pack_count or (owners and max(owners) >= pack_count):
        raise _bad("names a pack twice or one that does not exist")
    lengths = _all_lengths(counts, sizes, take(extent_count - filled))
    if not all(stored) or max(map(add, offsets, stored), default=0) >= _LIMIT:
        raise _bad("has an extent out of range")
    skips = _all_skips(owners, offsets, residuals, lengths)
    return Layout(packs, starts, owners, offsets, stored, skips, lengths)


def _all_lengths(counts: Sequence[int], sizes: Sequence[int], given: Sequence[int]) -> list[int]:
    """Return the lengths of all extents: each file's last one is the rest of its size."""
    if not given:
        lengths = [size for size in sizes if size]  # each file has one extent
        if max(lengths, default=0) >= _LIMIT:
            raise _bad("has extents that do not add up to their file")
        return lengths
    lengths = []
    position = 0
    for number, size in zip(counts, sizes, strict=True):
        if number == 0:
            continue
        if number > 1:
            some = given[position : position + number - 1]
            position += number - 1
            if not all(some):
                raise _bad("has an empty extent")
            lengths += some
            size -= sum(some)  # noqa: PLW2901  # the rest
        if not 0 < size < _LIMIT:
            raise _bad("has extents that do not add up to their file")
        lengths.append(size)
    return lengths


def _all_skips(
    owners: Sequence[int], offsets: Sequence[int], residuals: Sequence[int], lengths: Sequence[int]
) -> list[int]:
    """Return the skips of all extents; consecutive extents of one pack and offset continue each other."""
    ends = map(ne, zip(owners, offsets, strict=True), zip(owners[1:], offsets[1:], strict=True))
    skips: list[int] = []
    for start, stop in pairwise((0, *compress(count(1), ends), len(lengths))):
        if stop - start > 2 and not any(residuals[start + 1 : stop]):  # adjacent in their frame
            run = list(accumulate(lengths[start:stop], initial=residuals[start]))
            if run.pop() >= _LIMIT:
                raise _bad("has an extent out of range")
            skips += run
            continue
        end = 0
        for residual, length in zip(residuals[start:stop], lengths[start:stop], strict=True):
            skip = (residual + end) & _MASK
            skips.append(skip)
            end = skip + length
            if end >= _LIMIT:
                raise _bad("has an extent out of range")
    return skips


def _pack(column: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(column)}I", *column)


def _taker(raw: bytes, position: int) -> Callable[[int], tuple[int, ...]]:
    """Return a function that reads the next column of u32; the caller has checked that all columns exist."""

    def take(count: int) -> tuple[int, ...]:
        nonlocal position
        column = struct.unpack_from(f"<{count}I", raw, position)
        position += 4 * count
        return column

    return take


def _bad(what: str) -> IntegrityError:
    return IntegrityError(f"the layout part of a tree block {what}.")
