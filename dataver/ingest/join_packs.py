"""Joining the small packs of changed leaves, a few at a time, when a draft is uploaded.

A dataset that grows by little in each version gets a small pack each time, and a leaf of its tree refers to
more and more of them. Each costs a request when the version is fetched, and one when the next version is
published. The layout of a changed leaf is written anyway. So if it refers to many small packs, their frames
are copied to a pack of the draft, to which the new layout refers. Digests do not depend on layouts.

Older versions still need the old packs, so joining costs space: about the size of the small packs, and again
while they have at most `_SMALL` bytes together. A pack is joined only if the changed leaves need most of it,
so that its frames are not copied again for other leaves. Nothing depends on joining: if a pack is damaged
or of a newer dataver, nothing is joined, and the upload reports damage.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from dataver.errors import FormatTooNew, IntegrityError
from dataver.formats.block import Leaf, encode_leaf
from dataver.formats.entry import is_external
from dataver.formats.pack import MAGIC
from dataver.ingest.draft import DraftCore
from dataver.repository.frame_copier import FrameCopier, Runs, live_bytes
from dataver.storage.durable import replace_file
from dataver.tree import walk

__all__ = ["join_packs"]

_SMALL: Final = 256 << 10  # bytes of frames: a request takes longer than the transfer of as many
_MOST: Final = 64  # packs that are joined in one upload


@dataclass
class _Use:
    """Frames of a pack that the changed leaves need, and the ranges of raw bytes in them."""

    runs: Runs = field(default_factory=set)
    ranges: set[tuple[int, int, int]] = field(default_factory=set)


def join_packs(draft: DraftCore, published: Iterable[bytes], fewest: int) -> bool:
    """Join small packs that the changed leaves of a draft refer to, if there are many; return whether any.

    The caller holds the draft's lock. A crash leaves at worst a pack in the draft that no layout refers to.

    Args:
        draft: the draft.
        published: the packs that the leaves refer to and that are not the draft's own.
        fewest: packs that are joined at least.

    Raises:
        StoreError: the store failed; the draft is unchanged.
    """
    near = {pack for pack in published if not is_external(pack)}
    if len(near) < fewest:
        return False
    ends, leaves = _candidates(draft, near)
    if len(ends) < fewest:
        return False
    try:
        chosen = _worthwhile(draft, _uses(draft, leaves, set(ends)), ends)
        if len(chosen) < fewest:
            return False
        copier = _copied(draft, chosen)
    except (IntegrityError, FormatTooNew):
        return False
    for digest in leaves:
        leaf = draft.load_block(digest)
        if isinstance(leaf, Leaf) and not leaf.packs().isdisjoint(chosen):
            base = None if leaf.base is None else draft.load_block(leaf.base).logical
            draft.keep_block(encode_leaf([copier.moved(each) for each in leaf.entries()], leaf.base, base))
    draft.log.commit()
    return True


def _candidates(draft: DraftCore, near: set[bytes]) -> tuple[dict[bytes, int], list[bytes]]:
    """Return the ends of the needed frames of packs that may be small, and the leaves that need packs."""
    ends: dict[bytes, int] = defaultdict(int)
    leaves = []
    for block in walk([draft.tree.digest], draft.load_block, within=draft.has_block):
        if isinstance(block, Leaf) and not near.isdisjoint(block.packs()):
            leaves.append(block.digest)
            for pack, offset, stored in block.ranges():
                ends[pack] = max(ends[pack], offset + stored)
    return {pack: end for pack, end in ends.items() if pack in near and end <= _SMALL}, leaves


def _uses(draft: DraftCore, leaves: Iterable[bytes], small: set[bytes]) -> dict[bytes, _Use]:
    """Return the use of each of some packs, in the order of paths."""
    uses: dict[bytes, _Use] = defaultdict(_Use)
    for digest in leaves:
        leaf = draft.load_block(digest)
        if isinstance(leaf, Leaf) and not small.isdisjoint(leaf.packs()):
            for extent in (extent for entry in leaf.entries() for extent in entry.extents):
                if extent.pack in small:
                    uses[extent.pack].runs.add((extent.offset, extent.stored))
                    uses[extent.pack].ranges.add((extent.offset, extent.skip, extent.length))
    return uses


def _worthwhile(draft: DraftCore, uses: dict[bytes, _Use], ends: dict[bytes, int]) -> dict[bytes, Runs]:
    """Return the runs of frames of the packs that are small and mostly needed, as many as may be joined."""
    chosen = {}
    some = list(uses)[:_MOST]
    for pack, footer in draft.repository.packs.footers(some, ends).items():
        size, raw, use = footer.frame_offsets[-1] - len(MAGIC), footer.raw_starts[-1], uses[pack]
        needed = sum(length for _, _, length in use.ranges)
        if size <= _SMALL and 2 * live_bytes(use.runs) >= size and 2 * needed >= raw:
            chosen[pack] = use.runs
    return chosen


def _copied(draft: DraftCore, chosen: dict[bytes, Runs]) -> FrameCopier:
    """Copy frames to packs of the draft."""
    draft.spool.mkdir(exist_ok=True)

    def put(pack: bytes, parts: list[bytes | memoryview]) -> None:
        replace_file(draft.spool / pack.hex(), *parts, durable=True)

    copier = FrameCopier(draft.repository, put)
    for _ in copier.copy(chosen):
        pass
    copier.close()
    return copier
