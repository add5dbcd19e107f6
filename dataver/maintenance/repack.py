"""Repacking: copy the live frames of mostly dead packs to new packs, so that `gc` can delete the old ones.

The idea: live frames are copied unchanged, each verified with its pack's footer and the digests of its
chunks. Files are not chunked, compressed or hashed again, and digests of versions do not change, because
layouts are not part of them (`docs/decisions/0003-layout-outside-the-digest.md`). This is the one exception
to invariant 2: a block is replaced by one that yields the same bytes.

Order, by group of packs; a crash after any step leaves every version readable:

    1  new packs                     unneeded until 3, like those of an interrupted upload
    2  a list of the retired packs   `gc` keeps them for its grace period, since readers have old layouts
    3  blocks with the new layout    one by one; a reader gets the old or the new one

A hold on all objects prevents sweeps and other repacks meanwhile. Uploads can continue: an old pack that
their version refers to is kept.
"""

import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple

from dataver.errors import Conflict, IntegrityError
from dataver.formats.block import Block, Inner, Leaf, encode_leaf, parse_block
from dataver.formats.block_object import MAX_BLOCK
from dataver.formats.entry import Entry, Extent, is_external
from dataver.formats.frame import HEADER_SIZE
from dataver.formats.keeping import MAX_KEYS, Retired
from dataver.formats.pack import MAGIC, MAX_PACK_CHUNKS, MAX_PACK_SIZE, Footer, FooterBuilder, check_frame
from dataver.hashing import DIGEST_SIZE
from dataver.machine.process_identity import is_gone
from dataver.machine.store_clock import store_now
from dataver.maintenance.usage import live_bytes, needs_of
from dataver.progress import SILENT, Progress
from dataver.repository.frame_reader import FrameReader, coalesce, max_gap
from dataver.repository.holds import WriterHold, current_holds, writer_hold
from dataver.repository.layout import block_key, retired_key
from dataver.repository.marking import Inventory, list_inventory, reach
from dataver.repository.repository import RepositoryCore
from dataver.short_repr import short_repr

__all__ = ["DEAD", "RepackPlan", "RepackReport", "execute_repack", "plan_repack"]

DEAD: Final = 0.5
"""Packs are rewritten if at least this share of their frames' bytes is dead."""

_GROUP: Final = 32  # packs in a group: ~1 GB of live bytes at most
_WORTH: Final = 0.9  # maximum live share of a pack to rewrite
_PACK_RAW: Final = 1 << 30  # raw bytes in a pack, as in the pack writer of drafts
_FOOTER: Final = 8 << 20  # bytes of a pack reserved for its footer


@dataclass
class RepackPlan:
    """Plan of a repack.

    Attributes:
        dead: packs are rewritten if at least this share of them is dead.
        packs: sizes of the packs to rewrite, by id.
        live: bytes of them that versions need, which are copied.
        blocks: number of tree blocks whose layouts are replaced.
        seen: number of packs in the repository.
    """

    dead: float
    packs: dict[bytes, int] = field(default_factory=dict)
    live: int = 0
    blocks: int = 0
    seen: int = 0

    __repr__ = short_repr

    @property
    def size(self) -> int:
        """Bytes of the packs to rewrite."""
        return sum(self.packs.values())

    @property
    def frees(self) -> int:
        """Bytes that `gc` frees afterwards, minus the copied bytes."""
        return self.size - self.live


@dataclass
class RepackReport:
    """Result of a repack.

    Attributes:
        packs: number of packs that are no longer needed.
        size: bytes of them; `gc` deletes them after the grace period.
        written: number of packs written.
        written_size: bytes of them.
        blocks: number of tree blocks whose layouts were replaced.
    """

    packs: int = 0
    size: int = 0
    written: int = 0
    written_size: int = 0
    blocks: int = 0


class _MovedRun(NamedTuple):
    """Old and new location of a run of frames."""

    start: int
    end: int
    pack: bytes
    offset: int


class _Found(NamedTuple):
    """The plan, the runs of live frames in its packs, and the leaves that refer to them."""

    plan: RepackPlan
    frames: dict[bytes, set[tuple[int, int]]]
    leaves: dict[bytes, set[bytes]]


def plan_repack(repo: RepositoryCore, *, dead: float = DEAD) -> RepackPlan:
    """Plan a repack of the packs that are mostly dead.

    Args:
        repo: the repository.
        dead: minimum share of a pack, from 0 to 1, that no version needs.

    Raises:
        IntegrityError: a version, or the footer of a pack, is unreadable.
    """
    return _find(repo, dead).plan


def execute_repack(repo: RepositoryCore, *, dead: float = DEAD, progress: Progress = SILENT) -> RepackReport:
    """Plan and execute a repack; for the arguments see `plan_repack`.

    Raises:
        Conflict: a sweep or another repack is running, or was until a moment ago.
        IntegrityError: a pack is damaged; its versions are unchanged.
        StoreError: the store failed; a repeated call continues.
    """
    with writer_hold(repo.store, None) as hold:
        hold.establish(lambda _: None)
        _refuse_others(repo, hold)
        found = _find(repo, dead)
        progress.start(len(found.plan.packs), found.plan.live)
        report = RepackReport()
        packs = sorted(found.plan.packs)
        try:
            for start in range(0, len(packs), _GROUP):
                _Group(repo, hold, found, packs[start : start + _GROUP], report, progress).run()
        finally:
            repo.blocks.refresh()
        return report


def _refuse_others(repo: RepositoryCore, hold: WriterHold) -> None:
    for key, other in current_holds(repo.store, store_now(repo.store)).items():
        if key == hold.key or (other is not None and other.tree is not None):
            continue
        if other is not None and is_gone(other.owner):
            raise Conflict(
                f"a repack of {repo.url} was killed, and its last requests may still arrive.",
                hint="try again in two minutes",
            )
        raise Conflict(f"another repack is running in {repo.url}.", hint="try again when it is done")


def _find(repo: RepositoryCore, dead: float) -> _Found:
    inventory = list_inventory(repo.store)
    roots = {each.record.tree for each in repo.records.many(repo.records.everything())}
    frames: dict[bytes, set[tuple[int, int]]] = {}
    leaves: dict[bytes, set[bytes]] = {}
    for block in reach(repo.store, roots):
        for pack, offset, stored in needs_of(block).frames:
            frames.setdefault(pack, set()).add((offset, stored))
            leaves.setdefault(pack, set()).add(block.digest)
    plan = RepackPlan(dead, seen=len(inventory.packs))
    for pack, live in _mostly_dead(repo, inventory, frames, dead):
        plan.packs[pack] = inventory.packs[pack].size
        plan.live += live
    touched: set[bytes] = set().union(*(leaves[pack] for pack in plan.packs))
    plan.blocks = len(touched)
    return _Found(plan, {pack: frames[pack] for pack in plan.packs}, leaves)


def _mostly_dead(
    repo: RepositoryCore, inventory: Inventory, frames: dict[bytes, set[tuple[int, int]]], dead: float
) -> Iterator[tuple[bytes, int]]:
    """Yield the packs with mostly dead frames, and the live bytes of each.

    Footers do not count as dead bytes, so a pack with small frames is not rewritten repeatedly.
    """

    def worth(live: int, size: int) -> bool:
        return size - live >= dead * size and live < size * _WORTH

    live = {pack: live_bytes(runs) for pack, runs in frames.items() if not is_external(pack)}
    maybe = [
        pack
        for pack, size in live.items()
        if pack in inventory.packs and worth(size, inventory.packs[pack].size)
    ]
    for start in range(0, len(maybe), _GROUP):  # read only their footers, a group at a time
        for pack, footer in repo.packs.footers(maybe[start : start + _GROUP]).items():
            if worth(live[pack], footer.frame_offsets[-1] - len(MAGIC)):
                yield pack, live[pack]


class _Group:
    """Packs that are rewritten together."""

    def __init__(
        self,
        repo: RepositoryCore,
        hold: WriterHold,
        found: _Found,
        packs: list[bytes],
        report: RepackReport,
        progress: Progress,
    ) -> None:
        self._repo, self._hold, self._found, self._packs = repo, hold, found, packs
        self._report, self._progress = report, progress
        self._reader = FrameReader(repo.packs)
        self._moved: dict[bytes, list[_MovedRun]] = {}
        self._builder = FooterBuilder()
        self._parts: list[bytes | memoryview] = [MAGIC]
        self._raw = 0
        self._inside: list[tuple[bytes, int, int, int]] = []  # pack, start, end, offset in the new pack

    def run(self) -> None:
        """Write the new packs, retire the old ones, and replace the layouts."""
        for pack in self._packs:
            self._hold.renew()
            self._copy(pack)
        self._close()
        for runs in self._moved.values():
            runs.sort()
        for start in range(0, len(self._packs), MAX_KEYS):
            note = Retired(packs=tuple(self._packs[start : start + MAX_KEYS]))
            self._repo.store.put(retired_key(os.urandom(16).hex()), note.encode())
        for digest in sorted(set().union(*(self._found.leaves[pack] for pack in self._packs))):
            if not self._hold.trusted:
                self._hold.renew()  # raises
            self._replace(digest)
        self._report.packs += len(self._packs)
        self._report.size += sum(self._found.plan.packs[pack] for pack in self._packs)

    # packs

    def _copy(self, pack: bytes) -> None:
        """Append the live frames of a pack to the new pack."""
        footer = self._repo.packs.footer(pack)
        runs = {run[0]: _frames_of(footer, run) for run in _united(self._found.frames[pack])}
        numbers = [number for frames in runs.values() for number in frames]
        offsets = footer.frame_offsets
        for part in coalesce(offsets, numbers, max_gap(pack)):
            read = self._reader.run(pack, offsets[part[0]], offsets[part[-1] + 1])
            for number in part:
                if offsets[number] in runs:
                    self._begin_run(footer, runs[offsets[number]])
                check = partial(self._stored, footer, number)
                self._append_frame(footer, number, read.frame(offsets[number], offsets[number + 1], check))
        self._progress.advance(1, live_bytes(self._found.frames[pack]))

    def _stored(self, footer: Footer, number: int, data: memoryview, at: int) -> memoryview:
        """Return the stored bytes of a frame, compared with its pack's footer."""
        check_frame(footer, number, data, at, self._reader.decompressor)
        return data[at : at + footer.frame_stored[number]]

    def _begin_run(self, footer: Footer, frames: range) -> None:
        """Begin a run of frames, which stay together; in another new pack if it does not fit."""
        start, stop = footer.frame_offsets[frames.start], footer.frame_offsets[frames.stop]
        if self._builder.size + stop - start > self._room or self._too_many(footer, frames):
            self._close()
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

    def _close(self) -> None:
        """Write the current new pack."""
        if not self._builder.frame_count:
            return
        name, tail = self._builder.encode()
        parts = [*self._parts, tail]
        self._repo.soundness.put(name, parts)
        self._report.written += 1
        self._report.written_size += sum(map(len, parts))
        for pack, start, end, offset in self._inside:
            self._moved.setdefault(pack, []).append(_MovedRun(start, end, name, offset))
        self._builder, self._parts, self._inside, self._raw = FooterBuilder(), [MAGIC], [], 0

    # layouts

    def _replace(self, digest: bytes) -> None:
        """Rewrite a leaf with the new extents of its files."""
        store = self._repo.store

        def load(name: bytes) -> bytes:
            return store.get_bounded(block_key(name), MAX_BLOCK)

        block: Block = parse_block(load(digest), digest, load)
        assert isinstance(block, Leaf)
        entries = [self._placed(entry) for entry in block.entries()]
        base_logical = None
        if block.base is not None:
            base: Leaf | Inner = parse_block(load(block.base), block.base)
            base_logical = base.logical
        new = encode_leaf(entries, block.base, base_logical)
        if new.digest != digest:
            raise IntegrityError(f"tree block {digest.hex()} would change its content; it was not replaced.")
        store.replace(block_key(digest), new.data)
        self._report.blocks += 1

    def _placed(self, entry: Entry) -> Entry:
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


def _frames_of(footer: Footer, run: tuple[int, int]) -> range:
    """Return the numbers of the frames from one offset to another."""
    offsets, behind = footer.frame_offsets, bisect_left(footer.frame_offsets, run[1])
    if behind == len(offsets) or offsets[behind] != run[1]:
        raise IntegrityError(f"pack {footer.pack_id.hex()} has other frames than in a layout.")
    return range(footer.frame_at(run[0]), behind)


def _united(runs: set[tuple[int, int]]) -> Iterator[tuple[int, int]]:
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
