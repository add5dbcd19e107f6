"""A draft's own tree blocks: one append-only file, forced to the disk once a command.

    record: digest (32) · length u32 · block object

Keeps invariants 1 (a block is parsed against its digest when it is loaded) and 4: a torn record at the end,
left by a crash, is cut off by the next writer; whatever the draft's state names was forced to the disk before
the state was.
"""

import os
import struct
from collections.abc import Callable
from pathlib import Path

from dataver.formats.block import Encoded, Inner, Leaf, parse_block
from dataver.formats.block_object import is_external_object

__all__ = ["BlockLog"]

_HEAD = struct.Struct("<32sI")


class BlockLog:
    """The blocks that a draft has and its repository may not have yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: dict[bytes, tuple[int, int]] = {}
        self._end = 0
        self._fresh: dict[bytes, Encoded] = {}
        self._scan()

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._fresh or digest in self._places

    def add(self, block: Encoded) -> None:
        """Take a block; it is on the disk after `commit`.

        Of two that differ in their layouts alone the later stays where the earlier needs external files.
        """
        if block.digest not in self or is_external_object(self.object(block.digest)):
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
        """Append what is new and force it to the disk."""
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
            os.fsync(file.fileno())
        self._fresh.clear()

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
