"""Open files of a draft: read, write or change one without a copy of the dataset.

    rb            the content, from the repository or from the packs in the local spool
    wb xb ab      a stream into the draft (`dataver.ingest.file_writer`); `ab` reads the content to hash it
    r+b w+b x+b   random access: written data waits in an unnamed local file of that size, and the whole
                  file is added to the draft on `close`

The idea: writing is atomic. The file is in the draft once `close` has returned; after an exception, or if it
is never closed, the draft is unchanged. Modes without `b` wrap the same files as text.
"""

from __future__ import annotations

import copy
import io
import os
import tempfile
import warnings
from bisect import bisect_left
from typing import IO, TYPE_CHECKING, Final, Literal, cast

from dataver.errors import InvalidInput, PathNotFound
from dataver.formats.entry import Entry, Kind, check_path
from dataver.formats.pack import Footer, parse_footer, parse_trailer
from dataver.ingest.draft_state import kept_in
from dataver.repository import Packs
from dataver.repository.read_again import resumed
from dataver.tree import path_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from typing_extensions import Buffer

    from dataver.ingest.draft_store import DraftStore
    from dataver.ingest.file_writer import FileWriter

# Imports in functions: a draft is written or read, seldom both.

__all__ = ["open_in_draft"]

_BUFFER: Final = 1 << 20  # bytes per read when small ranges are requested
_PIECE: Final = 4 << 20  # bytes per read of an unchanged range


def open_in_draft(
    draft: DraftStore,
    path: str | os.PathLike[str],
    mode: str,
    *,
    executable: bool | None,
    encoding: str | None,
    errors: str | None,
    newline: str | None,
) -> IO[bytes] | IO[str]:
    """Open a file of a draft; arguments as for `Draft.open`."""
    kind, plus = _parsed(mode)
    if "b" in mode and (encoding, errors, newline) != (None, None, None):
        raise InvalidInput(
            "binary modes take no encoding, errors or newline.", hint="leave out the b or these"
        )
    path = path_of(path)
    check_path(path)
    binary = _binary(draft, path, kind, plus=plus, executable=executable)
    if "b" in mode:
        return cast("IO[bytes]", binary)
    return _Text(cast("IO[bytes]", binary), encoding=encoding or "utf-8", errors=errors, newline=newline)


def _binary(
    draft: DraftStore, path: str, kind: str, *, plus: bool, executable: bool | None
) -> io.BufferedIOBase:
    from dataver.ingest.file_writer import FileWriter

    entry = draft.tree.get(path)
    if kind == "r" or (kind == "a" and entry is not None):
        base = _Base(draft, path)
        if kind == "r" and not plus:
            return io.BufferedReader(_Reading(base), _BUFFER)
    else:
        base = None
    based_on = base.entry if base is not None else None
    writer = FileWriter(draft, path, executable=executable, exclusive=kind == "x", based_on=based_on)
    if plus:
        return _Editing(writer, base, at_end=kind == "a")
    if base is not None:
        try:
            for piece in base.pieces():
                writer.write(piece)
        except BaseException:
            writer.discard()
            raise
    return _Writing(writer, path)


def _parsed(mode: str) -> tuple[Literal["r", "w", "x", "a"], bool]:
    letters = sorted(mode.replace("t", "", 1) if "b" not in mode else mode.replace("b", "", 1))
    plus = "+" in letters
    kind = "".join(letters).replace("+", "", 1)
    if kind not in ("r", "w", "x", "a"):
        raise InvalidInput(
            f"unknown mode '{mode}'.", hint="r, w, x or a, with b for bytes and + for both ways"
        )
    return cast('Literal["r", "w", "x", "a"]', kind), plus


class _Base:
    """Reader of a file in a draft; every frame is verified (invariant 1)."""

    def __init__(self, draft: DraftStore, path: str) -> None:
        self._draft, self._path = draft, path
        self._repo = copy.copy(draft.repository)
        self._repo.packs = _DraftPacks(draft)
        self.entry = self._find()

    @property
    def size(self) -> int:
        """The size of the file in bytes."""
        return self.entry.size

    def pieces(self) -> Iterator[bytes | memoryview]:
        """Yield the content in pieces; the last piece is yielded only if the digest matches."""
        return self._again(0, None)

    def read(self, start: int, length: int) -> bytes:
        """Return the bytes of a range."""
        return b"".join(self._again(start, length))

    def _again(self, start: int, length: int | None) -> Iterator[bytes | memoryview]:
        """Read a range; resolve the extents again once if a pack was repacked meanwhile."""
        from dataver.checkout import read_file

        def again() -> Iterator[bytes | memoryview]:
            self._draft.repository.blocks.refresh()
            self._draft.forget_blocks()
            self.entry = self._find()
            return read_file(self._repo, self.entry, start, length)

        return resumed(read_file(self._repo, self.entry, start, length), again)

    def _find(self) -> Entry:
        entry = self._draft.tree.get(self._path)
        if entry is None:
            raise PathNotFound(
                f"the draft has no '{self._path}'.", hint="`dataver ls --draft` lists its files"
            )
        if entry.kind in (Kind.SYMLINK, Kind.DIRECTORY):
            raise InvalidInput(
                f"'{self._path}' in the draft is a link or an empty folder and has no content."
            )
        return entry


class _DraftPacks(Packs):
    """The repository's packs and those in the local spool."""

    def __init__(self, draft: DraftStore) -> None:
        super().__init__(draft.repository.store, draft.repository.cache)
        self._draft = draft

    def footer(self, pack_id: bytes, end: int | None = None) -> Footer:
        data = self._local(pack_id, -64, 64)
        if data is None:
            return self._draft.repository.packs.footer(pack_id, end)
        size = (self._draft.spool / pack_id.hex()).stat().st_size
        need = parse_trailer(data, size).tail_size
        return parse_footer(self._local(pack_id, -need, need) or b"", pack_id, size)

    def read(self, pack_id: bytes, offset: int, length: int) -> bytes:
        data = self._local(pack_id, offset, length)
        return self._draft.repository.packs.read(pack_id, offset, length) if data is None else data

    def _local(self, pack_id: bytes, offset: int, length: int) -> bytes | None:
        """Return a range of a pack in the spool; None if it is absent, for example already sent."""
        try:
            with open(self._draft.spool / pack_id.hex(), "rb") as file:
                file.seek(offset, os.SEEK_END if offset < 0 else os.SEEK_SET)
                return file.read(length)
        except FileNotFoundError:
            return None


class _Reading(io.RawIOBase):
    """A file of a draft, open for reading."""

    def __init__(self, base: _Base) -> None:
        self._base = base
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = _sought(offset, whence, self._position, self._base.size)
        return self._position

    def readinto(self, buffer: Buffer) -> int:
        with memoryview(buffer).cast("B") as view:
            count = max(0, min(len(view), self._base.size - self._position))
            if count:
                view[:count] = self._base.read(self._position, count)
        self._position += count
        return count


class _Ending(io.BufferedIOBase):
    """Base of files that enter the draft when closed, and not at all otherwise."""

    def discard(self) -> None:
        """Close the file and leave the draft unchanged."""
        raise NotImplementedError

    def writable(self) -> bool:
        return True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def __del__(self) -> None:
        if not self.closed:
            warnings.warn(f"{self!r} was not closed; the draft is unchanged.", ResourceWarning, 1)
            self.discard()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file.")


class _Writing(_Ending):
    """A file written sequentially into a draft."""

    def __init__(self, writer: FileWriter, path: str) -> None:
        self._writer = writer
        self.name = path

    def __repr__(self) -> str:
        return f"<file {self.name!r} being written to a draft>"

    def write(self, data: Buffer) -> int:
        self._check_open()
        return self._writer.write(data)

    def tell(self) -> int:
        self._check_open()
        return self._writer.size

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._writer.close()

    def discard(self) -> None:
        if not self.closed:
            super().close()
            self._writer.discard()


class _Editing(_Ending):
    """A file written with random access; written data waits at its offset in an unnamed file.

    Ranges that neither were written nor exist in the original file read as zeros.
    """

    def __init__(self, writer: FileWriter, base: _Base | None, *, at_end: bool) -> None:
        self._writer, self._base = writer, base
        self._size = self._kept = base.size if base is not None else 0
        self._at_end = at_end
        self._position = self._size if at_end else 0
        self._written: list[tuple[int, int]] = []  # disjoint, sorted
        with kept_in(writer.folder):
            self._scratch = tempfile.TemporaryFile(dir=writer.folder)  # noqa: SIM115  # closed with this

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._check_open()
        self._position = _sought(offset, whence, self._position, self._size)
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        self._check_open()
        left = max(0, self._size - self._position)
        end = self._position + (left if size is None or size < 0 else min(size, left))
        found = b"".join(self._stretches(self._position, end))
        self._position = max(self._position, end)
        return found

    read1 = read

    def readinto(self, buffer: Buffer) -> int:
        with memoryview(buffer).cast("B") as view:
            found = self.read(len(view))
            view[: len(found)] = found
        return len(found)

    def write(self, data: Buffer) -> int:
        self._check_open()
        with memoryview(data).cast("B") as view:
            if not len(view):
                return 0
            start = self._size if self._at_end else self._position
            with kept_in(self._writer.folder):
                self._scratch.seek(start)
                self._scratch.write(view)
                self._scratch.flush()
            end = start + len(view)
        self._note(start, end)
        self._size = max(self._size, end)
        self._position = end
        return end - start

    def truncate(self, size: int | None = None) -> int:
        self._check_open()
        end = self._position if size is None else size
        self._kept = min(self._kept, end)
        self._written = [(low, min(high, end)) for low, high in self._written if low < end]
        self._size = end
        return end

    def close(self) -> None:
        if self.closed:
            return
        if self._base is not None and not self._written and self._size == self._kept == self._base.size:
            self.discard()  # nothing was changed
            return
        try:
            for piece in self._stretches(0, self._size):
                self._writer.write(piece)
        except BaseException:
            self.discard()
            raise
        super().close()
        self._scratch.close()
        self._writer.close()

    def discard(self) -> None:
        if not self.closed:
            super().close()
            self._scratch.close()
            self._writer.discard()

    def _note(self, start: int, end: int) -> None:
        """Record a written interval and merge it with adjacent ones."""
        first = bisect_left(self._written, start, key=lambda each: each[1])
        last = first
        while last < len(self._written) and self._written[last][0] <= end:
            start, end = min(start, self._written[last][0]), max(end, self._written[last][1])
            last += 1
        self._written[first:last] = [(start, end)]

    def _stretches(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the bytes of the range from `start` to `end` (exclusive) in pieces."""
        number = bisect_left(self._written, start + 1, key=lambda each: each[1])
        while start < end:
            low, high = self._written[number] if number < len(self._written) else (end, end)
            if low <= start:
                stop = min(high, end, start + _PIECE)
                self._scratch.seek(start)
                yield self._scratch.read(stop - start)
                number += stop == high
            elif start < self._kept and self._base is not None:
                stop = min(low, end, self._kept, start + _PIECE)
                yield self._base.read(start, stop - start)
            else:
                stop = min(low, end, start + _PIECE)
                yield bytes(stop - start)
            start = stop


class _Text(io.TextIOWrapper):
    """Text wrapper of an open file of a draft; closing or discarding it applies to the binary file."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and isinstance(self.buffer, _Ending):
            self.buffer.discard()
        else:
            self.close()

    def __del__(self) -> None:
        """Do not close: the binary file inside reports that it was not closed."""


def _sought(offset: int, whence: int, position: int, size: int) -> int:
    """Return the target position of a seek."""
    start = {os.SEEK_SET: 0, os.SEEK_CUR: position, os.SEEK_END: size}.get(whence)
    if start is None or start + offset < 0:
        raise ValueError(f"cannot seek to {offset} from {whence}")
    return start + offset
