"""Tree blocks that versions need and that no published version of the target has.

The idea: all blocks of a version that is published in the target exist there (invariant 3), so the walk stops
at them. To know them, only the inner blocks are read, which list the leaves. The existence of a block alone
proves nothing about those below it: it may be left from an interrupted transfer.

Every block is compared with its digest when it is read (invariant 1). An unreadable block is recorded, and
the walk continues.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from dataver import parallel
from dataver.errors import FormatTooNew, IntegrityError
from dataver.formats.block import Inner
from dataver.repository.repository import RepositoryCore
from dataver.tree import walk

__all__ = ["Needed", "below", "find_needed", "touches"]


@dataclass
class Needed:
    """Blocks that versions need, children after their parents.

    Attributes:
        inner: inner blocks and their children.
        leaves: leaves and the packs that contain their files' bytes in the source.
        unreadable: blocks that are unreadable in the source, and the reasons.
    """

    inner: dict[bytes, tuple[bytes, ...]] = field(default_factory=dict)
    leaves: dict[bytes, frozenset[bytes]] = field(default_factory=dict)
    unreadable: dict[bytes, str] = field(default_factory=dict)


def find_needed(source: RepositoryCore, roots: Iterable[bytes], settled: set[bytes]) -> Needed:
    """Walk trees of the source, without the blocks in `settled` and below them.

    Raises:
        StoreError: the source cannot be reached.
    """
    needed = Needed()

    def note(digest: bytes, error: IntegrityError | FormatTooNew) -> None:
        needed.unreadable[digest] = error.message

    with parallel.pool(parallel.REQUESTS, "walk") as pool:
        for block in walk(roots, source.blocks.load, across=pool.map, skip=settled, on_error=note):
            if isinstance(block, Inner):
                needed.inner[block.digest] = tuple(child.digest for child in block.children)
            else:
                needed.leaves[block.digest] = frozenset(block.packs())
    return needed


def below(source: RepositoryCore, root: bytes) -> set[bytes]:
    """Return the digests of all blocks of a tree; reads its inner blocks only.

    Raises:
        IntegrityError: one of them is unreadable.
    """
    found = {root}
    for block in walk([root], source.blocks.load, leaves=False):
        if isinstance(block, Inner):
            found.update(child.digest for child in block.children)
    return found


def touches(source: RepositoryCore, root: bytes, bad: Iterable[bytes]) -> bytes | None:
    """Return one of the `bad` blocks that a tree contains, or None."""
    wanted = set(bad)
    if root in wanted:
        return root
    for block in walk([root], source.blocks.load, leaves=False):
        for child in block.children if isinstance(block, Inner) else ():
            if child.digest in wanted:
                return child.digest
    return None
