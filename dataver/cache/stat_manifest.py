"""Manifest of a complete cached folder: stat values and digest of each entry, extents of each large file.

The idea: a folder whose entries are unchanged since they were verified counts as verified, at the cost of one
`lstat` a file instead of reading it. The digests and extents tell other fetches which files and chunks they
can take from the folder, without its version's tree. The manifest is stored beside the folder, in blocks, so
that memory for writing and reading it does not grow with the dataset. A block begins with the part by which
it is searched, so that a search reads 4 bytes a file.

    magic "DVSTAT" 00 02, then blocks to the end of the file, one for each leaf of the tree:

    offset | size  | field          | meaning
    0      | 4     | count N        | rows
    4      | 4     | packs P        | packs that hold the large files
    8      | 4     | rows stored    | bytes of the compressed rows
    12     | 4     | rows raw       | bytes of the rows
    16     | 4     | extents stored | bytes of the compressed extents
    20     | 4     | extents raw    | bytes of the extents; 0 if there are none
    24     | 8     | checksum       | XXH3-64 of the block without this field
    32     | 4*N   | prefixes       | first 4 bytes of each digest
           | 33*P  | pack ids       | each padded with a zero byte in front, unless it is external
           | 32*N  | digests        | zeros for entries that are not files
           |       | rows           | zstd: kind u8[N] · size u64[N] · mtime_ns i64[N] · paths joined by NUL
           |       | extents        | zstd: number of extents u32[P], then by pack and offset: offset u32[E] ·
                                      stored u32[E] · skip u32[E] · length u32[E] · row u32[E] ·
                                      position in the file u64[E]

A manifest is a hint (invariant 5): if it is unreadable, the folder is verified again. Sizes and times are
those of `lstat`; folders are only checked for existence.
"""

from __future__ import annotations

import os
import struct
from array import array
from bisect import bisect_left, bisect_right
from itertools import accumulate, chain, pairwise
from operator import add
from typing import TYPE_CHECKING, Final, NamedTuple

from dataver.errors import IntegrityError
from dataver.formats.compression import decompress_exactly, make_compressor, make_decompressor
from dataver.formats.entry import is_external
from dataver.formats.frame import u32_array
from dataver.hashing.digest import checksum

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from dataver.formats.compression import Compressor
    from dataver.formats.entry import Extent

__all__ = [
    "Block",
    "BlockHead",
    "LocatedExtents",
    "Row",
    "heads",
    "prefixes",
    "read_block",
    "read_extents",
    "read_rows",
    "write_rows",
]

MAGIC: Final = b"DVSTAT\x00\x02"
_HEADER: Final = struct.Struct("<IIIIIIQ")
_SUMMED: Final = 24  # bytes of the header before its checksum
_ROWS: Final = 8192
_LARGEST: Final = 64 * 1024 * 1024  # 8,192 paths of 4,096 bytes take 32 MB, 2 million extents 56 MB
_PACKS: Final = 1 << 20
_DIGEST: Final = 32
_PACK_ID: Final = 33
_GUESS: Final = 16 * 1024  # the part of a block by which it is searched, if it has 2,000 files
_NONE: Final = bytes(_DIGEST)


class Row(NamedTuple):
    """An entry of the folder, with values from `lstat`; `extents` only of large files."""

    path: str
    kind: int
    size: int
    mtime_ns: int
    digest: bytes = b""
    extents: tuple[Extent, ...] = ()


class _Header(NamedTuple):
    """The first bytes of a block."""

    rows: int
    packs: int
    rows_stored: int
    rows_raw: int
    extents_stored: int
    extents_raw: int
    checksum: int


class BlockHead(NamedTuple):
    """The part of a block by which it is searched; not verified.

    Attributes:
        offset: position of the block in the manifest.
        size: bytes of the block.
        prefixes: first 4 bytes of each row's digest.
        packs: ids of the packs that hold large files.
    """

    offset: int
    size: int
    prefixes: bytes
    packs: tuple[bytes, ...]


class LocatedExtents(NamedTuple):
    """Extents of a block's large files, sorted by pack and offset, as columns.

    Attributes:
        bounds: by pack, the numbers of its extents: first, and behind the last.
        rows: the row of each extent's file.
        offsets: offset of its first frame.
        skips: raw bytes to skip.
        lengths: raw bytes.
        positions: position of its bytes in the file.
        ends: largest end of an extent's frames, among those of the pack up to this one.
    """

    bounds: dict[bytes, tuple[int, int]]
    rows: Sequence[int]
    offsets: Sequence[int]
    skips: Sequence[int]
    lengths: Sequence[int]
    positions: Sequence[int]
    ends: Sequence[int]

    def end(self, pack: bytes) -> int:
        """Return the largest end of an extent's frames in a pack."""
        return self.ends[self.bounds[pack][1] - 1]

    def overlapping(self, pack: bytes, start: int, stop: int) -> range:
        """Return the numbers of the extents that can have frames in `[start, stop)` of a pack."""
        low, high = self.bounds.get(pack, (0, 0))
        return range(bisect_right(self.ends, start, low, high), bisect_left(self.offsets, stop, low, high))


class Block(NamedTuple):
    """A verified and decoded block, as columns."""

    paths: list[str]
    kinds: bytes
    sizes: Sequence[int]
    mtimes: Sequence[int]
    digests: bytes

    def digest(self, number: int) -> bytes:
        """Return the digest of a row; zeros if it is not a file."""
        return self.digests[_DIGEST * number : _DIGEST * (number + 1)]


def prefixes(digests: bytes) -> array[int]:
    """Return the first 4 bytes of each digest as a number, in this machine's byte order."""
    return array("I", digests)[:: _DIGEST // 4]


def write_rows(path: Path, blocks: Iterable[Sequence[Row]]) -> None:
    """Write a manifest of rows in tree order; not atomic, so the caller renames the file afterwards."""
    compressor = make_compressor()
    with path.open("wb") as file:
        file.write(MAGIC)
        for rows in blocks:
            for start in range(0, len(rows), _ROWS):
                file.write(_encode(rows[start : start + _ROWS], compressor))


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows in order, without digests and extents.

    Raises:
        IntegrityError: damaged, or not a manifest.
        OSError: missing or unreadable.
    """
    with path.open("rb", buffering=1 << 20) as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise _unknown()
        while header := file.read(_HEADER.size):
            block = _parse(header + file.read(_size(_header(header)) - _HEADER.size))
            yield from map(Row, block.paths, block.kinds, block.sizes, block.mtimes)


def heads(path: Path) -> Iterator[BlockHead]:
    """Yield the head of each block.

    Raises:
        IntegrityError: damaged, or not a manifest.
        OSError: missing or unreadable.
    """
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        data = os.pread(file, len(MAGIC) + _GUESS, 0)
        if data[: len(MAGIC)] != MAGIC:
            raise _unknown()
        offset, data = len(MAGIC), data[len(MAGIC) :]
        while data:
            header = _header(data)
            size = _size(header)
            names = _HEADER.size + 4 * header.rows
            end = names + _PACK_ID * header.packs
            if len(data) < end:
                data = os.pread(file, end, offset)
                if len(data) < end:
                    raise _damaged()
            yield BlockHead(offset, size, data[_HEADER.size : names], _pack_ids(data[names:end]))
            offset += size
            data = os.pread(file, _GUESS, offset)
    finally:
        os.close(file)


def read_block(path: Path, head: BlockHead) -> Block:
    """Return the rows of a block.

    Raises:
        IntegrityError: damaged.
        OSError: missing or unreadable.
    """
    return _parse(_read(path, head))


def read_extents(path: Path, head: BlockHead) -> LocatedExtents:
    """Return the extents of a block's large files.

    Raises:
        IntegrityError: damaged.
        OSError: missing or unreadable.
    """
    return _parse_extents(_read(path, head))


def _read(path: Path, head: BlockHead) -> bytes:
    with path.open("rb", buffering=0) as file:
        return os.pread(file.fileno(), head.size, head.offset)


def _encode(rows: Sequence[Row], compressor: Compressor) -> bytes:
    paths, kinds, sizes, mtimes, digests, extents = zip(*rows, strict=True)
    count = len(rows)
    raw = (
        bytes(kinds)
        + struct.pack(f"<{count}Q{count}q", *sizes, *mtimes)
        + "\0".join(paths).encode("utf-8", "surrogateescape")
    )
    digest = b"".join([each or _NONE for each in digests])
    packs, located = _encode_extents(extents)
    stored, stored_extents = compressor(raw), compressor(located) if located else b""
    names = b"".join([pack if is_external(pack) else b"\0" + pack for pack in packs])
    head = _HEADER.pack(count, len(packs), len(stored), len(raw), len(stored_extents), len(located), 0)
    body = (prefixes(digest).tobytes(), names, digest, stored, stored_extents)
    check = checksum(head[:_SUMMED], *body)
    return b"".join((head[:_SUMMED], check.to_bytes(8, "little"), *body))


def _encode_extents(files: Sequence[tuple[Extent, ...]]) -> tuple[list[bytes], bytes]:
    """Return the packs of extents, and the extents by pack and offset."""
    found: list[tuple[bytes, int, int, int, int, int, int]] = []
    for row, extents in enumerate(files):
        position = 0
        for pack, offset, stored, skip, length in extents:
            found.append((pack, offset, stored, skip, length, row, position))
            position += length
    if not found:
        return [], b""
    found.sort()
    owners, *columns = zip(*found, strict=True)
    counts: dict[bytes, int] = {}
    for pack in owners:
        counts[pack] = counts.get(pack, 0) + 1
    total = len(found)
    raw = struct.pack(f"<{len(counts) + 5 * total}I{total}Q", *counts.values(), *chain(*columns))
    return (list(counts), raw) if len(raw) <= _LARGEST and len(counts) <= _PACKS else ([], b"")


def _header(data: bytes) -> _Header:
    """Return the header of a block, which is not verified, with bounded values."""
    if len(data) < _HEADER.size:
        raise _damaged()
    found = _Header._make(_HEADER.unpack_from(data))
    if not 0 < found.rows <= _ROWS or found.packs > _PACKS or max(found[2:6]) > _LARGEST:
        raise _damaged()
    return found


def _size(header: _Header) -> int:
    """Return the size of a block."""
    variable = _PACK_ID * header.packs + header.rows_stored + header.extents_stored
    return _HEADER.size + (4 + _DIGEST) * header.rows + variable


def _verified(data: bytes) -> tuple[_Header, int]:
    """Verify a block; return its header, and the offset of the pack ids."""
    header = _header(data)
    view = memoryview(data)
    if len(data) != _size(header) or checksum(view[:_SUMMED], view[_HEADER.size :]) != header.checksum:
        raise _damaged()
    return header, _HEADER.size + 4 * header.rows


def _parse(data: bytes) -> Block:
    header, at = _verified(data)
    count, size = header.rows, header.rows_raw
    digests = at + _PACK_ID * header.packs
    start = digests + _DIGEST * count
    end = start + header.rows_stored
    if size <= 17 * count:
        raise _damaged()
    raw = decompress_exactly(memoryview(data)[start:end], size, make_decompressor(), _WHAT)
    sizes = struct.unpack_from(f"<{count}Q", raw, count)
    mtimes = struct.unpack_from(f"<{count}q", raw, 9 * count)
    paths = raw[17 * count :].decode("utf-8", "surrogateescape").split("\0")
    if len(paths) != count:
        raise _damaged()
    return Block(paths, raw[:count], sizes, mtimes, data[digests:start])


def _parse_extents(data: bytes) -> LocatedExtents:
    header, at = _verified(data)
    packs = _pack_ids(data[at : at + _PACK_ID * header.packs])
    if not packs:
        return LocatedExtents({}, (), (), (), (), (), ())
    some = memoryview(data)[len(data) - header.extents_stored :]
    raw = decompress_exactly(some, header.extents_raw, make_decompressor(), _WHAT)
    counts = struct.unpack_from(f"<{len(packs)}I", raw)
    total = sum(counts)
    first = 4 * len(packs)
    if len(raw) != first + 28 * total:
        raise _damaged()
    columns = (memoryview(raw)[first + 4 * total * column :][: 4 * total] for column in range(5))
    offsets, stored, skips, lengths, rows = map(u32_array, columns)
    positions = array("Q", struct.unpack_from(f"<{total}Q", raw, first + 20 * total))
    bounds = dict(zip(packs, pairwise(accumulate(counts, initial=0)), strict=True))
    ends = array("Q")
    for low, high in bounds.values():
        ends.extend(accumulate(map(add, offsets[low:high], stored[low:high]), max))
    return LocatedExtents(bounds, rows, offsets, skips, lengths, positions, ends)


_WHAT: Final = "the manifest of a cached folder"


def _pack_ids(data: bytes) -> tuple[bytes, ...]:
    ids = [data[at : at + _PACK_ID] for at in range(0, len(data), _PACK_ID)]
    return tuple([each if each[0] else each[1:] for each in ids])


def _unknown() -> IntegrityError:
    return IntegrityError("the manifest of a cached folder has an unknown format")


def _damaged() -> IntegrityError:
    return IntegrityError("the manifest of a cached folder is damaged")
