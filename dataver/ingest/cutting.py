"""Bytes in, chunks out: hash a file, cut it, hash its chunks.

The idea: what takes long and leaves the interpreter alone, hashing and cutting, is done a *window* at a time
by jobs that see nothing but the window's bytes. So a thread of its own can do them while the caller's thread
reads the next window and settles the one before (`dataver.ingest.adding`). The digest of a large file is the
reader's work, too.

Jobs of one file run in order, one at a time. A window belongs to its job until the job is done, and what the
job answers with points into it. Keeps invariant 1: a file's digest and its chunks come from the same bytes.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

from dataver.formats.entry import Entry, Extent
from dataver.formats.pack import Footer
from dataver.hashing import Chunker, ChunkingParameters, digest
from dataver.ingest.expected import Expected
from dataver.ingest.scan import Found

if TYPE_CHECKING:
    from dataver.ingest.chunk_index import Place

__all__ = ["Chunk", "Cutter", "File", "LargeFile", "Piece", "Span", "Window"]


class Piece:
    """A stretch of raw bytes: of the pack with this footer, or of the session's stream (None)."""

    __slots__ = ("footer", "length", "start")

    def __init__(self, footer: Footer | None, start: int, length: int) -> None:
        self.footer, self.start, self.length = footer, start, length


class File:
    """One file on its way to an entry; `prior` is the entry that stands at its path now."""

    __slots__ = ("digest", "extents", "found", "pieces", "prior", "size")

    def __init__(self, found: Found, prior: Entry | None) -> None:
        self.found = found
        self.prior = prior
        self.size = 0
        self.digest = b""
        self.pieces: list[Piece] = []
        self.extents: tuple[Extent, ...] | None = None

    @property
    def same(self) -> bool:
        """Whether its bytes are those of the entry that stands at its path."""
        return self.prior is not None and self.prior.digest == self.digest

    def extend(self, footer: Footer | None, start: int, length: int) -> None:
        """Add the next stretch of the file's bytes; neighbours merge."""
        if self.pieces:
            last = self.pieces[-1]
            if last.footer is footer and last.start + last.length == start:
                last.length += length
                return
        self.pieces.append(Piece(footer, start, length))


Chunk: TypeAlias = tuple[File, bytes, "memoryview | Place"]
"""Of which file, and its digest and bytes; or where a run of chunks lies, with the digest left empty."""

Span: TypeAlias = tuple[File, int, int]  # a whole small file and where its bytes are in a window


class Window:
    """A buffer to be used again: first room for what the window before left over, then what is read.

    Attributes:
        view: all of it.
        begin: where what is read begins.
    """

    __slots__ = ("begin", "view")

    def __init__(self, size: int, params: ChunkingParameters) -> None:
        self.begin = params.maximum
        self.view = memoryview(bytearray(self.begin + size))


class LargeFile:
    """What the jobs of a large file hand on from one window to the next."""

    __slots__ = ("cut", "expected", "file", "rest")

    def __init__(self, file: File, expected: Expected | None) -> None:
        self.file = file
        self.expected = expected
        self.rest = b""  # read, but not cut yet; less than a chunk's maximum
        self.cut = 0  # bytes cut so far


class Cutter:
    """Does the jobs. Use from one thread at a time."""

    def __init__(self, params: ChunkingParameters) -> None:
        self._chunker = Chunker(params)
        self._minimum, self._maximum = params.minimum, params.maximum

    def small(self, window: Window, spans: Iterable[Span]) -> list[Chunk]:
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

    def large(self, window: Window, large: LargeFile, count: int, *, final: bool) -> list[Chunk]:
        """Cut the next `count` bytes of a large file; with `final` also those left over."""
        first = window.begin - len(large.rest)
        window.view[first : window.begin] = large.rest
        data = window.view[first : window.begin + count]
        chunks: list[Chunk] = []
        done = self._cut(data, large, chunks, final=final)
        large.rest = bytes(data[done:])
        large.cut += done
        return chunks

    def _cut(self, data: memoryview, large: LargeFile, chunks: list[Chunk], *, final: bool) -> int:
        """Put the chunks of `data` that no later byte can move into `chunks`; return where they end."""
        file, expected, position = large.file, large.expected, 0
        sure = (
            len(data) if final else len(data) - self._maximum + 1
        )  # a chunk that begins below is sure to end
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
