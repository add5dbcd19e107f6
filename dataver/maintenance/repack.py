"""Repacking: copy the live frames of mostly dead packs and of small ones to new packs.

`gc` can delete the old packs then. Many small packs, one for each version of a dataset that grows by little,
would cost a request each when a version is fetched, or published.

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
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from dataver import parallel
from dataver.errors import Conflict, IntegrityError
from dataver.formats.block import Block, Inner, Leaf, encode_leaf, parse_block
from dataver.formats.block_object import MAX_BLOCK
from dataver.formats.entry import is_external
from dataver.formats.keeping import MAX_KEYS, Retired
from dataver.formats.pack import MAGIC
from dataver.machine.process_identity import is_gone
from dataver.machine.store_clock import Stopwatch, store_now
from dataver.maintenance.usage import needs_of
from dataver.progress import SILENT, Progress
from dataver.repository.frame_copier import FrameCopier, Runs, batches, live_bytes
from dataver.repository.holds import WriterHold, current_holds, writer_hold
from dataver.repository.layout import block_key, retired_key
from dataver.repository.marking import Inventory, list_inventory, reach
from dataver.repository.repository import RepositoryCore
from dataver.short_repr import short_repr

__all__ = ["DEAD", "RepackPlan", "RepackReport", "execute_repack", "plan_repack"]

DEAD: Final = 0.5
"""Packs are rewritten if at least this share of their frames' bytes is dead."""

_GROUP: Final = 1 << 30  # live bytes in a group
_FOOTERS: Final = 32  # footers in memory
_WORTH: Final = 0.9  # maximum live share of a pack to rewrite
_SMALL: Final = 1 << 20  # bytes of packs that are joined: the request for one takes longer than its transfer
_FEWEST: Final = 16  # small packs that are joined at least
_RENEWED: Final = 60.0  # seconds after which the hold is renewed
_LEAVES: Final = 64  # blocks that are replaced at a time


@dataclass
class RepackPlan:
    """Plan of a repack.

    Attributes:
        dead: packs are rewritten if at least this share of them is dead.
        packs: sizes of the packs to rewrite, by id, the small ones included.
        live: bytes of them that versions need, which are copied.
        blocks: number of tree blocks whose layouts are replaced.
        seen: number of packs in the repository.
        small: number of small packs to join.
    """

    dead: float
    packs: dict[bytes, int] = field(default_factory=dict)
    live: int = 0
    blocks: int = 0
    seen: int = 0
    small: int = 0

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


class _Found(NamedTuple):
    """The plan, the runs of live frames in its packs, and the leaves that refer to them."""

    plan: RepackPlan
    frames: dict[bytes, Runs]
    leaves: dict[bytes, set[bytes]]


def plan_repack(repo: RepositoryCore, *, dead: float = DEAD) -> RepackPlan:
    """Plan a repack of the packs that are mostly dead, and of the small ones if there are many.

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
        try:
            for packs in batches({pack: found.frames[pack] for pack in found.plan.packs}, _GROUP, MAX_KEYS):
                _Group(repo, hold, found, packs, report, progress).run()
        finally:
            repo.blocks.refresh()
        repo.records.rewrite_copies()
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
    published = repo.records.many(repo.records.everything())
    published.sort(key=lambda each: each.record.created, reverse=True)
    # the newest first: packs that its leaves need together become neighbours
    roots = dict.fromkeys(each.record.tree for each in published)
    frames: dict[bytes, Runs] = {}
    leaves: dict[bytes, set[bytes]] = {}
    for block in reach(repo.store, roots):
        for pack, offset, stored in needs_of(block).frames:
            frames.setdefault(pack, set()).add((offset, stored))
            leaves.setdefault(pack, set()).add(block.digest)
    there = inventory.packs
    small = [
        pack for pack in frames if pack in there and not is_external(pack) and there[pack].size <= _SMALL
    ]
    if len(small) < _FEWEST:
        small = []
    plan = RepackPlan(dead, seen=len(there), small=len(small))
    live = {pack: live_bytes(frames[pack]) for pack in small}
    for pack, size in (*_mostly_dead(repo, inventory, frames, dead), *live.items()):
        if pack not in plan.packs:
            plan.packs[pack] = there[pack].size
            plan.live += size
    touched: set[bytes] = set().union(*(leaves[pack] for pack in plan.packs))
    plan.blocks = len(touched)
    return _Found(plan, {pack: frames[pack] for pack in plan.packs}, leaves)


def _mostly_dead(
    repo: RepositoryCore, inventory: Inventory, frames: dict[bytes, Runs], dead: float
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
    for start in range(0, len(maybe), _FOOTERS):
        for pack, footer in repo.packs.footers(maybe[start : start + _FOOTERS]).items():
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
        self._copier = FrameCopier(repo, repo.soundness.put)

    def run(self) -> None:
        """Write the new packs, retire the old ones, and replace the layouts."""
        frames = {pack: self._found.frames[pack] for pack in self._packs}
        self._hold.renew()
        renewed = Stopwatch()
        for pack in self._copier.copy(frames):
            if renewed.seconds() > _RENEWED:
                self._hold.renew()
                renewed = Stopwatch()
            self._progress.advance(1, live_bytes(frames[pack]))
        self._copier.close()
        note = Retired(packs=tuple(self._packs))
        self._repo.store.put(retired_key(os.urandom(16).hex()), note.encode())
        self._replace_all(sorted(set().union(*(self._found.leaves[pack] for pack in self._packs))))
        self._report.packs += len(self._packs)
        self._report.size += sum(self._found.plan.packs[pack] for pack in self._packs)
        self._report.written += self._copier.written
        self._report.written_size += self._copier.written_size

    def _replace_all(self, leaves: list[bytes]) -> None:
        threads = 1 if self._repo.store.local_root is not None else parallel.REQUESTS
        with parallel.pool(threads, "repack") as pool:
            for start in range(0, len(leaves), _LEAVES):
                if not self._hold.trusted:
                    self._hold.renew()  # raises
                some = leaves[start : start + _LEAVES]
                list(pool.map(self._replace, some))
                self._report.blocks += len(some)

    def _replace(self, digest: bytes) -> None:
        """Rewrite a leaf with the new extents of its files."""
        store = self._repo.store

        def load(name: bytes) -> bytes:
            return store.get_bounded(block_key(name), MAX_BLOCK)

        block: Block = parse_block(load(digest), digest, load)
        assert isinstance(block, Leaf)
        entries = [self._copier.moved(entry) for entry in block.entries()]
        base_logical = None
        if block.base is not None:
            base: Leaf | Inner = parse_block(load(block.base), block.base)
            base_logical = base.logical
        new = encode_leaf(entries, block.base, base_logical)
        if new.digest != digest:
            raise IntegrityError(f"tree block {digest.hex()} would change its content; it was not replaced.")
        store.replace(block_key(digest), new.data)
