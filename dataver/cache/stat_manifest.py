"""Stat manifest of a complete cached folder: kind, size and modification time of each entry.

The idea: a folder whose entries are unchanged since they were verified counts as verified, at the cost of one
`lstat` a file instead of reading it. The manifest is stored beside the folder, in blocks, so that memory for
writing and reading it does not grow with the dataset.

    magic "DVSTAT" 00 01, then blocks to the end of the file:
    u32 count, u32 stored, u32 raw, u64 XXH3-64 of the stored bytes, then one zstd frame of
    kind u8[count] · size u64[count] · mtime_ns i64[count] · paths joined by NUL

A manifest is a hint (invariant 5): if it is unreadable, the folder is verified again. Sizes and times are
those of `lstat`; folders are only checked for existence.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from typing import TYPE_CHECKING, Final, NamedTuple

from dataver.errors import IntegrityError
from dataver.formats.compression import decompress_exactly, make_compressor, make_decompressor
from dataver.hashing.digest import checksum

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from dataver.formats.compression import Compressor

__all__ = ["Lookup", "Row", "read_rows", "write_rows"]

MAGIC: Final = b"DVSTAT\x00\x01"
_BLOCK: Final = struct.Struct("<IIIQ")
_ROWS: Final = 8192
_LARGEST: Final = 64 * 1024 * 1024  # 8,192 paths of 4,096 bytes take 32 MB


class Row(NamedTuple):
    """An entry of the folder, with values from `lstat`."""

    path: str
    kind: int
    size: int
    mtime_ns: int


class _Rows(NamedTuple):
    paths: list[str]
    kinds: bytes
    sizes: array[int]
    mtimes: array[int]

    def row(self, number: int) -> Row:
        return Row(self.paths[number], self.kinds[number], self.sizes[number], self.mtimes[number])


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write a manifest of rows in tree order; not atomic, so the caller renames the file afterwards."""
    compressor = make_compressor()
    with path.open("wb") as file:
        file.write(MAGIC)
        held: list[Row] = []
        for row in rows:
            held.append(row)
            if len(held) == _ROWS:
                file.write(_encode(held, compressor))
                held = []
        if held:
            file.write(_encode(held, compressor))


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows in order.

    Raises:
        IntegrityError: damaged, or not a manifest.
        OSError: missing or unreadable.
    """
    for block in _blocks(path):
        for number in range(len(block.paths)):
            yield block.row(number)


class Lookup:
    """Lookup of rows by path; caches one decoded block, so access in tree order is fast."""

    def __init__(self, path: Path) -> None:
        """Read the offsets of the blocks.

        Raises:
            IntegrityError: damaged, or not a manifest.
            OSError: missing or unreadable.
        """
        self._data = path.read_bytes()  # ~10 bytes a file
        self._offsets: list[int] = []
        self._firsts: list[str] = []
        self._numbers: dict[str, int] = {}  # row numbers in the decoded block
        self._block = _Rows([], b"", array("Q"), array("q"))
        offset = _begin(self._data)
        while offset < len(self._data):
            count, raw, behind = _checked(self._data, offset)
            self._offsets.append(offset)
            self._firsts.append(raw[17 * count :].partition(b"\0")[0].decode("utf-8", "surrogateescape"))
            offset = behind

    def stat(self, path: str) -> tuple[int, int, int] | None:
        """Return kind, size and modification time (ns) of a path, or None."""
        number = self._numbers.get(path)
        if number is None:
            number = self._elsewhere(path)
            if number is None:
                return None
        block = self._block
        return block.kinds[number], block.sizes[number], block.mtimes[number]

    def find(self, path: str) -> Row | None:
        """Return the row of a path, or None."""
        found = self.stat(path)
        return None if found is None else Row(path, *found)

    def _elsewhere(self, path: str) -> int | None:
        """Decode the block that can contain a path; return the path's row number, or None."""
        at = bisect_right(self._firsts, path) - 1
        if at < 0 or (self._block.paths and self._firsts[at] == self._block.paths[0]):
            return None
        self._block, _ = _parse(self._data, self._offsets[at])
        self._numbers = dict(zip(self._block.paths, range(len(self._block.paths)), strict=True))
        return self._numbers.get(path)


def _encode(rows: list[Row], compressor: Compressor) -> bytes:
    paths, kinds, sizes, mtimes = zip(*rows, strict=True)
    count = len(rows)
    raw = (
        bytes(kinds)
        + struct.pack(f"<{count}Q{count}q", *sizes, *mtimes)
        + "\0".join(paths).encode("utf-8", "surrogateescape")
    )
    stored = compressor(raw)
    return _BLOCK.pack(count, len(stored), len(raw), checksum(stored)) + stored


def _begin(data: bytes) -> int:
    if data[: len(MAGIC)] != MAGIC:
        raise IntegrityError("the manifest of a cached folder has an unknown format")
    return len(MAGIC)


def _parse(data: bytes, offset: int) -> tuple[_Rows, int]:
    count, raw, behind = _checked(data, offset)
    sizes = array("Q", struct.unpack_from(f"<{count}Q", raw, count))
    mtimes = array("q", struct.unpack_from(f"<{count}q", raw, 9 * count))
    paths = raw[17 * count :].decode("utf-8", "surrogateescape").split("\0")
    if len(paths) != count:
        raise _damaged()
    return _Rows(paths, raw[:count], sizes, mtimes), behind


def _checked(data: bytes, offset: int) -> tuple[int, bytes, int]:
    """Return the row count and content of the block at an offset, and the offset after it."""
    if len(data) - offset < _BLOCK.size:
        raise IntegrityError("the manifest of a cached folder is truncated")
    count, size, raw_size, check = _BLOCK.unpack_from(data, offset)
    behind = offset + _BLOCK.size + size
    stored = data[offset + _BLOCK.size : behind]
    if len(stored) != size or checksum(stored) != check or not 17 * count < raw_size <= _LARGEST or not count:
        raise _damaged()
    raw = decompress_exactly(stored, raw_size, make_decompressor(), "the manifest of a cached folder")
    return count, raw, behind


def _damaged() -> IntegrityError:
    return IntegrityError("the manifest of a cached folder is damaged")


def _blocks(path: Path) -> Iterator[_Rows]:
    data = path.read_bytes()
    offset = _begin(data)
    while offset < len(data):
        block, offset = _parse(data, offset)
        yield block
