"""From a sealed draft to a published version.

Write order (invariant 3): packs → tree blocks → record. A crash

    while packs or blocks are sent   leaves unreferenced objects; repeating sends what is missing
    before the record is created     the same
    after the record is created      leaves a published version; repeating recognises it by its write id

Before the record is created, every pack that the new blocks name and this call did not send is confirmed with
the store (invariant 5), and so is every block a new block is stored against. A hold keeps what was confirmed
from being swept (`dataver.repository.keeping.holds`); what hangs below a parent's blocks is kept by the
parent's record, and confirmed one by one where the parent was deleted.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from dataver.errors import Conflict, IntegrityError
from dataver.formats.block import Inner, Leaf, encode_leaf, parse_block
from dataver.formats.entry import is_external
from dataver.formats.record import Record
from dataver.ingest.draft import DraftCore
from dataver.progress import SILENT, Progress
from dataver.repository import Published, Repository, publish
from dataver.repository.keeping.deleting import bury
from dataver.repository.keeping.holds import Found, Holding, holding, note_external
from dataver.repository.keeping.marking import mark
from dataver.repository.layout import block_key, pack_key, record_key

__all__ = ["Sent", "needs_of_draft", "parts_of_draft", "upload_draft"]

_PARALLEL = 4  # packs on their way at once, 64 MB each read from disk by the store
_ASKING = 16  # existence questions at once


@dataclass
class Sent:
    """What an upload did: the packs and blocks sent, and their bytes."""

    published: Published
    packs: list[bytes] = field(default_factory=list)
    blocks: int = 0
    size: int = 0
    seconds: float = 0.0


@dataclass
class _Need:
    """What the new tree needs: its own blocks, packs, blocks that others are stored against, foreign blocks.

    Foreign blocks, those of the parents' trees, are only noted where no parent's record keeps them.
    """

    blocks: list[bytes] = field(default_factory=list)
    packs: set[bytes] = field(default_factory=set)
    bases: set[bytes] = field(default_factory=set)
    foreign: set[bytes] = field(default_factory=set)

    def keys(self) -> set[str]:
        """Return the keys of all of it."""
        blocks = {*self.blocks, *self.bases, *self.foreign}
        return {block_key(each) for each in blocks} | {pack_key(each) for each in self.packs}


def upload_draft(
    draft: DraftCore,
    repository: Repository,
    record: Record,
    *,
    label: str | None,
    bump: str,
    attempted: str | None,
    on_attempt: Callable[[str], None],
    progress: Progress = SILENT,
) -> Sent:
    """Send what the repository lacks and publish `record`.

    Raises:
        Conflict: the chosen label is taken, or is a tag.
        StoreError: the store failed; repeating the call continues.
        IntegrityError: a pack the draft relies on has vanished from the repository.
    """
    began = time.perf_counter()
    if label is not None:
        repository.tags.refuse_label(record.dataset, label)
    sending = _Sending(draft, repository, record, progress)
    with holding(repository.store, record.tree) as hold:
        sending.settle(hold)
        published = publish(
            repository.store,
            repository.records,
            record,
            label=label,
            bump=bump,
            attempted=attempted,
            on_attempt=on_attempt,
        )
        if not hold.trusted:  # this process was stopped for hours: a sweep may have passed it over
            try:
                sending.settle(hold)
            except (IntegrityError, Conflict):
                bury(repository, published, author=record.author, reason="it could not be kept whole")
                raise
    return Sent(published, list(sending.mine), sending.blocks, sending.size, time.perf_counter() - began)


class _Sending:
    """What is sent of a draft; each step may be done again, and then does what is still to be done."""

    def __init__(self, draft: DraftCore, repository: Repository, record: Record, progress: Progress) -> None:
        self._draft, self._repository, self._record, self._progress = draft, repository, record, progress
        self._need = _needs(draft, record.tree)
        local = draft.local_packs()
        self.mine = {pack: path for pack, path in local.items() if pack in self._need.packs}
        self._sizes = {pack: path.stat().st_size for pack, path in self.mine.items()}
        self._objects = [(block_key(name), draft.block_object(name)) for name in self._need.blocks]
        self.blocks = len(self._objects)
        self.size = sum(self._sizes.values()) + sum(len(data) for _, data in self._objects)
        self._started = False

    def settle(self, hold: Holding) -> None:
        """Bring it about that all the version needs is there and stays there.

        Raises:
            IntegrityError: something that the draft relies on has vanished from the repository.
            Conflict: a sweep that would delete some of it does not end.
        """
        hold.settle(self._send)
        parents = self._record.parents
        keys = [record_key(parent.dataset, parent.label) for parent in parents]
        if not all(map(self._repository.store.exists, keys)):
            self._need.foreign = _foreign(self._draft, self._record.tree)
            hold.settle(self._send)

    def _send(self, sweeps: Found) -> set[str]:
        need = self._need
        _confirm(self._repository, need, set(self.mine))
        if not self._started:
            self._progress.start(len(self.mine), sum(self._sizes.values()))
        _send_packs(self._repository, self.mine, self._sizes, SILENT if self._started else self._progress)
        self._started = True
        if any(map(is_external, need.packs)):
            note_external(self._repository.store, sweeps)
        if sweeps.keys:  # something was swept here, now or long ago; or external files were recorded
            self._repair_blocks()
        self._repository.store.put_many_new(self._objects)
        return need.keys()

    def _repair_blocks(self) -> None:
        """Replace blocks that are there with a layout whose packs are gone, or that needs external files.

        A sweep keeps blocks that others are stored against, but not what lies below them. And what is added
        is not to depend on files that somebody else left where they are.
        """
        store = self._repository.store
        for key, data in self._objects:
            if not store.exists(key):
                continue
            there = self._stored(key)
            packs = there.packs() if isinstance(there, Leaf) else set()
            if there is None or not all(map(self._repository.packs.exists, packs - self._need.packs)):
                store.replace(key, data)
            elif isinstance(there, Leaf) and any(map(is_external, packs)):
                store.replace(key, self._united(there, data))
            else:
                self._need.packs |= packs

    def _stored(self, key: str) -> Leaf | Inner | None:
        """Return a block as it is stored, None where it is damaged."""
        data, name = self._repository.store.get(key), bytes.fromhex(key[-64:])
        try:
            there = parse_block(data, name, self._draft.block_object)
            if isinstance(there, Leaf):
                there.packs()  # which reads the layout
        except IntegrityError:
            return None
        return there

    def _united(self, there: Leaf, data: bytes) -> bytes:
        """Return a leaf's object with our places of those files that are external in theirs."""
        ours = parse_block(data, there.digest, self._draft.block_object)
        assert isinstance(ours, Leaf)
        entries = [
            mine if there.is_outside(number) else other
            for number, (mine, other) in enumerate(zip(ours.entries(), there.entries(), strict=True))
        ]
        self._need.packs.update(extent.pack for entry in entries for extent in entry.extents)
        return encode_leaf(entries).data


def parts_of_draft(draft: DraftCore) -> tuple[dict[bytes, int], dict[bytes, int], set[bytes]]:
    """Return what an upload sends and relies on.

    Returns:
        Sizes of the packs that are here and of the tree blocks, by digest; and the packs and blocks that are
        to be in the repository already.
    """
    root = draft.tree.digest
    need = _needs(draft, root)
    packs = {pack: path.stat().st_size for pack, path in draft.local_packs().items()}
    mine = {pack: size for pack, size in packs.items() if pack in need.packs}
    blocks = {name: len(draft.block_object(name)) for name in need.blocks}
    return mine, blocks, (need.packs - packs.keys()) | need.bases


def needs_of_draft(draft: DraftCore) -> tuple[set[bytes], set[bytes]]:
    """Return the packs, and the roots of trees, that a draft relies on and does not have itself."""
    root = draft.tree.digest
    need = _needs(draft, root)
    return need.packs - draft.local_packs().keys(), _foreign(draft, root) | need.bases


def _foreign(draft: DraftCore, root: bytes) -> set[bytes]:
    """Return the blocks of the parents' trees that the draft's tree goes on using."""
    found = set() if draft.has_block(root) else {root}
    for block in _own_blocks(draft, root, set()):
        if isinstance(block, Inner):
            found.update(child.digest for child in block.children if not draft.has_block(child.digest))
    return found


def _needs(draft: DraftCore, root: bytes) -> _Need:
    """Walk the draft's own blocks; what hangs below a published block is there already."""
    need = _Need()
    for block in _own_blocks(draft, root, set()):
        need.blocks.append(block.digest)
        if block.base is not None:
            need.bases.add(block.base)
        if not isinstance(block, Inner):
            need.packs.update(block.packs())
    need.blocks.reverse()  # children first: a reader never meets a block whose children are not there
    return need


def _own_blocks(draft: DraftCore, digest: bytes, seen: set[bytes]) -> Iterator[Leaf | Inner]:
    if digest in seen or not draft.has_block(digest):
        return
    seen.add(digest)
    block = draft.load_block(digest)
    yield block
    if isinstance(block, Inner):
        for child in block.children:
            yield from _own_blocks(draft, child.digest, seen)


def _confirm(repository: Repository, need: _Need, mine: set[bytes]) -> None:
    if need.foreign:
        below = mark(repository.store, need.foreign)  # raises where a block is gone
        need.bases |= below.blocks
        need.packs |= below.packs
    packs = sorted(need.packs - mine)
    with ThreadPoolExecutor(_ASKING) as pool:
        there = list(pool.map(repository.packs.exists, packs))
        lost = [pack for pack, exists in zip(packs, there, strict=True) if not exists]
        bases = list(pool.map(repository.blocks.exists, sorted(need.bases)))
    if lost or not all(bases):
        repository.blocks.refresh()
        what = f"pack {lost[0].hex()}" if lost else "a block of the parent's tree"
        raise IntegrityError(
            f"{what}, which this draft relies on, is no longer in {repository.url}; nothing was published.",
            hint="was it deleted meanwhile? Make a new draft and add the files again",
        )


def _send_packs(
    repository: Repository, packs: dict[bytes, Path], sizes: dict[bytes, int], progress: Progress
) -> None:
    def send(item: tuple[bytes, Path]) -> None:
        repository.store.put_file_new(pack_key(item[0]), item[1])
        progress.advance(1, sizes[item[0]], 0)

    if repository.store.local_root is not None or len(packs) < 2:
        for item in packs.items():
            send(item)
        return
    with ThreadPoolExecutor(_PARALLEL) as pool:
        list(pool.map(send, packs.items()))
