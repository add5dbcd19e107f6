"""A block: one stored node of a tree, with a logical part that has a digest and a layout part that has none.

The idea: the logical part contains the entries (paths, kinds, sizes, digests) and is all that the block's
digest covers. The layout part contains the location of the bytes (extents) and may be rewritten without
changing a digest. Both are columns, so that equal values are adjacent. `dataver.formats.block_object` defines
how the two are stored.

    leaf:    u8 level 0, 3 zero bytes, u32 count, kind u8[count], size u64[count], digest 32 bytes[files],
             u32 length and the NUL-joined paths, u32 length and the NUL-joined link targets
    inner:   u8 level, 3 zero bytes, u32 count, digest 32 bytes[count], file count u64[count],
             byte count u64[count], entry count u64[count], u32 length and the NUL-joined first paths
    layout:  see `dataver.formats.extents`

Only files have a size and a digest, only symlinks a target. Paths ascend by their UTF-8 bytes.

Keeps invariants 1 (a block is compared with its digest before it is returned), 7, and its part of 9 (paths
are checked). Counts are bounded by the size of the input before anything is allocated.
"""

import operator
import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Final, NamedTuple, TypeAlias

from dataver.errors import FormatTooNew, IntegrityError, InvalidInput
from dataver.formats.block_object import Encoded, pack_block, unpack_block
from dataver.formats.entry import Entry, Extent, Kind, check_paths, check_target, is_external
from dataver.formats.extents import Layout, encode_layout, parse_layout
from dataver.hashing import DIGEST_SIZE

__all__ = [
    "MAX_ITEMS",
    "Block",
    "Child",
    "Encoded",
    "Inner",
    "Leaf",
    "encode_inner",
    "encode_leaf",
    "parse_block",
]

MAX_ITEMS: Final = 8192
MAX_LEVEL: Final = 16
MAX_SIZE: Final = 1 << 63

_SWAP: Final = sys.byteorder == "big"
_KINDS: Final = tuple(Kind)
_PLAIN: Final = bytes((Kind.FILE, Kind.EXECUTABLE))
_OTHER: Final = bytes((Kind.SYMLINK, Kind.DIRECTORY))


class Child(NamedTuple):
    """An inner block's reference to one child block."""

    first_path: str
    digest: bytes
    entry_count: int
    file_count: int
    byte_count: int


class _Common:
    """Common part of leaves and inner blocks: the digest, and the bytes that it covers."""

    __slots__ = ("base", "digest", "logical")

    def __init__(self, digest: bytes, logical: bytes, base: bytes | None) -> None:
        self.digest, self.logical, self.base = digest, logical, base


class Leaf(_Common):
    """A block of entries, stored as columns; `Entry` objects are made on demand.

    Attributes:
        digest: the block's digest.
        base: the block it is stored as a delta of, or None.
        logical: the logical part.
        paths: in ascending order.
        kinds: one byte per entry.
        sizes: size in bytes of each entry's file.
        file_count: number of entries that are files.
        byte_count: total size of all files.
    """

    __slots__ = (
        "_columns", "_digests", "_layout", "_ranks", "_targets",
        "byte_count", "file_count", "kinds", "paths", "sizes",
    )  # fmt: skip
    level = 0

    def __init__(self, digest: bytes, logical: bytes, base: bytes | None, layout: bytes) -> None:
        super().__init__(digest, logical, base)
        reader = _ByteReader(logical, "a leaf block")
        if reader.read(1) != b"\0" or reader.read(3) != b"\0\0\0":
            raise IntegrityError("it does not begin with its level")
        count = reader.count(MAX_ITEMS, 1 + 8)
        self.kinds = reader.read(count)
        self.sizes = reader.numbers("Q", count)
        if count and max(self.kinds) > max(Kind):
            raise IntegrityError("it has an entry of an unknown kind")
        self.file_count = count - len(self.kinds.translate(None, _PLAIN))
        self._digests = reader.read(DIGEST_SIZE * self.file_count)
        self.paths = reader.texts(count, "paths")
        self._targets = reader.texts(self.kinds.count(Kind.SYMLINK), "link targets")
        reader.end()
        _check_order(self.paths)
        self.byte_count = sum(self.sizes)
        self._check()
        # number of each entry among the files; if all entries are files, it is the entry's own number
        self._ranks = None if self.file_count == count else _ranks(self.kinds)
        self._layout = layout
        self._columns: Layout | None = None

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def entry_count(self) -> int:
        """Number of entries."""
        return len(self.paths)

    @property
    def first_path(self) -> str:
        """Path of the first entry."""
        return self.paths[0]

    def find(self, path: str) -> int | None:
        """Return the number of the entry at `path`, or None."""
        number = bisect_left(self.paths, path)
        return number if number < len(self.paths) and self.paths[number] == path else None

    def file_digest(self, number: int) -> bytes:
        """Return an entry's digest; empty if the entry is not a file."""
        if self._ranks is not None:
            if self.kinds[number] not in _PLAIN:
                return b""
            number = self._ranks[number]
        return self._digests[DIGEST_SIZE * number : DIGEST_SIZE * (number + 1)]

    def target(self, number: int) -> str:
        """Return a symlink's target; empty if the entry is not a symlink."""
        if self.kinds[number] != Kind.SYMLINK:
            return ""
        return self._targets[self.kinds.count(Kind.SYMLINK, 0, number)]

    def entry(self, number: int) -> Entry:
        """Return an entry, with its extents."""
        kind = self.kinds[number]
        extents: tuple[Extent, ...] = ()
        if kind in _PLAIN:
            extents = self._extents().extents(number if self._ranks is None else self._ranks[number])
        return Entry(
            self.paths[number],
            _KINDS[kind],
            self.sizes[number],
            self.file_digest(number),
            self.target(number),
            extents,
        )

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[Entry]:
        """Yield the entries from one number to before another."""
        return map(self.entry, range(start, len(self.paths) if stop is None else stop))

    def equal_rows(self, start: int, other: "Leaf", other_start: int) -> int:
        """Return how many entries from the given positions on have the same identity in both."""
        most = min(len(self) - start, len(other) - other_start)
        equal, step = 0, 512
        while step and equal < most:
            count = min(step, most - equal)
            if self._columns_of(start + equal, count) == other._columns_of(other_start + equal, count):
                equal += count
            else:
                step = (count + 3) // 4 if count > 1 else 0
        return equal

    def _columns_of(self, start: int, count: int) -> tuple[object, ...]:
        """Return the identities of consecutive entries as columns, which are compared quickly."""
        stop = start + count
        ranks = self._ranks
        links: tuple[str, ...] = ()
        first, last = (start, stop) if ranks is None else (ranks[start], ranks[stop])
        if self._targets:
            counted = self.kinds.count(Kind.SYMLINK, 0, start)
            links = tuple(self._targets[counted : counted + self.kinds.count(Kind.SYMLINK, start, stop)])
        return (
            self.paths[start:stop],
            self.kinds[start:stop],
            self._digests[DIGEST_SIZE * first : DIGEST_SIZE * last],
            self.sizes[start:stop],
            links,
        )

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
        """Return the packs that contain the files' bytes, external packs included."""
        return set(self._extents().packs)

    def ranges(self) -> set[tuple[bytes, int, int]]:
        """Return the frame ranges that contain the files' bytes: pack, offset, stored bytes."""
        columns = self._extents()
        packs = map(columns.packs.__getitem__, columns.owners)
        return set(zip(packs, columns.offsets, columns.stored, strict=True))

    def is_outside(self, number: int) -> bool:
        """Return whether bytes of an entry's file are stored outside the repository."""
        layout = self._extents()
        return layout.outside and any(is_external(extent.pack) for extent in self.entry(number).extents)

    def outside(self) -> set[tuple[bytes, int, int]]:
        """Return the byte ranges that are stored outside the repository: external pack, offset, length."""
        layout = self._extents()
        if not layout.outside:
            return set()
        rows = zip(layout.owners, layout.offsets, layout.lengths, strict=True)
        packs = layout.packs
        return {(packs[owner], offset, length) for owner, offset, length in rows if is_external(packs[owner])}

    def _check(self) -> None:
        kinds, sizes = self.kinds, self.sizes
        if self.file_count != len(kinds) and any(
            size for kind, size in zip(kinds, sizes, strict=True) if kind not in _PLAIN
        ):
            raise IntegrityError("it has a size for an entry that is not a file")
        if self.byte_count >= MAX_SIZE:
            raise IntegrityError("its sizes add up to more than the maximum")
        if not self._targets:
            return
        links = (path for path, kind in zip(self.paths, kinds, strict=True) if kind == Kind.SYMLINK)
        for path, target in zip(links, self._targets, strict=True):
            try:
                check_target(path, target)
            except InvalidInput as error:
                raise IntegrityError(error.message) from error

    def _extents(self) -> Layout:
        """Return the layout, parsed on first use. Two threads may both parse it; the results are equal."""
        columns = self._columns
        if columns is None:
            sizes: Sequence[int] = self.sizes
            if self._ranks is not None:
                sizes = [size for kind, size in zip(self.kinds, sizes, strict=True) if kind in _PLAIN]
            columns = self._columns = parse_layout(self._layout, sizes)
        return columns


class Inner(_Common):
    """A block of child blocks.

    Attributes:
        digest: the block's digest.
        base: the block it is stored as a delta of, or None.
        logical: the logical part.
        level: number of levels below it, at least 1.
        children: its child blocks, in order.
    """

    __slots__ = ("_ranks", "children", "level")

    def __init__(self, digest: bytes, logical: bytes, base: bytes | None) -> None:
        super().__init__(digest, logical, base)
        self._ranks: list[int] | None = None
        reader = _ByteReader(logical, "an inner block")
        self.level = reader.read(1)[0]
        if not 1 <= self.level <= MAX_LEVEL or reader.read(3) != b"\0\0\0":
            raise IntegrityError("its level is out of range")
        count = reader.count(MAX_ITEMS, DIGEST_SIZE + 24)
        digests = reader.read(DIGEST_SIZE * count)
        files, sizes, entries = (reader.numbers("Q", count) for _ in range(3))
        firsts = reader.texts(count, "paths")
        reader.end()
        _check_order(firsts)
        if not count:
            raise IntegrityError("it is an inner block without children")
        names = (digests[start : start + DIGEST_SIZE] for start in range(0, len(digests), DIGEST_SIZE))
        self.children = [Child(*row) for row in zip(firsts, names, entries, files, sizes, strict=True)]

    def __len__(self) -> int:
        return len(self.children)

    @property
    def first_path(self) -> str:
        """Path of the first entry below it."""
        return self.children[0].first_path

    @property
    def entry_count(self) -> int:
        """Number of entries below it."""
        return sum(child.entry_count for child in self.children)

    @property
    def ranks(self) -> list[int]:
        """Number of entries before each child, and of all entries."""
        if self._ranks is None:
            self._ranks = list(accumulate((child.entry_count for child in self.children), initial=0))
        return self._ranks

    @property
    def file_count(self) -> int:
        """Number of files below it."""
        return sum(child.file_count for child in self.children)

    @property
    def byte_count(self) -> int:
        """Total size of all files below it."""
        return sum(child.byte_count for child in self.children)


Block: TypeAlias = Leaf | Inner


def encode_leaf(
    entries: Sequence[Entry], base: bytes | None = None, base_logical: bytes | None = None
) -> Encoded:
    """Return the block of these entries, which are in path order.

    Args:
        entries: at most 8,192.
        base: a stored block; the logical part is stored as its delta if that halves the size.
        base_logical: that block's logical part.

    Raises:
        InvalidInput: entries that `parse_block` would reject.
    """
    _check_entries(entries)
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
    return pack_block(logical, encode_layout(files), base, base_logical)


def encode_inner(
    level: int, children: Sequence[Child], base: bytes | None = None, base_logical: bytes | None = None
) -> Encoded:
    """Return the block of these children, which are in path order. Arguments as for `encode_leaf`."""
    if not 1 <= level <= MAX_LEVEL or not 0 < len(children) <= MAX_ITEMS:
        raise InvalidInput(f"a tree block of level {level} cannot have {len(children)} children.")
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
    return pack_block(logical, b"", base, base_logical)


def parse_block(data: bytes, expect: bytes, load_base: Callable[[bytes], bytes] | None = None) -> Block:
    """Return the block in an object.

    Args:
        data: the object.
        expect: the digest it must have.
        load_base: returns the object of a block by its digest; required if this block is a delta.

    Raises:
        IntegrityError: the object is damaged or belongs to another block.
        FormatTooNew: written by a newer dataver.
    """
    try:
        return _parse(data, expect, load_base)
    except (IntegrityError, FormatTooNew) as error:
        message = f"tree block {expect.hex()} is unusable: {error.message.rstrip('.')}."
        raise type(error)(message, hint=error.hint) from error


def _parse(data: bytes, expect: bytes, load_base: Callable[[bytes], bytes] | None) -> Block:
    logical, layout, base = unpack_block(data, expect, load_base)
    if logical[:1] == b"\0":
        return Leaf(expect, logical, base, layout)
    if layout:
        raise IntegrityError("it is an inner block with a layout")
    return Inner(expect, logical, base)


def _check_entries(entries: Sequence[Entry]) -> None:
    """Reject entries that `parse_block` would reject, before they are written."""
    paths = [entry.path for entry in entries]
    check_paths(paths)
    if len(entries) > MAX_ITEMS or not all(map(operator.lt, paths, paths[1:])):
        raise InvalidInput("the entries of a tree block are too many or not in order.")
    for path, kind, size, digest, target, extents in entries:
        if kind in _PLAIN:
            right = len(digest) == DIGEST_SIZE and 0 <= size < MAX_SIZE and not target
        else:
            right = kind in _OTHER and not (digest or size or extents)
            right &= bool(target) == (kind == Kind.SYMLINK)
        if not right:
            raise InvalidInput(f"the entry of '{path}' does not have the fields of its kind.")
        if target:
            check_target(path, target)


class _ByteReader:
    """Reads columns from one part of a block, never past its end."""

    __slots__ = ("_at", "_data", "_what")

    def __init__(self, data: bytes, what: str) -> None:
        self._data, self._at, self._what = data, 0, what

    def read(self, size: int) -> bytes:
        part = self._data[self._at : self._at + size]
        if len(part) != size:
            raise IntegrityError(f"{self._what} is cut off")
        self._at += size
        return part

    def count(self, most: int, each: int) -> int:
        number = int.from_bytes(self.read(4), "little")
        if number > most or number * each > len(self._data) - self._at:
            raise IntegrityError(f"{self._what} claims {number} items")
        return number

    def numbers(self, kind: str, count: int) -> "array[int]":
        column = array(kind)
        column.frombytes(self.read(count * column.itemsize))
        if _SWAP:
            column.byteswap()
        return column

    def texts(self, count: int, what: str) -> list[str]:
        size = int.from_bytes(self.read(4), "little")
        data = self.read(size)
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
            raise IntegrityError(f"{self._what} has extra bytes")


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
        raise IntegrityError(error.message) from error
    if not all(map(operator.lt, paths, paths[1:])):
        raise IntegrityError("its paths are not in order")
