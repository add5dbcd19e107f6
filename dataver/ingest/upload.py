"""From a sealed draft to a published version.

Write order (invariant 3): packs → tree blocks → record. A crash

    while packs or blocks are sent   leaves unreferenced objects; repeating sends what is missing
    before the record is created     the same
    after the record is created      leaves a published version; repeating recognises it by its write id

Before the record is created, every pack that the new blocks name and this call did not send is confirmed with
the store (invariant 5), and so is every block a new block is stored against.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from dataver.errors import IntegrityError
from dataver.formats.block import Inner, Leaf
from dataver.formats.record import Record
from dataver.ingest.draft import DraftCore
from dataver.ingest.known import spooled
from dataver.progress import SILENT, Progress
from dataver.repository import Published, Repository, publish
from dataver.repository.layout import block_key, pack_key

__all__ = ["Sent", "upload_draft"]

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
    """What the new tree needs from the repository."""

    blocks: list[bytes] = field(default_factory=list)
    packs: set[bytes] = field(default_factory=set)
    bases: set[bytes] = field(default_factory=set)


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
    need = _needs(draft, record.tree)
    local = {bytes.fromhex(path.name): path for path in spooled(draft.spool)}
    mine = {pack: path for pack, path in local.items() if pack in need.packs}
    _confirm(repository, need, set(mine))
    sizes = {pack: path.stat().st_size for pack, path in mine.items()}
    progress.start(len(mine), sum(sizes.values()))
    _send_packs(repository, mine, sizes, progress)
    blocks = [(block_key(digest), draft.block_object(digest)) for digest in need.blocks]
    repository.store.put_many_new(blocks)
    published = publish(
        repository.store,
        repository.records,
        record,
        label=label,
        bump=bump,
        attempted=attempted,
        on_attempt=on_attempt,
    )
    size = sum(sizes.values()) + sum(len(data) for _, data in blocks)
    return Sent(published, list(mine), len(blocks), size, time.perf_counter() - began)


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
    packs = sorted(need.packs - mine)
    with ThreadPoolExecutor(_ASKING) as pool:
        there = list(pool.map(repository.packs.exists, packs))
        lost = [pack for pack, exists in zip(packs, there, strict=True) if not exists]
        bases = list(pool.map(repository.blocks.exists, sorted(need.bases)))
    if lost or not all(bases):
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
