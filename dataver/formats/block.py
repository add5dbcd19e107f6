"""A block: one stored node of a tree, with a logical part that has a digest and a layout part that has none.

The idea: the logical part says what a version holds (paths, kinds, sizes, digests) and is all that the block's
digest covers; the layout part says where the bytes lie (extents) and may be rewritten without changing a digest.
Both are columns, one zstd frame each, so that equal values stand beside each other.

    object:  offset | size | field          | meaning
                  0 |    8 | magic          | "DVTREE" 00 01
                  8 |    8 | flags          | bit 0: the logical part is stored as a delta
                 16 |   32 | base           | digest of the block the delta is against; zeros without one
                 48 |    4 | logical_stored | bytes of the stored logical part
                 52 |    4 | logical_raw    | bytes of the logical part
                 56 |    4 | layout_stored  | bytes of the stored layout part, 0 for inner blocks
                 60 |    4 | layout_raw     | bytes of the layout part, 0 for inner blocks
                 64 |    8 | checksum       | XXH3-64 of bytes 0 to 63 and both stored parts
                 72 |      | the stored logical part, then the stored layout part

    leaf:    u8 level 0, 3 zero bytes, u32 count, kind u8[count], size u64[count], digest 32 bytes[files],
             u32 length and the NUL-joined paths, u32 length and the NUL-joined link targets
    inner:   u8 level, 3 zero bytes, u32 count, digest 32 bytes[count], file count u64[count],
             byte count u64[count], entry count u64[count], u32 length and the NUL-joined first paths
    layout:  u32 packs P, pack id 32 bytes[P], u32 extents E, extents of each file u32[files],
             pack u32[E], offset u32[E], stored u32[E], skip u32[E], length u32[E - files that have extents]
             (`skip` less what the extent before suggests; each file's last length follows from its size)

A delta is zstd with the base's logical part as a raw dictionary. A base is never a delta itself.

Keeps invariants 1 (a block is compared with its digest before anybody sees it), 7, and its part of 9 (paths are
checked). Counts are bounded by the bytes that bear them before anything is allocated.
"""

import operator
import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Final, NamedTuple, TypeAlias

from dataver.errors import IntegrityError, InvalidInput
from dataver.formats.compression import decompress_exactly, make_compressor, make_decompressor
from dataver.formats.entry import Entry, Extent, Kind, check_paths, check_target
from dataver.hashing import CONTEXT_BLOCK, DIGEST_SIZE, checksum, derived

__all__ = ["MAX_ITEMS", "Block", "Child", "Encoded", "Inner", "Leaf", "encode_inner", "encode_leaf", "parse_block"]

MAGIC: Final = b"DVTREE\x00\x01"
MAX_ITEMS: Final = 8192
MAX_LEVEL: Final = 16
MAX_LOGICAL: Final = 64 << 20
MAX_LAYOUT: Final = 256 << 20  # a terabyte file edited everywhere has millions of extents
LEVEL: Final = 3  # blocks are small and read often: compression is worth more than at frames

_HEAD: Final = struct.Struct("<8sQ32sIIII")
_CHECK: Final = struct.Struct("<Q")
_HEADER_SIZE: Final = _HEAD.size + _CHECK.size
_NO_BASE: Final = bytes(DIGEST_SIZE)
_SWAP: Final = sys.byteorder == "big"
_PLAIN: Final = bytes((Kind.FILE, Kind.EXECUTABLE))
_U32: Final = 1 << 32


class Child(NamedTuple):
    """An inner block's line about one block below it."""

    first_path: str
    digest: bytes
    entry_count: int
    file_count: int
    byte_count: int


class Encoded(NamedTuple):
    """A block ready to be stored."""

    digest: bytes
    data: bytes
    logical: bytes
    base: bytes | None


class _Common:
    """What leaves and inner blocks share: their name, and the bytes it covers."""

    __slots__ = ("base", "digest", "logical")

    def __init__(self, digest: bytes, logical: bytes, base: bytes | None) -> None:
        self.digest, self.logical, self.base = digest, logical, base


class Leaf(_Common):
    """A block of entries, as columns; entries are made when they are asked for.

    Attributes:
        digest: the block's name.
        base: the block it is stored against, or None.
        logical: the logical part.
        paths: in ascending order.
        kinds: one byte an entry.
        sizes: bytes of each entry's file.
        file_count: how many entries are files.
        byte_count: bytes of all files.
    """

    __slots__ = ("_digests", "_extents", "_layout", "_ranks", "_targets", "byte_count", "file_count", "kinds", "paths", "sizes")
    level = 0

    def __init__(self, digest: bytes, logical: bytes, base: bytes | None, layout: bytes) -> None:
        super().__init__(digest, logical, base)
        reader = _Reader(logical, "a leaf block")
        if reader.take(1) != b"\0" or reader.take(3) != b"\0\0\0":
            raise IntegrityError("a leaf block begins with something else than its level")
        count = reader.count(MAX_ITEMS, 1 + 8)
        self.kinds = reader.take(count)
        self.sizes = reader.numbers("Q", count)
        if count and max(self.kinds) > max(Kind):
            raise IntegrityError("a leaf block has an entry of an unknown kind")
        self.file_count = count - len(self.kinds.translate(None, _PLAIN))
        self._digests = reader.take(DIGEST_SIZE * self.file_count)
        self.paths = reader.texts(count, "paths")
        self._targets = reader.texts(self.kinds.count(Kind.SYMLINK), "link targets")
        reader.end()
        _check_order(self.paths)
        self.byte_count = sum(self.sizes)
        self._check()
        # the number of each entry among the files; where all are files, that is its own number
        self._ranks = None if self.file_count == count else _ranks(self.kinds)
        self._layout: bytes | None = layout
        self._extents: list[tuple[Extent, ...]] = []

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def entry_count(self) -> int:
        """How many entries it holds."""
        return len(self.paths)

    @property
    def first_path(self) -> str:
        """The path of its first entry."""
        return self.paths[0]

    def find(self, path: str) -> int | None:
        """Return the number of the entry at `path`, or None."""
        number = bisect_left(self.paths, path)
        return number if number < len(self.paths) and self.paths[number] == path else None

    def file_digest(self, number: int) -> bytes:
        """Return an entry's digest; empty for what is no file."""
        if self._ranks is not None:
            if self.kinds[number] not in _PLAIN:
                return b""
            number = self._ranks[number]
        return self._digests[DIGEST_SIZE * number : DIGEST_SIZE * (number + 1)]

    def target(self, number: int) -> str:
        """Return where a link points; empty for what is none."""
        if self.kinds[number] != Kind.SYMLINK:
            return ""
        return self._targets[self.kinds.count(Kind.SYMLINK, 0, number)]

    def entry(self, number: int) -> Entry:
        """Return an entry, with its extents."""
        if self._layout is not None:
            self._read_layout()
        kind = self.kinds[number]
        extents: tuple[Extent, ...] = ()
        if kind in _PLAIN:
            extents = self._extents[number if self._ranks is None else self._ranks[number]]
        return Entry(
            self.paths[number], Kind(kind), self.sizes[number], self.file_digest(number), self.target(number), extents
        )

    def entries(self, start: int = 0) -> Iterator[Entry]:
        """Yield the entries from a number on."""
        return (self.entry(number) for number in range(start, len(self.paths)))

    def row(self, number: int) -> tuple[str, int, int, bytes, str]:
        """Return an entry's identity: path, kind, size, digest, target; cheaper than the entry."""
        return (
            self.paths[number],
            self.kinds[number],
            self.sizes[number],
            self.file_digest(number),
            self.target(number),
        )

    def packs(self) -> set[bytes]:
        """Return the packs that hold the files' bytes."""
        if self._layout is not None:
            self._read_layout()
        return {extent.pack for extents in self._extents for extent in extents}

    def _check(self) -> None:
        kinds, sizes = self.kinds, self.sizes
        if self.file_count != len(kinds) and any(
            size for kind, size in zip(kinds, sizes, strict=True) if kind not in _PLAIN
        ):
            raise IntegrityError("a leaf block gives a size to what is no file")
        if self.byte_count >= 1 << 63:
            raise IntegrityError("a leaf block claims more bytes than there can be")
        links = (path for path, kind in zip(self.paths, kinds, strict=True) if kind == Kind.SYMLINK)
        for path, target in zip(links, self._targets, strict=True):
            try:
                check_target(path, target)
            except InvalidInput as error:
                raise IntegrityError(f"a tree block holds a bad link: {error.message}") from error

    def _read_layout(self) -> None:
        layout, self._layout = self._layout, None
        assert layout is not None
        sizes = [size for kind, size in zip(self.kinds, self.sizes, strict=True) if kind in _PLAIN]
        self._extents = _parse_layout(layout, sizes)


class Inner(_Common):
    """A block of blocks.

    Attributes:
        digest: the block's name.
        base: the block it is stored against, or None.
        logical: the logical part.
        level: how many levels are below it, at least 1.
        children: what stands below it, in order.
    """

    __slots__ = ("children", "level")

    def __init__(self, digest: bytes, logical: bytes, base: bytes | None) -> None:
        super().__init__(digest, logical, base)
        reader = _Reader(logical, "an inner block")
        self.level = reader.take(1)[0]
        if not 1 <= self.level <= MAX_LEVEL or reader.take(3) != b"\0\0\0":
            raise IntegrityError("an inner block has a level that cannot be")
        count = reader.count(MAX_ITEMS, DIGEST_SIZE + 24)
        digests = reader.take(DIGEST_SIZE * count)
        files, sizes, entries = (reader.numbers("Q", count) for _ in range(3))
        firsts = reader.texts(count, "paths")
        reader.end()
        _check_order(firsts)
        if not count:
            raise IntegrityError("an inner block is empty")
        names = (digests[start : start + DIGEST_SIZE] for start in range(0, len(digests), DIGEST_SIZE))
        self.children = [Child(*row) for row in zip(firsts, names, entries, files, sizes, strict=True)]

    def __len__(self) -> int:
        return len(self.children)

    @property
    def first_path(self) -> str:
        """The path of the first entry below it."""
        return self.children[0].first_path

    @property
    def entry_count(self) -> int:
        """How many entries are below it."""
        return sum(child.entry_count for child in self.children)

    @property
    def file_count(self) -> int:
        """How many files are below it."""
        return sum(child.file_count for child in self.children)

    @property
    def byte_count(self) -> int:
        """Bytes of all files below it."""
        return sum(child.byte_count for child in self.children)


Block: TypeAlias = Leaf | Inner


def encode_leaf(
    entries: Sequence[Entry], base: bytes | None = None, base_logical: bytes | None = None
) -> Encoded:
    """Return the block of these entries, which are in path order.

    Args:
        entries: at most 8,192.
        base: a block that readers will find, to store the logical part against where that halves it.
        base_logical: that block's logical part.
    """
    files = [entry for entry in entries if entry.kind in _PLAIN]
    paths = [entry.path for entry in entries]
    targets = [entry.target for entry in entries if entry.kind == Kind.SYMLINK]
    logical = b"".join(
        (
            struct.pack("<4xI", len(entries)),
            bytes([entry.kind for entry in entries]),
            _column("Q", [entry.size for entry in entries]),
            *(entry.digest for entry in files),
            *_joined(paths),
            *_joined(targets),
        )
    )
    if any(len(entry.digest) != DIGEST_SIZE for entry in files):
        raise InvalidInput("a file's entry has no digest of 32 bytes")
    return _encode(logical, _encode_layout(files), base, base_logical)


def encode_inner(
    level: int, children: Sequence[Child], base: bytes | None = None, base_logical: bytes | None = None
) -> Encoded:
    """Return the block of these children, which are in path order. Arguments as for `encode_leaf`."""
    logical = b"".join(
        (
            struct.pack("<B3xI", level, len(children)),
            *(child.digest for child in children),
            _column("Q", [child.file_count for child in children]),
            _column("Q", [child.byte_count for child in children]),
            _column("Q", [child.entry_count for child in children]),
            *_joined([child.first_path for child in children]),
        )
    )
    return _encode(logical, b"", base, base_logical)


def parse_block(data: bytes, expect: bytes, load_base: Callable[[bytes], bytes] | None = None) -> Block:
    """Return the block in an object.

    Args:
        data: the object.
        expect: the digest it must have.
        load_base: returns the object of another block; needed where this one is a delta.

    Raises:
        IntegrityError: damaged, or another block.
    """
    logical, layout, base = _unpack(data, load_base)
    if derived(CONTEXT_BLOCK, logical) != expect:
        raise IntegrityError(f"the object stored as tree block {expect.hex()} is another block")
    if logical[:1] == b"\0":
        return Leaf(expect, logical, base, layout)
    if layout:
        raise IntegrityError("an inner block has a layout")
    return Inner(expect, logical, base)


def _unpack(data: bytes, load_base: Callable[[bytes], bytes] | None) -> tuple[bytes, bytes, bytes | None]:
    """Return the logical part, the layout part and the base of an object."""
    if len(data) < _HEADER_SIZE:
        raise IntegrityError("a tree block is cut off")
    magic, flags, base, *lengths = _HEAD.unpack_from(data)
    logical_stored, logical_raw, layout_stored, layout_raw = lengths
    if magic != MAGIC or flags > 1 or (flags == 1) == (base == _NO_BASE):
        raise IntegrityError("a tree block begins with something else than its header")
    if len(data) != _HEADER_SIZE + logical_stored + layout_stored:
        raise IntegrityError("a tree block is cut off, or has bytes too many")
    if logical_raw > MAX_LOGICAL or layout_raw > MAX_LAYOUT or (layout_raw == 0) != (layout_stored == 0):
        raise IntegrityError("a tree block claims a size that cannot be")
    body = memoryview(data)[_HEADER_SIZE:]
    if checksum(data[: _HEAD.size], body) != _CHECK.unpack_from(data, _HEAD.size)[0]:
        raise IntegrityError("a tree block does not match its checksum")
    dictionary = _base_logical(base, load_base) if flags else None
    logical = decompress_exactly(
        body[:logical_stored], logical_raw, make_decompressor(dictionary=dictionary), "a tree block"
    )
    layout = b""
    if layout_stored:
        layout = decompress_exactly(body[logical_stored:], layout_raw, make_decompressor(), "a block's layout")
    return logical, layout, base if flags else None


def _base_logical(base: bytes, load_base: Callable[[bytes], bytes] | None) -> bytes:
    if load_base is None:
        raise IntegrityError(f"a tree block is stored against block {base.hex()}, which is not at hand")
    logical, _, further = _unpack(load_base(base), None)
    if further is not None or derived(CONTEXT_BLOCK, logical) != base:
        raise IntegrityError(f"the object stored as tree block {base.hex()} cannot be another's base")
    return logical


def _encode(logical: bytes, layout: bytes, base: bytes | None, base_logical: bytes | None) -> Encoded:
    stored, used = make_compressor(LEVEL)(logical), None
    if base is not None and base_logical is not None:
        delta = make_compressor(LEVEL, dictionary=base_logical)(logical)
        if 2 * len(delta) < len(stored):
            stored, used = delta, base
    packed = make_compressor(LEVEL)(layout) if layout else b""
    head = _HEAD.pack(
        MAGIC, 1 if used else 0, used or _NO_BASE, len(stored), len(logical), len(packed), len(layout)
    )
    check = _CHECK.pack(checksum(head, stored, packed))
    return Encoded(derived(CONTEXT_BLOCK, logical), b"".join((head, check, stored, packed)), logical, used)


def _encode_layout(files: Sequence[Entry]) -> bytes:
    packs: dict[bytes, int] = {}
    counts, numbers, offsets, stored, skips, lengths = (array("I") for _ in range(6))
    before: Extent | None = None
    for entry in files:
        extents = entry.extents
        counts.append(len(extents))
        if sum(extent.length for extent in extents) != entry.size:
            raise InvalidInput(f"the extents of '{entry.path}' do not add up to its {entry.size} bytes")
        for extent in extents:
            numbers.append(packs.setdefault(extent.pack, len(packs)))
            offsets.append(extent.offset)
            stored.append(extent.stored)
            skips.append((extent.skip - _suggested(before, extent)) % _U32)
            lengths.append(extent.length)
            before = extent
        if extents:
            lengths.pop()
    if not files:
        return b""
    columns = (counts, numbers, offsets, stored, skips, lengths)
    if _SWAP:
        for column in columns:
            column.byteswap()
    head = struct.pack("<I", len(packs)) + b"".join(packs) + struct.pack("<I", len(numbers))
    return head + b"".join(column.tobytes() for column in columns)


def _suggested(before: Extent | None, extent: Extent) -> int:
    """Return the skip an extent has if it goes on where the one before ended, in the same frames."""
    if before is None or before[:3] != extent[:3]:
        return 0
    return before.skip + before.length


def _parse_layout(layout: bytes, sizes: list[int]) -> list[tuple[Extent, ...]]:
    if not layout:
        if any(sizes):
            raise IntegrityError("a leaf block has files but no layout")
        return [()] * len(sizes)
    reader = _Reader(layout, "a block's layout")
    count = reader.count(_U32, DIGEST_SIZE)
    ids = reader.take(DIGEST_SIZE * count)
    packs = [ids[start : start + DIGEST_SIZE] for start in range(0, len(ids), DIGEST_SIZE)]
    total = reader.count(_U32, 16)
    counts = reader.numbers("I", len(sizes))
    having = len(counts) - counts.count(0)
    if sum(counts) != total:
        raise IntegrityError("a block's layout has other extents than its files need")
    numbers, offsets, stored, skips = (reader.numbers("I", total) for _ in range(4))
    lengths = reader.numbers("I", total - having)
    reader.end()
    if total and max(numbers) >= len(packs):
        raise IntegrityError("a block's layout names a pack it does not list")
    found: list[tuple[Extent, ...]] = []
    place, length_at, before = 0, 0, None
    for number, size in zip(counts, sizes, strict=True):
        mine: list[Extent] = []
        left = size
        for last in range(number - 1, -1, -1):
            length = left
            if last:
                length = lengths[length_at]
                length_at += 1
            left -= length
            if not 0 < length < _U32 or left < 0:
                raise IntegrityError("a block's layout does not add up to its files")
            extent = Extent(packs[numbers[place]], offsets[place], stored[place], 0, length)
            extent = extent._replace(skip=(skips[place] + _suggested(before, extent)) % _U32)
            mine.append(extent)
            before = extent
            place += 1
        if left:
            raise IntegrityError("a block's layout does not add up to its files")
        found.append(tuple(mine))
    return found


class _Reader:
    """Takes columns off a part; never more than there is."""

    __slots__ = ("_at", "_data", "_what")

    def __init__(self, data: bytes, what: str) -> None:
        self._data, self._at, self._what = data, 0, what

    def take(self, size: int) -> bytes:
        part = self._data[self._at : self._at + size]
        if len(part) != size:
            raise IntegrityError(f"{self._what} is cut off")
        self._at += size
        return part

    def count(self, most: int, each: int) -> int:
        number = int.from_bytes(self.take(4), "little")
        if number > most or number * each > len(self._data) - self._at:
            raise IntegrityError(f"{self._what} claims {number} items")
        return number

    def numbers(self, kind: str, count: int) -> "array[int]":
        column = array(kind)
        column.frombytes(self.take(count * column.itemsize))
        if _SWAP:
            column.byteswap()
        return column

    def texts(self, count: int, what: str) -> list[str]:
        size = int.from_bytes(self.take(4), "little")
        data = self.take(size)
        if not count:
            if size:
                raise IntegrityError(f"{self._what} has {what} where none belong")
            return []
        try:
            found = data.decode().split("\0")
        except UnicodeDecodeError as error:
            raise IntegrityError(f"{self._what} has {what} that are not UTF-8") from error
        if len(found) != count:
            raise IntegrityError(f"{self._what} has {len(found)} {what} where {count} belong")
        return found

    def end(self) -> None:
        if self._at != len(self._data):
            raise IntegrityError(f"{self._what} has bytes too many")


def _ranks(kinds: bytes) -> list[int]:
    return list(accumulate((kind in _PLAIN for kind in kinds), initial=0))


def _column(kind: str, values: list[int]) -> bytes:
    column = array(kind, values)
    if _SWAP:
        column.byteswap()
    return column.tobytes()


def _joined(texts: Sequence[str]) -> tuple[bytes, bytes]:
    data = "\0".join(texts).encode()
    return struct.pack("<I", len(data)), data


def _check_order(paths: list[str]) -> None:
    try:
        check_paths(paths)
    except InvalidInput as error:
        raise IntegrityError(f"a tree block holds a bad path: {error.message}") from error
    if not all(map(operator.lt, paths, paths[1:])):
        raise IntegrityError("a tree block's paths are not in order")
