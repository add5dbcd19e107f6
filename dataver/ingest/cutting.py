"""Hashing a file, cutting it into chunks, and hashing its chunks.

The idea: hashing and cutting are slow but release the GIL, so jobs do them one *window* at a time, with no
other state than the window's bytes. A second thread runs the jobs while the caller's thread reads the next
window and finishes the previous one (`dataver.ingest.chunk_pipeline`). The reader also computes the digest of
a large file.

Jobs of one file run in order, one at a time. A window belongs to its job until the job is done, and the job's
results point into it. Keeps invariant 1: a file's digest and its chunks come from the same bytes.
"""

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from dataver.formats.entry import Entry, Extent
from dataver.formats.pack import Footer
from dataver.hashing import Chunker, ChunkingParameters, digest
from dataver.ingest.parent_chunks import Expected
from dataver.ingest.scan import ScannedItem
from dataver.storage.holes import ZEROS

if TYPE_CHECKING:
    from dataver.ingest.chunk_index import ChunkLocation

__all__ = ["Chunk", "CutBuffer", "Cutter", "File", "Hole", "LargeFile", "RawRange", "Span"]


class RawRange:
    """A range of raw bytes: of the pack with this footer, or of the session's stream (None)."""

    __slots__ = ("footer", "length", "start")

    def __init__(self, footer: Footer | None, start: int, length: int) -> None:
        self.footer, self.start, self.length = footer, start, length


class File:
    """One file being added.

    Attributes:
        prior: the current entry at its path.
        still: whether its times would reveal a change since it was read.
    """

    __slots__ = ("digest", "extents", "found", "pieces", "prior", "size", "still")

    def __init__(self, found: ScannedItem, prior: Entry | None) -> None:
        self.found = found
        self.prior = prior
        self.size = 0
        self.digest = b""
        self.still = True
        self.pieces: list[RawRange] = []
        self.extents: tuple[Extent, ...] | None = None

    @property
    def same(self) -> bool:
        """Whether its content equals that of the current entry at its path."""
        return self.prior is not None and self.prior.digest == self.digest

    def extend(self, footer: Footer | None, start: int, length: int) -> None:
        """Append the next range of the file's bytes; adjacent ranges merge."""
        if self.pieces:
            last = self.pieces[-1]
            if last.footer is footer and last.start + last.length == start:
                last.length += length
                return
        self.pieces.append(RawRange(footer, start, length))


class Hole(NamedTuple):
    """A hole of a sparse file, stored as repetitions of one chunk, `ZEROS`."""

    length: int


Chunk: TypeAlias = tuple[File, bytes, "memoryview | ChunkLocation | Hole"]
"""A chunk's file, digest and bytes; or the place of a run of chunks, with an empty digest; or a hole, with
the digest of `ZEROS`."""

Span: TypeAlias = tuple[File, int, int]  # a small file and the range of its bytes in a window


class CutBuffer:
    """A reusable buffer: room for the remainder of the previous window, then the bytes read.

    Attributes:
        view: the whole buffer.
        begin: the offset at which reading starts.
    """

    __slots__ = ("begin", "view")

    def __init__(self, size: int, params: ChunkingParameters) -> None:
        self.begin = params.maximum
        self.view = memoryview(bytearray(self.begin + size))


class LargeFile:
    """State of a large file that its jobs pass from one window to the next."""

    __slots__ = ("cut", "expected", "file", "rest")

    def __init__(self, file: File, expected: Expected | None) -> None:
        self.file = file
        self.expected = expected
        self.rest = b""  # bytes read but not cut yet; less than a chunk's maximum
        self.cut = 0  # bytes cut so far


class Cutter:
    """Runner of the jobs. Use from one thread at a time."""

    def __init__(self, params: ChunkingParameters) -> None:
        self._chunker = Chunker(params)
        self._minimum, self._maximum = params.minimum, params.maximum

    def small(self, window: CutBuffer, spans: Iterable[Span]) -> list[Chunk]:
        """Hash whole files; return the chunks of those that differ from the entry at their path."""
        view, minimum, cut = window.view, self._minimum, self._chunker.cut
        chunks: list[Chunk] = []
        for file, start, end in spans:
            data = view[start:end]
            file.digest = name = digest(data)
            if start == end or (file.prior is not None and file.same):
                continue
            ends = cut(data, final=True) if end - start > minimum else ()
            if len(ends) < 2:
                chunks.append((file, name, data))  # one chunk: its digest is the file's
                continue
            first = 0
            for last in ends:
                part = data[first:last]
                chunks.append((file, digest(part), part))
                first = last
        return chunks

    def large(
        self, window: CutBuffer, large: LargeFile, count: int, *, final: bool, hole: int = 0
    ) -> list[Chunk]:
        """Cut the next `count` bytes of a large file; with `final` or a hole behind them also the rest."""
        first = window.begin - len(large.rest)
        window.view[first : window.begin] = large.rest
        data = window.view[first : window.begin + count]
        chunks: list[Chunk] = []
        done = self._cut(data, large, chunks, final=final or hole > 0)
        large.rest = bytes(data[done:])
        large.cut += done + hole
        if hole:
            chunks.append((large.file, _zeros_digest(), Hole(hole)))
        return chunks

    def _cut(self, data: memoryview, large: LargeFile, chunks: list[Chunk], *, final: bool) -> int:
        """Append to `chunks` those of `data` that later bytes cannot change; return their end."""
        file, expected, position = large.file, large.expected, 0
        sure = (
            len(data) if final else len(data) - self._maximum + 1
        )  # a chunk that begins below this offset ends within the data
        while position < sure:
            if expected is not None:
                position = expected.follow(
                    data, position, len(data), lambda run: chunks.append((file, b"", run))
                )
            start = position
            for end in self._chunker.ends(data[start:]) if position < sure else ():
                part = data[position : start + end]
                name = digest(part)
                place = expected and expected.found(name, large.cut + position, len(part))
                chunks.append((file, b"", place) if place else (file, name, part))
                position = start + end
                if place or position >= sure:
                    break
        return position


@cache
def _zeros_digest() -> bytes:
    return digest(ZEROS)
