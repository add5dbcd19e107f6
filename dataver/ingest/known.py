"""Known chunks: where the bytes of a chunk already lie, asked in the order that costs least.

First what this session has appended, then the local index (all packs this machine wrote or read), and, when a
file's path existed before, the footers of the packs that hold its earlier content. Missing a duplicate costs
space, never correctness; using a pack that does not exist would cost correctness, so every pack is confirmed
with the store before its chunks are used (invariant 5).
"""

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from dataver.errors import IntegrityError
from dataver.formats.entry import is_external
from dataver.formats.pack import Footer, parse_footer, parse_trailer
from dataver.ingest.chunk_index import ChunkIndex, Place
from dataver.repository import Packs

__all__ = ["KnownChunks"]

_OWN_LIMIT = 32_768  # chunks of this session in each of two generations, ~6 MB; older ones are in the index


class KnownChunks:
    """What one session knows; own chunks are positions in the session's raw stream.

    Finished packs go into the index behind everybody's back; `close` must be called, and waits for that.
    """

    def __init__(self, index: ChunkIndex, packs: Packs, *spools: Path) -> None:
        self._index = index
        self._packs = packs
        self._own: dict[bytes, int] = {}
        self._before: dict[bytes, int] = {}  # the generation before, all of it before `_turned`
        self._turned = self._finished = 0  # positions in the raw stream
        here = {bytes.fromhex(path.name): path for spool in spools for path in spooled(spool)}
        self._confirmed = set(here)
        self._missing: set[bytes] = set()
        self._others = not index.empty  # whether the index may know of more than what this session appends
        self._learned: set[bytes] = set()
        self._indexer = ThreadPoolExecutor(1, "dataver-index")
        self._indexing: list[Future[None]] = []
        for pack_id in self._confirmed - index.known_packs(self._confirmed):
            self._others = True
            index.add(_spooled_footer(here[pack_id], pack_id), published=False)

    def find(self, digests: Iterable[bytes]) -> dict[bytes, Place]:
        """Return the places, in packs that exist, of those chunks that are known and not this session's own.

        What `own` knows now, it knows until the next call: nothing is forgotten between the two questions.
        """
        if len(self._own) >= _OWN_LIMIT:
            self._turn()
        strange = [digest for digest in digests if self.own(digest) is None]
        found = self._index.find(strange) if self._others else {}
        if found:
            found = {each: place for each, place in found.items() if self._usable(place.footer.pack_id)}
        return found

    def footer(self, pack_id: bytes) -> Footer | None:
        """Return the footer of a pack that exists, where the index has it. Safe to call from any thread."""
        footer = self._index.footer(pack_id)
        return footer if footer is not None and self._usable(pack_id) else None

    def own(self, digest: bytes) -> int | None:
        """Return where this session appended the chunk, or None."""
        position = self._own.get(digest)
        return self._before.get(digest) if position is None else position

    def remember(self, digest: bytes, position: int) -> None:
        """Note a chunk that this session appends at `position` of its raw stream."""
        self._own[digest] = position

    def finished(self, footer: Footer) -> None:
        """Take over a pack of this session that is complete (called from the writer's thread)."""
        self._confirmed.add(footer.pack_id)
        self._indexing.append(self._indexer.submit(self._index.add, footer, published=False))
        self._finished += footer.raw_starts[-1]  # last: whoever sees it waits for the index

    def sent(self, pack_id: bytes) -> None:
        """Open a pack that the store holds now to every draft; it is in the index when this returns.

        May be called by any thread until `close`.
        """
        self._indexer.submit(self._index.publish, [pack_id]).result()

    def close(self) -> None:
        """Wait until all packs are in the index, and end the thread that put them there."""
        self._indexer.shutdown(wait=True)
        self._wait()

    def learn(self, pack_ids: Iterable[bytes]) -> None:
        """Read the footers of packs that probably hold neighbours of what comes next."""
        # what is added must not come to depend on files that lie elsewhere
        fresh = {each for each in pack_ids if not is_external(each)} - self._learned - self._confirmed
        self._learned |= fresh
        for pack_id in fresh - self._index.known_packs(fresh):
            self._others = True
            try:
                self._index.add(self._packs.footer(pack_id), published=True)
            except IntegrityError:
                self._missing.add(pack_id)

    def _turn(self) -> None:
        """Begin a generation, and forget the one before the last where its packs are in the index."""
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
        if self._packs.exists(pack_id):
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
