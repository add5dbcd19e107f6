"""Deduplication: each chunk of a file gets the place of an equal stored chunk, or is appended to the packs.

Places are looked up in the cheapest order: the chunks this session appended, then the local index (all packs
this machine wrote or read), then, if the file's path existed before, the footers of the packs with its
earlier content. A missed duplicate costs only space; a missing or damaged pack would cost correctness, so
every pack is checked in the store before its chunks are used (invariant 5, `dataver.repository.soundness`).
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dataver import parallel
from dataver.errors import IntegrityError
from dataver.formats.block import Leaf
from dataver.formats.entry import Extent, is_external
from dataver.formats.pack import Footer, parse_footer, parse_trailer
from dataver.ingest.chunk_index import ChunkIndex, ChunkLocation
from dataver.ingest.cutting import Chunk, File, Hole
from dataver.ingest.pack_writer import PackSession, interval_extent
from dataver.repository import Packs
from dataver.repository.soundness import Soundness
from dataver.storage.holes import ZEROS

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["KnownChunks", "Placed", "extents_of", "place"]

_OWN_LIMIT = 32_768  # chunks of this session in each of two generations, ~6 MB; older ones are in the index


class KnownChunks:
    """Known chunks of one session; own chunks are positions in the session's raw stream.

    Finished packs are indexed on a background thread; `close` must be called and waits for it.
    """

    def __init__(self, index: ChunkIndex, packs: Packs, soundness: Soundness, *spools: Path) -> None:
        self._index = index
        self._packs = packs
        self._soundness = soundness
        self._spools = spools
        self._own: dict[bytes, int] = {}
        self._before: dict[bytes, int] = {}  # the previous generation, all at positions below `_turned`
        self._turned = self._finished = 0  # positions in the raw stream
        here = {bytes.fromhex(path.name): path for spool in spools for path in spooled(spool)}
        self._confirmed = set(here)
        self._missing: set[bytes] = set()
        self._others = not index.empty  # whether the index may hold more than this session's chunks
        self._learned: set[bytes] = set()
        self._indexer = parallel.pool(1, "index")
        self._indexing: list[Future[None]] = []
        for pack_id in self._confirmed - index.known_packs(self._confirmed):
            self._others = True
            index.add(_spooled_footer(here[pack_id], pack_id), published=False)

    def find(self, digests: Iterable[bytes]) -> dict[bytes, ChunkLocation]:
        """Return the places, in existing packs, of known chunks that are not this session's own.

        Chunks that `own` finds now stay known until the next call of `find`.
        """
        if len(self._own) >= _OWN_LIMIT:
            self._turn()
        strange = [digest for digest in digests if self.own(digest) is None]
        found = self._index.find(strange) if self._others else {}
        if found:
            found = {each: place for each, place in found.items() if self._usable(place.footer.pack_id)}
        return found

    def footer(self, pack_id: bytes) -> Footer | None:
        """Return the footer of an existing pack if the index has it. Thread-safe."""
        footer = self._index.footer(pack_id)
        return footer if footer is not None and self._usable(pack_id) else None

    def own(self, digest: bytes) -> int | None:
        """Return the position at which this session appended the chunk, or None."""
        position = self._own.get(digest)
        return self._before.get(digest) if position is None else position

    def remember(self, digest: bytes, position: int) -> None:
        """Record a chunk that this session appends at `position` of its raw stream."""
        self._own[digest] = position

    def finished(self, footer: Footer) -> None:
        """Index a complete pack of this session (called on the writer's thread)."""
        self._confirmed.add(footer.pack_id)
        self._indexing.append(self._indexer.submit(self._index.add, footer, published=False))
        self._finished += footer.raw_starts[-1]  # last: a reader that sees it waits for the index

    def sent(self, pack_id: bytes) -> None:
        """Make a sent pack available to every draft; it is indexed when this returns.

        Thread-safe until `close`.
        """
        self._indexer.submit(self._index.publish, [pack_id]).result()

    def close(self) -> None:
        """Wait until all packs are indexed, and end the background thread."""
        self._indexer.shutdown(wait=True)
        self._wait()

    def learn(self, pack_ids: Iterable[bytes]) -> None:
        """Index the footers of packs that probably hold the next chunks."""
        # added files must not depend on external files
        fresh = {each for each in pack_ids if not is_external(each)} - self._learned - self._confirmed
        self._learned |= fresh
        for pack_id in fresh - self._index.known_packs(fresh):
            self._others = True
            try:
                self._index.add(self._packs.footer(pack_id), published=True)
            except IntegrityError:
                self._missing.add(pack_id)

    def is_lost(self, leaf: Leaf, number: int) -> bool:
        """Return whether an entry's bytes are in a pack that was found damaged and still is."""
        marked = self._soundness.marked
        if not marked or marked.isdisjoint(leaf.packs()):
            return False
        packs = {extent.pack for extent in leaf.entry(number).extents}
        return not all(map(self._usable, packs & marked))

    def _turn(self) -> None:
        """Begin a generation, and drop the one before the last once its packs are indexed."""
        if self._before:
            if self._finished <= self._turned:
                return  # tiny chunks: their pack is still open
            self._wait()
            self._others = True
        self._turned = next(reversed(self._own.values()))
        self._before, self._own = self._own, {}

    def _wait(self) -> None:
        while self._indexing:
            self._indexing.pop(0).result()

    def _usable(self, pack_id: bytes) -> bool:
        if pack_id in self._confirmed:
            return True
        if pack_id in self._missing:
            return False
        if any((spool / pack_id.hex()).exists() for spool in self._spools) or self._soundness.has(
            pack_id, again=True
        ):
            self._confirmed.add(pack_id)
            return True
        self._missing.add(pack_id)
        self._index.forget(pack_id)
        return False


def spooled(spool: Path) -> list[Path]:
    """Return the finished packs in a spool folder."""
    return sorted(path for path in spool.glob("*") if len(path.name) == 64) if spool.is_dir() else []


def _spooled_footer(path: Path, pack_id: bytes) -> Footer:
    data = path.read_bytes()
    tail = parse_trailer(data[-64:], len(data)).tail_size
    return parse_footer(data[-tail:], pack_id, len(data))


class Placed:
    """Counters of placed chunks. Sizes in bytes."""

    __slots__ = ("new_chunks", "new_size")

    def __init__(self) -> None:
        self.new_chunks = self.new_size = 0

    def add(self, other: "Placed") -> None:
        """Add another's counts."""
        for name in (*Placed.__slots__, *type(self).__slots__):
            setattr(self, name, getattr(self, name) + getattr(other, name))


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
