"""Where the chunks of files come to lie: at a known place, or behind everything appended so far."""

from collections.abc import Iterator, Sequence

from dataver.formats.entry import Extent
from dataver.ingest.chunk_index import Place
from dataver.ingest.cutting import Chunk, File
from dataver.ingest.known import KnownChunks
from dataver.ingest.packing import PackSession, interval_extent

__all__ = ["Placed", "extents_of", "place"]


class Placed:
    """What was done so far. Sizes in bytes."""

    __slots__ = ("new_chunks", "new_size")

    def __init__(self) -> None:
        self.new_chunks = self.new_size = 0


def place(chunks: Sequence[Chunk], known: KnownChunks, session: PackSession, done: Placed) -> None:
    """Look up chunks together, append those that are new, and extend their files by them in order."""
    own = known.own
    places = known.find(name for _, name, _ in chunks if name)
    for file, name, data in chunks:
        if isinstance(data, Place):
            file.extend(data.footer, data.start, data.length)
            continue
        length = len(data)
        position = own(name)
        if position is None:
            found = places.get(name)
            if found is not None and found.length == length:
                file.extend(found.footer, found.start, length)
                continue
            position = session.append(data, name)
            known.remember(name, position)
            done.new_chunks += 1
            done.new_size += length
        file.extend(None, position, length)


def extents_of(file: File, session: PackSession) -> Iterator[Extent]:
    """Yield where a file's bytes lie; the session's packs must be settled."""
    for piece in file.pieces:
        if piece.footer is None:
            yield from session.extents(piece.start, piece.length)
        else:
            yield interval_extent(piece.footer, piece.start, piece.length)
