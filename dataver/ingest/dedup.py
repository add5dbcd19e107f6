"""Placement of the chunks of files: at a known place, or appended to the session's stream."""

from collections.abc import Iterator, Sequence

from dataver.formats.entry import Extent
from dataver.ingest.chunk_index import ChunkLocation
from dataver.ingest.cutting import Chunk, File, Hole
from dataver.ingest.dedup_lookup import KnownChunks
from dataver.ingest.pack_writer import PackSession, interval_extent
from dataver.storage.holes import ZEROS

__all__ = ["Placed", "extents_of", "place"]


class Placed:
    """Counters of placed chunks. Sizes in bytes."""

    __slots__ = ("new_chunks", "new_size")

    def __init__(self) -> None:
        self.new_chunks = self.new_size = 0


def place(chunks: Sequence[Chunk], known: KnownChunks, session: PackSession, done: Placed) -> None:
    """Look up chunks together, append new ones, and extend their files by them in order."""
    own = known.own
    places = known.find(name for _, name, _ in chunks if name)
    for file, name, data in chunks:
        if isinstance(data, ChunkLocation):
            file.extend(data.footer, data.start, data.length)
            continue
        chunk = ZEROS if isinstance(data, Hole) else data
        length = len(chunk)
        position, footer = own(name), None
        if position is None:
            found = places.get(name)
            if found is not None and found.length == length:
                position, footer = found.start, found.footer
            else:
                position = session.append(chunk, name)
                known.remember(name, position)
                done.new_chunks += 1
                done.new_size += length
        if not isinstance(data, Hole):
            file.extend(footer, position, length)
            continue
        for at in range(0, data.length, length):
            file.extend(footer, position, min(length, data.length - at))


def extents_of(file: File, session: PackSession) -> Iterator[Extent]:
    """Yield the extents of a file; the session's packs must be flushed."""
    for piece in file.pieces:
        if piece.footer is None:
            yield from session.extents(piece.start, piece.length)
        else:
            yield interval_extent(piece.footer, piece.start, piece.length)
