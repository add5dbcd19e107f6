"""Marking: find all blocks and packs that trees need, from their roots.

The idea: blocks are read from the store and never from a cache, because a cached block may have a layout
older than a repack, with packs that are no longer needed. Each block is read once (`dataver.tree.walk`), and
trees are not kept in memory. The base of a block is needed as an object, but not the blocks below it.

Keeps invariant 1 (every block is compared with its digest) and, for deletions, the first half of 3: an
unreadable block is an error, since the objects below it are unknown.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from dataver import parallel
from dataver.errors import FormatTooNew, IntegrityError, NotFound
from dataver.formats.block import Block, Inner, parse_block
from dataver.formats.block_object import MAX_BLOCK
from dataver.lru import LRUCache
from dataver.repository.layout import EXTERNALS, PACKS, TREES, block_key, pack_key, parse_object_key
from dataver.storage import ObjectInfo, Store
from dataver.tree import walk

__all__ = ["Inventory", "Marks", "list_inventory", "mark", "pass_over", "pass_over_missing", "reach"]

_BASES: Final = 128  # objects of bases kept in memory, ~0.1 MB each

OnError = Callable[[bytes, IntegrityError | FormatTooNew], None]


class _BlockMissing(IntegrityError):
    """A block that is not in the store.

    Attributes:
        block: its digest.
    """

    block = b""


@dataclass
class Marks:
    """Needed blocks and packs, external packs included."""

    blocks: set[bytes] = field(default_factory=set)
    packs: set[bytes] = field(default_factory=set)

    def keys(self) -> set[str]:
        """Return their keys."""
        return {block_key(each) for each in self.blocks} | {pack_key(each) for each in self.packs}

    def add(self, other: "Marks") -> None:
        """Add the marks of another set."""
        self.blocks |= other.blocks
        self.packs |= other.packs


class Inventory(NamedTuple):
    """Existing packs (external ones included) and blocks, by id."""

    packs: dict[bytes, ObjectInfo]
    blocks: dict[bytes, ObjectInfo]

    def size(self, marks: Marks) -> int:
        """Return the bytes of the marked objects that exist."""
        packs, blocks = self.packs, self.blocks
        return sum(packs[each].size for each in marks.packs if each in packs) + sum(
            blocks[each].size for each in marks.blocks if each in blocks
        )


def list_inventory(store: Store) -> Inventory:
    """List packs and blocks; foreign keys are ignored."""

    def listed(prefix: str) -> dict[bytes, ObjectInfo]:
        found = ((parse_object_key(info.key), info) for info in store.list(prefix))
        return {name: info for name, info in found if name is not None}

    return Inventory(listed(PACKS) | listed(EXTERNALS), listed(TREES))


def mark(store: Store, roots: Iterable[bytes], *, on_error: OnError | None = None) -> Marks:
    """Return the blocks and packs that the trees of these roots need.

    Args:
        store: the repository's store.
        roots: digests of root blocks.
        on_error: as for `dataver.tree.walk`: `pass_over` for trees that need not be readable,
            `pass_over_missing` for trees whose blocks are not all there.

    Raises:
        IntegrityError: a block is missing or damaged, and `on_error` does not pass over it.
    """
    marks = Marks()
    for block in reach(store, roots, on_error=on_error):
        marks.blocks.add(block.digest)
        if block.base is not None:
            marks.blocks.add(block.base)
        if not isinstance(block, Inner):
            marks.packs |= block.packs()
    return marks


def reach(
    store: Store,
    roots: Iterable[bytes],
    *,
    on_error: OnError | None = None,
) -> Iterator[Block]:
    """Yield each block of these trees once, read from the store, parents before children.

    Arguments and errors as in `dataver.tree.walk`.
    """
    reader = _BlockReader(store)
    if store.local_root is not None:
        yield from walk(roots, reader.load, on_error=on_error)
        return
    with parallel.pool(parallel.REQUESTS, "mark") as pool:
        yield from walk(roots, reader.load, across=pool.map, on_error=on_error)


def pass_over(_digest: bytes, error: IntegrityError | FormatTooNew) -> None:
    """Continue a walk after a block that cannot be read, unless a newer dataver has written it.

    Raises:
        FormatTooNew: a newer dataver may need what this one cannot read.
    """
    if isinstance(error, FormatTooNew):
        raise error


def pass_over_missing(digest: bytes, error: IntegrityError | FormatTooNew) -> None:
    """Continue a walk after a missing block. What a damaged block needs is unknown, so that is an error.

    Raises:
        IntegrityError: the block is damaged, or the block that it is stored against is missing.
        FormatTooNew: a newer dataver has written it.
    """
    if not isinstance(error, _BlockMissing) or error.block != digest:
        raise error


class _BlockReader:
    """Reads blocks from the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._bases: LRUCache[bytes, bytes] = LRUCache(_BASES)

    def load(self, digest: bytes) -> Block:
        """Return a block."""
        return parse_block(self._object(digest), digest, self._base)

    def _object(self, digest: bytes) -> bytes:
        try:
            return self._store.get_bounded(block_key(digest), MAX_BLOCK)
        except NotFound as error:
            missing = _BlockMissing(f"tree block {digest.hex()} is missing from {self._store.url}.")
            missing.block = digest
            raise missing from error

    def _base(self, digest: bytes) -> bytes:
        found = self._bases.get(digest)
        if found is None:
            found = self._object(digest)
            self._bases.put(digest, found)
        return found
