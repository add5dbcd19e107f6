"""A draft's own tree blocks: one append-only file, synced to disk once per command.

    record: digest (32) · length u32 · block object

Keeps invariants 1 (a block is parsed against its digest when it is loaded) and 4: a torn record at the end,
left by a crash, is truncated by the next writer; blocks that the draft's state names are synced before the
state is.
"""

import os
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

from dataver.formats.block import Encoded, Inner, Leaf, parse_block
from dataver.storage.lacking import flush
from dataver.storage.replace_file import replace_file

__all__ = ["BlockLog"]

_HEAD = struct.Struct("<32sI")


class BlockLog:
    """The blocks of a draft that its repository may not have yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: dict[bytes, tuple[int, int]] = {}
        self._end = 0
        self._fresh: dict[bytes, Encoded] = {}
        self._scan()

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._fresh or digest in self._places

    def add(self, block: Encoded) -> None:
        """Record a block; it is durable after `commit`.

        Of two blocks that differ only in layout the later is kept: the earlier may depend on external files
        or on damaged packs.
        """
        if block.digest not in self or self.object(block.digest) != block.data:
            self._fresh[block.digest] = block

    def object(self, digest: bytes) -> bytes:
        """Return the object of a block that is in the log."""
        if digest in self._fresh:
            return self._fresh[digest].data
        start, length = self._places[digest]
        with self._path.open("rb") as file:
            file.seek(start)
            return file.read(length)

    def load(self, digest: bytes, base: Callable[[bytes], bytes]) -> Leaf | Inner:
        """Return a parsed block of the log; `base` finds the objects of other blocks."""
        return parse_block(self.object(digest), digest, base)

    def commit(self) -> None:
        """Append new blocks and sync the file."""
        if not self._fresh:
            return
        with self._path.open("ab") as file:
            file.truncate(self._end)
            file.seek(self._end)
            for digest, block in self._fresh.items():
                file.write(_HEAD.pack(digest, len(block.data)))
                file.write(block.data)
                self._places[digest] = (self._end + _HEAD.size, len(block.data))
                self._end += _HEAD.size + len(block.data)
            file.flush()
            flush(file.fileno())
        self._fresh.clear()

    def keep_only(self, digests: Iterable[bytes]) -> None:
        """Drop all blocks except these; without any, remove the file."""
        blocks = [(digest, self.object(digest)) for digest in digests]
        if blocks:
            parts = (part for digest, data in blocks for part in (_HEAD.pack(digest, len(data)), data))
            replace_file(self._path, *parts)
        else:
            self._path.unlink(missing_ok=True)
        self._fresh.clear()
        self._places.clear()
        self._end = 0
        self._scan()

    def _scan(self) -> None:
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        with file:
            size = os.fstat(file.fileno()).st_size
            while len(head := file.read(_HEAD.size)) == _HEAD.size:
                digest, length = _HEAD.unpack(head)
                start = file.tell()
                if start + length > size:
                    return
                self._places[digest] = (start, length)
                self._end = file.seek(length, os.SEEK_CUR)
