"""Publishing a sealed draft as a version.

Write order (invariant 3): packs → tree blocks → record. A crash

    while packs or blocks are sent   leaves unreferenced objects; repeating sends the missing ones
    before the record is created     the same
    after the record is created      leaves a published version; repeating recognises it by its write id

The position of the version, its label and the version it must contain, is determined before anything is sent,
and again whenever another writer published in between (`dataver.repository.publish`).

Small packs that changed leaves refer to are joined first if there are many (`dataver.ingest.join_packs`).

Before the record is created, every pack that the new blocks name and this call did not send is confirmed with
the store (invariant 5), and so is the base of every delta among the new blocks. A hold protects confirmed
objects from sweeps (`dataver.repository.holds`); the parent's record keeps everything below its blocks, which
is confirmed one by one if the parent was deleted.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dataver import parallel
from dataver.errors import Conflict, IntegrityError, NotFound
from dataver.formats.block import Inner, Leaf, encode_leaf, parse_block
from dataver.formats.block_object import MAX_BLOCK
from dataver.formats.entry import is_external
from dataver.formats.record import ParentRef, Record
from dataver.ingest.draft import DraftCore
from dataver.ingest.draft_state import save_state
from dataver.maintenance.delete import write_tombstone
from dataver.progress import SILENT, Progress
from dataver.repository import Published, RepositoryCore
from dataver.repository.holds import SweepListing, WriterHold, mark_external_layouts, writer_hold
from dataver.repository.layout import block_key, pack_key
from dataver.repository.lines import Behind, Position, busy, find_position
from dataver.repository.marking import mark
from dataver.repository.publish import publish
from dataver.repository.soundness import DamagedPacks
from dataver.tree import walk

__all__ = ["ROUNDS", "Sent", "mend", "needs_of_draft", "parts_of_draft", "publish_draft", "upload_draft"]

ROUNDS = 200  # versions of other writers in between before this gives up
_JOINED = 16  # packs that are joined at least


@dataclass
class Sent:
    """Result of an upload: packs and blocks sent, and their bytes; `position` None if done already."""

    published: Published
    position: Position | None = None
    packs: list[bytes] = field(default_factory=list)
    blocks: int = 0
    size: int = 0
    seconds: float = 0.0


@dataclass
class _Need:
    """Objects that the new tree needs: its own blocks, packs, bases of deltas, foreign blocks.

    Foreign blocks, those of the parents' trees, are listed only if no parent's record keeps them.
    """

    blocks: list[bytes] = field(default_factory=list)
    packs: set[bytes] = field(default_factory=set)
    bases: set[bytes] = field(default_factory=set)
    foreign: set[bytes] = field(default_factory=set)

    def keys(self) -> set[str]:
        """Return the keys of all of them."""
        blocks = {*self.blocks, *self.bases, *self.foreign}
        return {block_key(each) for each in blocks} | {pack_key(each) for each in self.packs}


def upload_draft(
    draft: DraftCore,
    repository: RepositoryCore,
    record: Record,
    *,
    locate: Callable[[], Position],
    attempted: str | None,
    on_attempt: Callable[[str], None],
    progress: Progress = SILENT,
) -> Sent:
    """Send the objects that the repository lacks and publish `record`.

    Args:
        draft: the draft with the blocks and packs.
        repository: the target.
        record: the record; its own label and line are ignored.
        locate: returns the position to publish at in the repository's current state.
        attempted: a label that an earlier, interrupted call may have published.
        on_attempt: called with each label before it is tried.
        progress: receives counts of packs.

    Raises:
        Conflict: `locate` raises it, or other writers publish continually.
        StoreError: the store failed; repeating the call continues.
        IntegrityError: a pack the draft needs is missing from the repository.
    """
    began = time.perf_counter()
    store, records = repository.store, repository.records
    published = None if attempted is None else records.read_back(record.dataset, attempted)
    if published is not None and published.record.write_id != record.write_id:
        published = None
    position = locate() if published is None else None
    sending = _Sending(draft, repository, record.tree, record.parents, progress, join=published is None)
    with writer_hold(store, record.tree) as hold:
        sending.establish(hold)
        if published is None:
            published, position = _publish(repository, record, position or locate(), locate, on_attempt)
        if not hold.trusted:  # this process was stopped for hours: a sweep may have ignored its hold
            try:
                sending.establish(hold)
            except (IntegrityError, Conflict):
                write_tombstone(
                    repository, published, author=record.author, reason="it could not be kept whole"
                )
                raise
    seconds = time.perf_counter() - began
    return Sent(published, position, list(sending.mine), sending.blocks, sending.size, seconds)


def _publish(
    repository: RepositoryCore,
    record: Record,
    position: Position,
    locate: Callable[[], Position],
    on_attempt: Callable[[str], None],
) -> tuple[Published, Position]:
    """Publish at a position; if another writer publishes meanwhile, at the next one that `locate` returns."""
    for _ in range(ROUNDS):
        published = publish(repository.store, repository.records, record, position, on_attempt)
        if published is not None:
            return published, position
        position = locate()
    raise busy(record.dataset)


def mend(draft: DraftCore, repository: RepositoryCore, progress: Progress = SILENT) -> None:
    """Replace damaged objects of an already published tree with those that the draft stored again.

    Raises:
        StoreError: the store failed; repeating the call continues.
        IntegrityError: a pack that the draft needs is missing or damaged.
    """
    tree = draft.tree.digest
    with writer_hold(repository.store, tree) as hold:
        _Sending(draft, repository, tree, (), progress, join=False).establish(hold)


class _Sending:
    """State of an upload; each step may be repeated and then does only the remaining work."""

    def __init__(
        self,
        draft: DraftCore,
        repository: RepositoryCore,
        tree: bytes,
        parents: Sequence[ParentRef],
        progress: Progress,
        *,
        join: bool,
    ) -> None:
        self._draft, self._repository, self._progress = draft, repository, progress
        self._tree, self._parents = tree, parents
        self._need = _needs(draft, tree)
        local = draft.local_packs()
        published = self._need.packs - local.keys()
        if join and len(published) >= _JOINED:
            from dataver.ingest.join_packs import join_packs  # a small change needs none of it

            if join_packs(draft, published, _JOINED):
                self._need = _needs(draft, tree)
                local = draft.local_packs()
        self.mine = {pack: path for pack, path in local.items() if pack in self._need.packs}
        self._sizes = {pack: path.stat().st_size for pack, path in self.mine.items()}
        self._keys = {block_key(name): name for name in self._need.blocks}
        self.blocks = len(self._keys)
        self.size = sum(self._sizes.values()) + sum(map(draft.log.length, self._need.blocks))
        self._started = False
        self._written: set[str] = set()  # keys of blocks

    def establish(self, hold: WriterHold) -> None:
        """Ensure that all objects the version needs exist and are held.

        Raises:
            IntegrityError: an object that the draft needs is missing from the repository.
            Conflict: a sweep that would delete some of them does not end.
        """
        hold.establish(self._send)
        if not all(map(self._keeps, self._parents)):
            self._need.foreign = _foreign(self._draft, self._tree)
            hold.establish(self._send)

    def _keeps(self, parent: ParentRef) -> bool:
        """Return whether a parent's record exists; a restored repository may hold another one of its name."""
        try:
            found = self._repository.records.read_back(parent.dataset, parent.label)
        except IntegrityError:
            return False
        return found is not None and found.record_id == parent.record

    def _send(self, sweeps: SweepListing) -> set[str]:
        need = self._need
        _confirm(self._repository, need, set(self.mine))
        if not self._started:
            self._progress.start(len(self.mine), sum(self._sizes.values()))
        _send_packs(self._repository, self.mine, self._sizes, SILENT if self._started else self._progress)
        self._started = True
        self._repository.soundness.save()
        if any(map(is_external, need.packs)):
            mark_external_layouts(self._repository.store, sweeps)
        objects = ((key, self._draft.block_object(name)) for key, name in self._keys.items())
        there = set(self._repository.store.put_many_new(objects)) - self._written
        self._written |= self._keys.keys() - there
        self._repair_blocks(there)
        return need.keys()

    def _repair_blocks(self, there: set[str]) -> None:
        """Replace existing blocks that are damaged, or whose layout names lost packs or external files.

        A sweep keeps the bases of deltas, but not the objects below them. And added files must not depend on
        external files.
        """
        if there:
            with parallel.pool(parallel.REQUESTS, "repair") as pool:
                list(pool.map(self._repair_block, there))

    def _repair_block(self, key: str) -> None:
        data = self._draft.block_object(self._keys[key])
        store, soundness = self._repository.store, self._repository.soundness
        there = self._stored(key)
        packs = there.packs() if isinstance(there, Leaf) else set()
        if there is None or not all(soundness.has(pack, again=True) for pack in packs - self._need.packs):
            store.replace(key, data)
        elif isinstance(there, Leaf) and any(map(is_external, packs)):
            store.replace(key, self._united(there, data))
        else:
            self._need.packs |= packs

    def _stored(self, key: str) -> Leaf | Inner | None:
        """Return a stored block, or None if it is damaged or was swept meanwhile."""
        try:
            data = self._repository.store.get_bounded(key, MAX_BLOCK)
            there = parse_block(data, bytes.fromhex(key[-64:]), self._draft.block_object)
            if isinstance(there, Leaf):
                there.packs()  # which reads the layout
        except (IntegrityError, NotFound):
            return None
        return there

    def _united(self, there: Leaf, data: bytes) -> bytes:
        """Return a leaf's object with our extents for files that are external in theirs."""
        ours = parse_block(data, there.digest, self._draft.block_object)
        assert isinstance(ours, Leaf)
        entries = [
            mine if there.is_outside(number) else other
            for number, (mine, other) in enumerate(zip(ours.entries(), there.entries(), strict=True))
        ]
        self._need.packs.update(extent.pack for entry in entries for extent in entry.extents)
        return encode_leaf(entries).data


def parts_of_draft(draft: DraftCore) -> tuple[dict[bytes, int], dict[bytes, int], set[bytes]]:
    """Return the objects that an upload sends and needs.

    Returns:
        Sizes of the local packs and of the tree blocks, by digest; and the packs and blocks that the
        repository must have already.
    """
    root = draft.tree.digest
    need = _needs(draft, root)
    packs = {pack: path.stat().st_size for pack, path in draft.local_packs().items()}
    mine = {pack: size for pack, size in packs.items() if pack in need.packs}
    blocks = {name: draft.log.length(name) for name in need.blocks}
    return mine, blocks, (need.packs - packs.keys()) | need.bases


def needs_of_draft(draft: DraftCore) -> tuple[set[bytes], set[bytes]]:
    """Return the packs and roots of trees that a draft needs and does not have itself."""
    root = draft.tree.digest
    need = _needs(draft, root)
    return need.packs - draft.local_packs().keys(), _foreign(draft, root) | need.bases


def _foreign(draft: DraftCore, root: bytes) -> set[bytes]:
    """Return the blocks of the parents' trees that the draft's tree still uses."""
    found = set() if draft.has_block(root) else {root}
    for block in _own_blocks(draft, root):
        if isinstance(block, Inner):
            found.update(child.digest for child in block.children if not draft.has_block(child.digest))
    return found


def _needs(draft: DraftCore, root: bytes) -> _Need:
    """Walk the draft's own blocks; everything below a published block is published already."""
    need = _Need()
    for block in _own_blocks(draft, root):
        need.blocks.append(block.digest)
        if block.base is not None:
            need.bases.add(block.base)
        if not isinstance(block, Inner):
            need.packs.update(block.packs())
    need.blocks.reverse()  # children first: a reader never finds a block without its children
    return need


def _own_blocks(draft: DraftCore, root: bytes) -> Iterator[Leaf | Inner]:
    return walk([root], draft.load_block, within=draft.has_block)


def _confirm(repository: RepositoryCore, need: _Need, mine: set[bytes]) -> None:
    if need.foreign:
        below = mark(repository.store, need.foreign)  # raises if a block is missing
        need.bases |= below.blocks
        need.packs |= below.packs
    packs = sorted(need.packs - mine)
    random.shuffle(packs)  # of many packs, only some are sampled
    with parallel.pool(parallel.REQUESTS, "confirm") as pool:
        there = list(pool.map(lambda pack: repository.soundness.has(pack, again=True), packs))
        lost = [pack for pack, sound in zip(packs, there, strict=True) if not sound]
        bases = list(pool.map(repository.blocks.exists, sorted(need.bases)))
    repository.soundness.save()
    if lost or not all(bases):
        repository.blocks.forget()  # else a new draft would reuse the same layouts
    if lost:
        repository.soundness.mark(lost)
        raise DamagedPacks(
            f"pack {lost[0].hex()}, which this draft relies on, is missing from {repository.url} or damaged; "
            "nothing was published.",
            hint="add the files again, to this draft if it is open, else to a new one: they are stored again",
        )
    if not all(bases):
        raise IntegrityError(
            f"a block of the parent's tree, which this draft relies on, is no longer in {repository.url}; "
            "nothing was published.",
            hint="was it deleted meanwhile? Make a new draft and add the files again",
        )


def _send_packs(
    repository: RepositoryCore, packs: dict[bytes, Path], sizes: dict[bytes, int], progress: Progress
) -> None:
    def send(item: tuple[bytes, Path]) -> None:
        repository.soundness.send(*item)
        progress.advance(1, sizes[item[0]], 0)

    if repository.store.local_root is not None or len(packs) < 2:
        for item in packs.items():
            send(item)
        return
    with parallel.pool(parallel.PACKS, "send") as pool:
        list(pool.map(send, packs.items()))


def publish_draft(
    draft: DraftCore, progress: Progress, rebase: bool, allow_fork: bool
) -> tuple[Sent, Published | None]:
    """Publish; return the amount sent, and the version that the changes were applied to, if any.

    Raises:
        As `dataver.Draft.upload`. Behind: a draft that mirrors a folder is behind the latest version.
    """
    with draft.locked():
        draft.reload()
        onto = None
        for _ in range(ROUNDS):
            try:
                sent = _publish_once(draft, progress, allow_fork)
            except Behind as behind:
                if draft.state.mirrors is not None:
                    raise
                onto = behind.latest
                draft.merge_onto(onto, keep=rebase)
            else:
                return sent, onto
        raise busy(draft.dataset)


def _publish_once(draft: DraftCore, progress: Progress, allow_fork: bool) -> Sent:
    state = draft.state
    record = draft.record(state.sealed or {})

    def remember(label: str) -> None:
        state.attempted = label
        save_state(draft.folder, state)

    def locate() -> Position:
        return find_position(
            draft.repository.records,
            record,
            label=state.label,
            bump=state.bump,
            mirrors=state.mirrors is not None,
            allow_fork=allow_fork,
        )

    if state.label is not None:
        draft.repository.tags.refuse_label(draft.dataset, state.label)
    sent = upload_draft(
        draft,
        draft.repository,
        record,
        locate=locate,
        attempted=state.attempted,
        on_attempt=remember,
        progress=progress,
    )
    draft.mark_published(sent.published, sent.packs)
    if sent.position is not None:
        draft.repository.records.extend_copies(draft.dataset, sent.position.names.labels)
    return sent
