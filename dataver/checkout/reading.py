"""Reading one file of a version without fetching the version.

Every frame is verified before its bytes are returned. The digest of a whole file is compared, too: before the
first byte of a small file, before the last piece of a large one, so a damaged file is never read to its end.
A range of a file is covered only by its frames' checksums (invariant 1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataver.checkout.frames import pieces_of
from dataver.checkout.range_plan import FetchedFile, FramePart, Range, positions, raw_extents, split_extent
from dataver.errors import IntegrityError, InvalidInput
from dataver.formats.entry import Kind
from dataver.hashing.digest import new_hasher
from dataver.repository.frame_reader import MAX_RANGE, FrameReader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataver.formats.entry import Entry
    from dataver.repository import RepositoryCore

__all__ = ["read_file"]

_HELD = 16 * 1024 * 1024  # a file up to this size is verified before its first byte is returned


def read_file(
    repo: RepositoryCore, entry: Entry, start: int = 0, length: int | None = None
) -> Iterator[bytes | memoryview]:
    """Yield the bytes of a file, or `length` bytes of it from `start`, in pieces.

    Raises:
        InvalidInput: not a file, or the range exceeds it.
        IntegrityError: the repository holds damaged bytes.
    """
    if entry.kind not in (Kind.FILE, Kind.EXECUTABLE):
        raise InvalidInput(f"{entry.path!r} is a link or an empty folder and has no content.")
    end = entry.size if length is None else start + length
    if not 0 <= start <= end <= entry.size:
        raise InvalidInput(f"{entry.path!r} has {entry.size} bytes: there are none from {start} to {end}.")
    if (start, end) != (0, entry.size):
        return _pieces(repo, entry, start, end)
    return _verified(repo, entry)


def _verified(repo: RepositoryCore, entry: Entry) -> Iterator[bytes | memoryview]:
    hasher = new_hasher()
    held: list[bytes | memoryview] = []
    for piece in _pieces(repo, entry, 0, entry.size):
        hasher.update(piece)
        if entry.size > _HELD and held:
            yield held.pop()
        held.append(piece)
    if hasher.digest() != entry.digest:
        raise IntegrityError(
            f"{entry.path!r} cannot be read: its bytes in the repository do not match its digest.",
            hint="`dataver verify` lists all damage; a copy of the repository may still hold the file",
        )
    yield from held


def _pieces(repo: RepositoryCore, entry: Entry, start: int, end: int) -> Iterator[bytes | memoryview]:
    reader = FrameReader(repo.packs)
    target = FetchedFile(entry.path, False, entry.size, entry.digest, entry.extents)
    for extent, position in positions(entry.extents):
        low, high = max(start, position), min(end, position + extent.length)
        if low >= high:
            continue
        if high - low < extent.length:
            footer = repo.packs.footer(extent.pack)
            first = footer.raw_starts[footer.frame_at(extent.offset)] + extent.skip + low - position
            parts = raw_extents(footer, first, high - low)
        elif extent.stored > MAX_RANGE:
            parts = split_extent(extent, repo.packs.footer(extent.pack))
        else:
            parts = iter((extent,))
        for part in parts:
            piece = FramePart(part.offset, part.stored, part.skip, part.length, target, 0)
            one = Range(extent.pack, part.offset, part.stored, [piece], 0)
            for _, _, content in pieces_of(one, reader):
                yield content
