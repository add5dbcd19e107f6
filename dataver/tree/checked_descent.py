"""One step down a tree: load a child block and compare it with its parent's reference.

The digests of a tree prove that it is unchanged, not that its writer was correct: a block could be at the
wrong level, contain paths of its neighbour, or differ from the numbers in its reference. Readers rely on all
three, so each step checks them (invariant 1). No I/O: a callable loads blocks.
"""

from collections.abc import Callable, Iterator
from typing import TypeAlias

from dataver.errors import IntegrityError
from dataver.formats.block import Block, Inner

__all__ = ["Load", "descend", "load_root", "single_child", "steps", "unlike"]

Load: TypeAlias = Callable[[bytes], Block]


def load_root(digest: bytes, load: Load) -> Block:
    """Return the root block of a tree.

    Raises:
        IntegrityError: missing or damaged, or not a root: the lowest block that contains everything.
    """
    block = load(digest)
    if error := single_child(block):
        raise error
    return block


def descend(parent: Inner, number: int, load: Load, upper: str | None = None) -> Block:
    """Return the child of `parent` at a position, compared with the reference to it.

    Args:
        parent: an inner block.
        number: index of the child.
        load: returns blocks.
        upper: the first path after `parent`, None at the right edge of the tree.

    Raises:
        IntegrityError: missing, damaged, or different from the reference.
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
        raise unlike(child.digest)
    return block


def single_child(block: Block) -> IntegrityError | None:
    """Return the error for a root that is not the lowest block that contains everything, else None."""
    if not isinstance(block, Inner) or len(block.children) > 1:
        return None
    name = block.digest.hex()
    return IntegrityError(f"tree block {name} has a single child, so it is not the root of a tree.")


def unlike(digest: bytes) -> IntegrityError:
    """Return the error for a block that differs from the reference to it."""
    return IntegrityError(f"tree block {digest.hex()} does not match its reference in the block above it.")


def steps(
    parent: Inner, load: Load, upper: str | None = None, start: int = 0
) -> Iterator[tuple[Block, str | None]]:
    """Yield the children of `parent` from a position on, each with the first path after it."""
    for number in range(start, len(parent.children)):
        yield descend(parent, number, load, upper), _upper(parent, number, upper)


def _upper(parent: Inner, number: int, upper: str | None) -> str | None:
    if number + 1 < len(parent.children):
        return parent.children[number + 1].first_path
    return upper
