"""Known chunks: where the bytes of a chunk already lie, asked in the order that costs least.

First what this session has appended, then the local index (all packs this machine wrote or read), and, when a
file's path existed before, the footers of the packs that hold its earlier content. Missing a duplicate costs
space, never correctness; using a pack that does not exist would cost correctness, so every pack is confirmed
with the store before its chunks are used (invariant 5).
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from dataver.errors import IntegrityError
from dataver.formats.entry import is_external
from dataver.formats.pack import Footer, parse_footer, parse_trailer
from dataver.ingest.chunk_index import ChunkIndex, Place
from dataver.repository import Packs

__all__ = ["KnownChunks"]

_OWN_LIMIT = 400_000  # chunks of this session kept in memory, ~60 MB; older ones are in the index


class KnownChunks:
    """What one session knows; own chunks are positions in the session's raw stream.

    Finished packs go into the index behind everybody's back; `close` must be called, and waits for that.
    """

    def __init__(self, index: ChunkIndex, packs: Packs, *spools: Path) -> None:
        self._index = index
        self._packs = packs
        self._own: dict[bytes, int] = {}
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

    def find(self, digests: Sequence[bytes]) -> dict[bytes, Place]:
        """Return the places, in packs that exist, of those chunks that are known."""
        found = self._index.find(digests) if self._others else {}
        if found:
            found = {each: place for each, place in found.items() if self._usable(place.footer.pack_id)}
        return found

    def footer(self, pack_id: bytes) -> Footer | None:
        """Return the footer of a pack that exists, where the index has it. Safe to call from any thread."""
        footer = self._index.footer(pack_id)
        return footer if footer is not None and self._usable(pack_id) else None

    def own(self, digest: bytes) -> int | None:
        """Return where this session appended the chunk, or None."""
        return self._own.get(digest)

    def remember(self, digest: bytes, position: int) -> None:
        """Note a chunk that this session appends at `position` of its raw stream."""
        self._own[digest] = position

    def finished(self, footer: Footer) -> None:
        """Take over a pack of this session that is complete (called from the writer's thread)."""
        self._confirmed.add(footer.pack_id)
        self._indexing.append(self._indexer.submit(self._index.add, footer, published=False))

    def sent(self, pack_id: bytes) -> None:
        """Open a pack that the store holds now to every draft; it is in the index when this returns.

        May be called by any thread until `close`.
        """
        self._indexer.submit(self._index.publish, [pack_id]).result()

    def settled(self) -> None:
        """Forget own positions when there are too many: their packs are finished and in the index."""
        if len(self._own) > _OWN_LIMIT:
            self._wait()
            self._own.clear()
            self._others = True

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
