"""One step down a tree: load the block that a line of an inner block names, and hold it to that line.

The digests of a tree prove that nobody changed it after it was written, not that whoever wrote it did so
well: a block could stand at the wrong level, hold paths of its neighbour, or other numbers than its line
says. Readers rely on all three, so each step checks them (invariant 1). Does no I/O itself: blocks come
from a callable.
"""

from collections.abc import Callable, Iterator
from typing import TypeAlias

from dataver.errors import IntegrityError
from dataver.formats.block import Block, Inner

__all__ = ["Load", "descend", "load_root", "steps"]

Load: TypeAlias = Callable[[bytes], Block]


def load_root(digest: bytes, load: Load) -> Block:
    """Return the root block of a tree.

    Raises:
        IntegrityError: missing or damaged, or no root: that is the lowest block that holds everything.
    """
    block = load(digest)
    if isinstance(block, Inner) and len(block.children) < 2:
        raise IntegrityError(
            f"tree block {digest.hex()} has a single child, so it is not the root of a tree."
        )
    return block


def descend(parent: Inner, number: int, load: Load, upper: str | None = None) -> Block:
    """Return the block below `parent` at a position, checked against the line about it.

    Args:
        parent: an inner block.
        number: which of its children.
        load: returns blocks.
        upper: the first path behind `parent`, None at the right edge of the tree.

    Raises:
        IntegrityError: missing, damaged, or not what the line says.
    """
    child = parent.children[number]
    behind = _upper(parent, number, upper)
    block = load(child.digest)
    last = block.children[-1].first_path if isinstance(block, Inner) else (block.paths or [""])[-1]
    if (
        block.level != parent.level - 1
        or not last
        or block.first_path != child.first_path
        or (behind is not None and last >= behind)
        or (block.entry_count, block.file_count, block.byte_count) != child[2:]
    ):
        raise IntegrityError(f"tree block {child.digest.hex()} is not what the block above it says.")
    return block


def steps(
    parent: Inner, load: Load, upper: str | None = None, start: int = 0
) -> Iterator[tuple[Block, str | None]]:
    """Yield the blocks below `parent` from a position on, each with the first path behind it."""
    for number in range(start, len(parent.children)):
        yield descend(parent, number, load, upper), _upper(parent, number, upper)


def _upper(parent: Inner, number: int, upper: str | None) -> str | None:
    if number + 1 < len(parent.children):
        return parent.children[number + 1].first_path
    return upper
