"""What is needed: from the roots of trees to every block and pack below them, as the store has them now.

The idea: blocks are read from the store and never from a cache, because a cached block may have the layout
of before a repack and name packs that nobody needs any more instead of those that hold the bytes. Each block
is read once, in windows, so memory holds digests and no trees. The block that another is stored against is
needed as an object; what lies below it is not.

Keeps invariant 1 (every block is compared with its digest) and, for whatever deletes, the first half of 3:
a block that cannot be read ends the work, since nobody knows what it needs.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from threading import Lock
from typing import Final, NamedTuple

from dataver.errors import IntegrityError, NotFound
from dataver.formats.block import Block, Inner, parse_block
from dataver.repository.layout import EXTERNALS, PACKS, TREES, block_key, pack_key, parse_object_key
from dataver.storage import ObjectInfo, Store

__all__ = ["Inventory", "Marks", "mark", "reach", "take_inventory"]

_PARALLEL: Final = 16  # requests in flight
_WINDOW: Final = 64  # blocks in memory at a time
_BASES: Final = 128  # objects of blocks kept that others are stored against, ~0.1 MB each


@dataclass
class Marks:
    """Blocks and packs that are needed, external packs among them."""

    blocks: set[bytes] = field(default_factory=set)
    packs: set[bytes] = field(default_factory=set)

    def keys(self) -> set[str]:
        """Return their keys."""
        return {block_key(each) for each in self.blocks} | {pack_key(each) for each in self.packs}

    def add(self, other: "Marks") -> None:
        """Take in what others need."""
        self.blocks |= other.blocks
        self.packs |= other.packs


class Inventory(NamedTuple):
    """The packs, external ones among them, and blocks there are, by id."""

    packs: dict[bytes, ObjectInfo]
    blocks: dict[bytes, ObjectInfo]

    def size(self, marks: Marks) -> int:
        """Return the bytes of those marked objects that are there."""
        packs, blocks = self.packs, self.blocks
        return sum(packs[each].size for each in marks.packs if each in packs) + sum(
            blocks[each].size for each in marks.blocks if each in blocks
        )


def take_inventory(store: Store) -> Inventory:
    """List packs and blocks; objects under other keys are not ours and are left out."""

    def listed(prefix: str) -> dict[bytes, ObjectInfo]:
        found = ((parse_object_key(info.key), info) for info in store.list(prefix))
        return {name: info for name, info in found if name is not None}

    return Inventory(listed(PACKS) | listed(EXTERNALS), listed(TREES))


def mark(store: Store, roots: Iterable[bytes], *, lenient: bool = False) -> Marks:
    """Return all that the trees of these root blocks need.

    Args:
        store: the repository's.
        roots: digests.
        lenient: pass over blocks that cannot be read, for trees that need not be whole.

    Raises:
        IntegrityError: a block is missing or damaged.
    """
    marks = Marks()
    for block in reach(store, roots, lenient=lenient):
        marks.blocks.add(block.digest)
        if block.base is not None:
            marks.blocks.add(block.base)
        if not isinstance(block, Inner):
            marks.packs |= block.packs()
    return marks


def reach(store: Store, roots: Iterable[bytes], *, lenient: bool = False) -> Iterator[Block]:
    """Yield each block of these trees once, parents before children. Arguments as for `mark`."""
    reader = _Reader(store)
    seen = set(roots)
    ahead = list(seen)
    remote = store.local_root is None
    with ThreadPoolExecutor(_PARALLEL if remote else 1, "dataver-mark") as pool:
        while ahead:
            window, ahead = ahead[-_WINDOW:], ahead[:-_WINDOW]
            load = reader.load_if_there if lenient else reader.load
            for block in pool.map(load, window) if remote else map(load, window):
                if block is None:
                    continue
                yield block
                if isinstance(block, Inner):
                    fresh = [child.digest for child in block.children if child.digest not in seen]
                    seen.update(fresh)
                    ahead += fresh


class _Reader:
    """Reads blocks from the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._bases: OrderedDict[bytes, bytes] = OrderedDict()
        self._lock = Lock()

    def load(self, digest: bytes) -> Block:
        """Return a block."""
        block = parse_block(self._object(digest), digest, self._base)
        if not isinstance(block, Inner):
            block.packs()  # a layout that cannot be read is an error here, not later
        return block

    def load_if_there(self, digest: bytes) -> Block | None:
        """Return a block, None where it is missing or damaged."""
        try:
            return self.load(digest)
        except IntegrityError:
            return None

    def _object(self, digest: bytes) -> bytes:
        try:
            return self._store.get(block_key(digest))
        except NotFound as error:
            raise IntegrityError(f"tree block {digest.hex()} is missing from {self._store.url}.") from error

    def _base(self, digest: bytes) -> bytes:
        with self._lock:
            found = self._bases.get(digest)
        if found is None:
            found = self._object(digest)
            with self._lock:
                self._bases[digest] = found
                for old in list(islice(self._bases, max(0, len(self._bases) - _BASES))):
                    del self._bases[old]
        return found
