"""Reading ranges of packs: frames from this machine's cache or from the store, each verified.

The idea: every range of a file is a run of a pack's raw stream (all its chunks in order), which is stored in
frames. Requests of many callers are combined: each frame is fetched once, adjacent ones in one range, ranges
in parallel; two threads that need the same frame share it.

Frames are kept in the machine's cache (`frame_cache`), from which a run is one read; without a cache, as for
a repository in a local folder, the last ones stay in memory.

Keeps invariant 1: no byte of a frame is returned before the frame's checksum was compared. Memory is bounded
by `WINDOW`, `KEPT` and the requested bytes.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from typing import TYPE_CHECKING, Final, NamedTuple

from dataver.errors import IntegrityError, message_of
from dataver.formats.frame import decode_frame
from dataver.lru import LRUCache
from dataver.parallel import process_pool
from dataver.repository.frame_reader import FrameReader, coalesce, max_gap
from dataver.repository.read_again import ExternalChanged, PackMissing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from dataver.cache.frame_cache import FrameCache, FrameFile
    from dataver.repository import RepositoryCore
    from dataver.repository.frame_reader import FrameRun

# Imports in functions: concurrent.futures (4 ms) is needed only where readers share a frame.

__all__ = ["DAMAGED", "Frames", "StreamRange"]

DAMAGED: Final = "`dataver verify` lists all damage; a copy of the repository may still hold the file"
KEPT: Final = 32 * 1024 * 1024
"""Bytes of decoded frames that a process keeps in memory if it has no cache on the disk."""
WINDOW: Final = 64 * 1024 * 1024
"""Bytes of frames that are fetched at a time."""

_PACKS: Final = 256  # packs whose tables are kept, ~10 KB and an open file each

_Key = tuple[bytes, int]


class StreamRange(NamedTuple):
    """Bytes `low` to before `high` of a pack's raw stream."""

    pack: bytes
    low: int
    high: int


class _Pack(NamedTuple):
    """Offsets of a pack's frames, in its object and in its raw stream, and its file in the cache."""

    id: bytes
    offsets: Sequence[int]
    starts: Sequence[int]
    file: FrameFile | None

    def frames(self, low: int, high: int) -> tuple[int, int]:
        """Return the first frame that holds bytes of a run, and the one after the last."""
        return bisect_right(self.starts, low) - 1, bisect_right(self.starts, high - 1)


class _Range(NamedTuple):
    """Frames that are read in one request."""

    pack: _Pack
    numbers: Sequence[int]


class Frames:
    """Reader of one repository's frames in one process; thread-safe, not for a forked child.

    Args:
        repo: the repository.
        cache: the machine's cache of its frames; None keeps them in memory.
    """

    def __init__(self, repo: RepositoryCore, cache: FrameCache | None) -> None:
        self._source = repo.packs
        self._reader = FrameReader(repo.packs)
        self._cache = cache
        self._packs: LRUCache[bytes, _Pack] = LRUCache(_PACKS)
        self._kept: LRUCache[_Key, memoryview] = LRUCache(size=KEPT, size_of=len)
        self._coming: dict[_Key, Future[memoryview]] = {}
        self._lock = threading.Lock()

    def start_of(self, pack_id: bytes, offset: int, skip: int, length: int) -> int:
        """Return the position of an extent in the raw stream.

        Raises:
            PackMissing: the pack is not there.
            IntegrityError: the extent does not fit it.
        """
        pack = self._pack(pack_id)
        number = bisect_right(pack.offsets, offset) - 1
        if number < 0 or pack.offsets[number] != offset or number == len(pack.offsets) - 1:
            raise IntegrityError(f"pack {pack_id.hex()} has no frame at byte {offset}")
        start = pack.starts[number] + skip
        if start + length > pack.starts[-1]:
            raise IntegrityError(f"pack {pack_id.hex()} holds fewer bytes than a tree block says")
        return start

    def prepare(self, pack_ids: Iterable[bytes]) -> None:
        """Load the frame offsets of several packs, with parallel requests of one per pack."""
        new = {pack_id for pack_id in pack_ids if self._packs.get(pack_id) is None}
        if len(new) > 1:
            for _ in process_pool("ranges").map(self._pack, new):
                pass

    def read(self, wanted: Sequence[Sequence[StreamRange]]) -> list[bytes]:
        """Return the bytes of each sequence of runs.

        Raises:
            PackMissing: a pack is not there.
            IntegrityError: a damaged frame.
        """
        parts: list[list[bytes]] = [[] for _ in wanted]
        waiting: list[tuple[list[bytes], int, StreamRange]] = []
        needed: dict[bytes, set[int]] = {}
        size = 0
        for runs, mine in zip(wanted, parts, strict=True):
            for run in runs if all(run.high - run.low <= WINDOW for run in runs) else _windows(runs):
                found = self._at_hand(run)
                mine.append(found or b"")
                if found is not None:
                    continue
                waiting.append((mine, len(mine) - 1, run))
                size += _add(needed.setdefault(run.pack, set()), self._pack(run.pack), run)
                if size >= WINDOW:
                    self._fill(waiting, needed)
                    waiting, needed, size = [], {}, 0
        if waiting:
            self._fill(waiting, needed)
        return [mine[0] if len(mine) == 1 else b"".join(mine) for mine in parts]

    def _at_hand(self, run: StreamRange) -> bytes | None:
        """Return the bytes of a run if all of it is in the cache."""
        pack = self._pack(run.pack)
        if pack.file is not None:
            return pack.file.read(*pack.frames(run.low, run.high), run.low, run.high)
        return None

    def _fill(
        self, waiting: Sequence[tuple[list[bytes], int, StreamRange]], needed: dict[bytes, set[int]]
    ) -> None:
        """Fill in the bytes of the waiting runs."""
        found = self._collect(needed)
        for mine, place, run in waiting:
            mine[place] = _joined(self._pack(run.pack), run, found)

    def _collect(self, needed: dict[bytes, set[int]]) -> dict[_Key, memoryview]:
        """Return frames: from memory, the cache, another thread that is fetching them, or the store."""
        found: dict[_Key, memoryview] = {}
        others: dict[_Key, Future[memoryview]] = {}
        mine: dict[_Key, Future[memoryview]] = {}
        ranges: list[_Range] = []
        try:
            for pack_id, numbers in needed.items():
                pack = self._pack(pack_id)
                missing = [number for number in sorted(numbers) if not self._use_kept(pack, number, found)]
                claimed = self._claim(pack_id, missing, found, others, mine)
                if claimed:
                    parts = coalesce(pack.offsets, claimed, max_gap(pack_id))
                    ranges.extend(_Range(pack, part) for part in parts)
            fetched = (
                map(self._fetch, ranges)
                if len(ranges) < 2
                else process_pool("ranges").map(self._fetch, ranges)
            )
            for part in fetched:
                found |= part
                for key, frame in part.items():
                    mine.pop(key).set_result(frame)
                    self._coming.pop(key, None)
        finally:  # a thread that waits for a failed frame fetches it itself
            for key, future in mine.items():
                self._coming.pop(key, None)
                future.cancel()
        for key, future in others.items():
            found[key] = self._shared(key, future)
        return found

    def _use_kept(self, pack: _Pack, number: int, found: dict[_Key, memoryview]) -> bool:
        """Take a cached frame; return whether there was one."""
        key = (pack.id, number)
        kept = self._kept.get(key)
        if kept is not None:
            found[key] = kept
            return True
        if pack.file is not None:
            here = pack.file.read(number, number + 1, pack.starts[number], pack.starts[number + 1])
            if here is not None:
                found[key] = memoryview(here)
                return True
        return False

    def _claim(
        self,
        pack_id: bytes,
        numbers: Sequence[int],
        found: dict[_Key, memoryview],
        others: dict[_Key, Future[memoryview]],
        mine: dict[_Key, Future[memoryview]],
    ) -> list[int]:
        """Return the frames to fetch; record those that another thread is fetching."""
        from concurrent.futures import Future

        claimed = []
        with self._lock:
            for number in numbers:
                key = (pack_id, number)
                coming = self._coming.get(key)
                kept = self._kept.get(key)
                if kept is not None:  # another thread fetched it since `_use_kept`
                    found[key] = kept
                elif coming is not None:
                    others[key] = coming
                else:
                    self._coming[key] = mine[key] = Future()
                    claimed.append(number)
        return claimed

    def _shared(self, key: _Key, future: Future[memoryview]) -> memoryview:
        """Return a frame that another thread fetches; fetch it if that failed."""
        from concurrent.futures import CancelledError

        try:
            return future.result()
        except CancelledError:
            return self._fetch(_Range(self._pack(key[0]), (key[1],)))[key]

    def _fetch(self, one: _Range) -> dict[_Key, memoryview]:
        """Return the wanted frames of a range, read from the store and checked; keep them."""
        pack = one.pack
        first, last = one.numbers[0], one.numbers[-1]
        run = self._reader.run(pack.id, pack.offsets[first], pack.offsets[last + 1])
        found = {}
        for number in one.numbers:
            frame = self._decode(pack, number, run)
            found[pack.id, number] = frame
            self._keep(pack, number, frame)
        return found

    def _decode(self, pack: _Pack, number: int, run: FrameRun) -> memoryview:
        offset, behind = pack.offsets[number], pack.offsets[number + 1]

        def check(data: memoryview, at: int) -> memoryview:
            frame, end = decode_frame(data, at, self._reader.decompressor)
            if (end - at, len(frame)) != (behind - offset, pack.starts[number + 1] - pack.starts[number]):
                raise IntegrityError("it has another size than the pack's footer says")
            return frame

        try:
            return run.frame(offset, behind, check)
        except (PackMissing, ExternalChanged):
            raise  # not damaged: the caller reads the layout again
        except IntegrityError as error:
            raise IntegrityError(
                f"pack {pack.id.hex()} is damaged at byte {offset}: {message_of(error)}", hint=DAMAGED
            ) from error

    def _keep(self, pack: _Pack, number: int, frame: memoryview) -> None:
        """Keep a frame on the disk, or in memory if that fails."""
        if pack.file is not None and self._cache is not None:
            if pack.file.put(number, frame):
                self._cache.wrote(len(frame))
                return
            self._packs.drop(pack.id)  # the file was deleted, or the disk is full: look again when needed
        # a view into a range's bytes would keep all of them
        own = frame if len(frame.obj) <= 2 * len(frame) else memoryview(bytes(frame))  # type: ignore[arg-type]
        self._kept.put((pack.id, number), own)

    def _pack(self, pack_id: bytes) -> _Pack:
        """Return the tables of a pack, from the cache or its footer."""
        found = self._packs.get(pack_id)
        if found is not None:
            return found
        file = self._cache.open(pack_id) if self._cache is not None else None
        if file is not None:
            found = _Pack(pack_id, file.offsets, file.starts, file)
        else:
            footer = self._source.footer(pack_id)
            offsets, starts = footer.frame_offsets, footer.raw_starts
            if self._cache is not None:
                file = self._cache.create(pack_id, offsets, starts)
            found = _Pack(pack_id, offsets, starts, file)
        self._packs.put(pack_id, found)
        return found


def _windows(runs: Iterable[StreamRange]) -> Iterator[StreamRange]:
    """Yield runs in pieces of at most a window."""
    for pack, low, high in runs:
        for start in range(low, high, WINDOW):
            yield StreamRange(pack, start, min(start + WINDOW, high))


def _add(numbers: set[int], pack: _Pack, run: StreamRange) -> int:
    """Add the frames of a run; return the bytes of those that are new."""
    new = set(range(*pack.frames(run.low, run.high))) - numbers
    numbers |= new
    return sum(pack.starts[number + 1] - pack.starts[number] for number in new)


def _joined(pack: _Pack, run: StreamRange, found: dict[_Key, memoryview]) -> bytes:
    first, last = pack.frames(run.low, run.high)
    return b"".join(
        found[pack.id, number][max(0, run.low - pack.starts[number]) : run.high - pack.starts[number]]
        for number in range(first, last)
    )
