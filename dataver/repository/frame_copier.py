"""Copying frames of packs into new packs, and the new locations of extents.

The idea: frames are copied as stored, so nothing is decompressed or compressed again, and an extent only gets
another pack and offset. Packs of which little is needed are read many at a time, since each read costs a
round trip. Every frame is compared with its checksum (invariant 1).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from dataver import parallel
from dataver.errors import Conflict, IntegrityError
from dataver.formats.entry import Entry, Extent
from dataver.formats.frame import HEADER_SIZE
from dataver.formats.pack import MAGIC, MAX_PACK_CHUNKS, MAX_PACK_SIZE, Footer, FooterBuilder, check_frame
from dataver.hashing import DIGEST_SIZE
from dataver.portions import portions
from dataver.repository.frame_reader import FrameReader, FrameRun, coalesce, max_gap
from dataver.repository.repository import RepositoryCore

__all__ = ["FrameCopier", "Put", "Runs", "batches", "live_bytes"]

_READ: Final = 16 << 20  # stored bytes of the packs that are read together
_TOGETHER: Final = 64  # packs that are read together at most
_PACK_RAW: Final = 1 << 30  # raw bytes in a pack, as in the pack writer of drafts
_FOOTER: Final = 8 << 20  # bytes of a pack reserved for its footer

Runs = set[tuple[int, int]]
"""Runs of frames of a pack: offset and stored bytes of each."""

Put = Callable[[bytes, list[bytes | memoryview]], object]
"""Stores a pack, given its id and its bytes in parts."""

_FrameRuns = dict[int, range]  # numbers of the frames of each run, by its offset
_Part = tuple[Sequence[int], FrameRun]  # frames that are read together


class _MovedRun(NamedTuple):
    """Old and new location of a run of frames."""

    start: int
    end: int
    pack: bytes
    offset: int


class FrameCopier:
    """Writer of new packs from runs of frames of existing ones.

    Args:
        repo: the repository.
        put: stores each new pack.

    Attributes:
        written: number of packs written.
        written_size: bytes of them.
    """

    def __init__(self, repo: RepositoryCore, put: Put) -> None:
        self._repo, self._put = repo, put
        self.written = self.written_size = 0
        self._moved: dict[bytes, list[_MovedRun]] = {}
        self._builder = FooterBuilder()
        self._parts: list[bytes | memoryview] = [MAGIC]
        self._raw = 0
        self._inside: list[tuple[bytes, int, int, int]] = []  # pack, start, end, offset in the new pack
        self._reader = FrameReader(repo.packs)

    def copy(self, frames: Mapping[bytes, Runs]) -> Iterator[bytes]:
        """Copy runs of frames of packs, in order; yield each pack when its runs are copied.

        Raises:
            IntegrityError: a pack is missing or damaged, or has other frames.
        """
        for together in batches(frames, _READ, _TOGETHER):
            ends = {pack: max(offset + stored for offset, stored in frames[pack]) for pack in together}
            footers = self._repo.packs.footers(together, ends)
            runs = {pack: _runs_of(footers[pack], frames[pack]) for pack in together}
            for pack, parts in self._read_all(footers, runs):
                for numbers, read in parts:
                    self._append(footers[pack], runs[pack], numbers, read)
                yield pack

    def close(self) -> None:
        """Write the last pack; `moved` is complete then."""
        self._finish()
        for runs in self._moved.values():
            runs.sort()

    def moved(self, entry: Entry) -> Entry:
        """Return an entry with the new locations of its extents.

        Raises:
            Conflict: it refers to other frames of a copied pack.
        """
        if not any(extent.pack in self._moved for extent in entry.extents):
            return entry
        return entry._replace(extents=tuple(map(self._new_place, entry.extents)))

    def _new_place(self, extent: Extent) -> Extent:
        runs = self._moved.get(extent.pack)
        if runs is None:
            return extent
        run = runs[bisect_right(runs, extent.offset, key=lambda each: each.start) - 1]
        if not run.start <= extent.offset <= extent.offset + extent.stored <= run.end:
            raise Conflict("a block was changed during the repack.", hint="repeat the command")
        return extent._replace(pack=run.pack, offset=run.offset + extent.offset - run.start)

    # reading

    def _read_all(
        self, footers: Mapping[bytes, Footer], runs: Mapping[bytes, _FrameRuns]
    ) -> Iterator[tuple[bytes, Iterable[_Part]]]:
        """Yield the parts of each pack; those of several packs are read concurrently from a remote store."""
        if len(runs) < 2 or self._repo.store.local_root is not None:
            for pack in runs:
                yield pack, self._read(footers[pack], runs[pack])
            return
        with parallel.pool(parallel.REQUESTS, "copy") as pool:
            found = pool.map(lambda pack: list(self._read(footers[pack], runs[pack])), runs)
            yield from zip(runs, found, strict=True)

    def _read(self, footer: Footer, runs: _FrameRuns) -> Iterator[_Part]:
        numbers = [number for frames in runs.values() for number in frames]
        pack, offsets = footer.pack_id, footer.frame_offsets
        for part in coalesce(offsets, numbers, max_gap(pack)):
            yield part, self._reader.run(pack, offsets[part[0]], offsets[part[-1] + 1])

    # writing

    def _append(self, footer: Footer, runs: _FrameRuns, numbers: Sequence[int], read: FrameRun) -> None:
        """Append frames that were read together to the new pack."""
        offsets = footer.frame_offsets
        for number in numbers:
            if offsets[number] in runs:
                self._begin_run(footer, runs[offsets[number]])
            check = partial(self._stored, footer, number)
            self._append_frame(footer, number, read.frame(offsets[number], offsets[number + 1], check))

    def _stored(self, footer: Footer, number: int, data: memoryview, at: int) -> memoryview:
        """Return the stored bytes of a frame, compared with its pack's footer."""
        check_frame(footer, number, data, at, self._reader.decompressor)
        return data[at : at + footer.frame_stored[number]]

    def _begin_run(self, footer: Footer, frames: range) -> None:
        """Begin a run of frames, which stay together; in another new pack if it does not fit."""
        start, stop = footer.frame_offsets[frames.start], footer.frame_offsets[frames.stop]
        if self._builder.size + stop - start > self._room or self._too_many(footer, frames):
            self._finish()
        self._inside.append((footer.pack_id, start, stop, self._builder.size))

    @property
    def _room(self) -> int:
        return min(self._repo.config.pack_size, MAX_PACK_SIZE - _FOOTER)

    def _too_many(self, footer: Footer, frames: range) -> bool:
        first, behind = footer.first_chunk[frames.start], footer.first_chunk[frames.stop]
        chunks = self._builder.chunk_count + behind - first
        raw = self._raw + footer.raw_starts[frames.stop] - footer.raw_starts[frames.start]
        return chunks > MAX_PACK_CHUNKS // 4 or raw > _PACK_RAW

    def _append_frame(self, footer: Footer, number: int, frame: memoryview) -> None:
        first, behind = footer.first_chunk[number : number + 2]
        self._builder.add_frame(
            footer.checksums[number],
            len(frame) - HEADER_SIZE,
            footer.frame_raw[number],
            footer.lengths[first:behind],
            bytes(footer.digests[DIGEST_SIZE * first : DIGEST_SIZE * behind]),
        )
        self._parts.append(frame)
        self._raw += footer.frame_raw[number]

    def _finish(self) -> None:
        """Write the current new pack."""
        if not self._builder.frame_count:
            return
        name, tail = self._builder.encode()
        parts = [*self._parts, tail]
        self._put(name, parts)
        self.written += 1
        self.written_size += sum(map(len, parts))
        for pack, start, end, offset in self._inside:
            self._moved.setdefault(pack, []).append(_MovedRun(start, end, name, offset))
        self._builder, self._parts, self._inside, self._raw = FooterBuilder(), [MAGIC], [], 0


def batches(frames: Mapping[bytes, Runs], most_bytes: int, most_packs: int) -> Iterator[list[bytes]]:
    """Return packs in batches of limited live bytes and number; a larger pack is a batch of its own."""
    return portions(frames, most_bytes, lambda pack: live_bytes(frames[pack]), most_packs)


def _runs_of(footer: Footer, runs: Runs) -> _FrameRuns:
    """Return the numbers of the frames in runs, merged, by offset."""
    offsets, found = footer.frame_offsets, {}
    for start, end in _united(runs):
        behind = bisect_left(offsets, end)
        if behind == len(offsets) or offsets[behind] != end:
            raise IntegrityError(f"pack {footer.pack_id.hex()} has other frames than in a layout.")
        found[start] = range(footer.frame_at(start), behind)
    return found


def _united(runs: Runs) -> Iterator[tuple[int, int]]:
    """Yield runs of frames as start and end, in order; overlapping ones are merged."""
    start = end = -1
    for offset, stored in sorted(runs):
        if offset >= end:
            if end > 0:
                yield start, end
            start, end = offset, offset + stored
        else:
            end = max(end, offset + stored)
    if end > 0:
        yield start, end


def live_bytes(frames: Iterable[tuple[int, int]]) -> int:
    """Return the bytes of a pack that runs of frames cover, given as offset and stored bytes."""
    covered = end = 0
    for offset, stored in sorted(frames):
        covered += max(0, offset + stored - max(end, offset))
        end = max(end, offset + stored)
    return covered
