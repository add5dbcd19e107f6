"""The rule for block boundaries, a function of the items since the last boundary only.

A block ends after an item whose path hashes to a multiple of 2,048 at its level, or at a limit of items or
path bytes. Since only the items since the last boundary count, the blocks are a function of the sorted items
alone: a tree has one form, independent of the order of its edits.
"""

from dataclasses import dataclass

from dataver.formats.block import MAX_ITEMS
from dataver.hashing import path_hash

__all__ = ["FORMAT_1", "Shape"]


@dataclass(frozen=True, slots=True)
class Shape:
    """Parameters of the rule. Format 1 fixes them; tests use small ones.

    Attributes:
        mask: bits of the path's hash that are zero at a boundary.
        most_items: maximum number of items of a block.
        most_bytes: maximum number of path bytes of a block.
    """

    mask: int = 2047
    most_items: int = MAX_ITEMS
    most_bytes: int = 1 << 20

    def ends(self, path: bytes, level: int, items: int, size: int) -> bool:
        """Return whether the block ends after the item `path`, with `items` and `size` path bytes in it."""
        return path_hash(path, level) & self.mask == 0 or items >= self.most_items or size >= self.most_bytes


FORMAT_1 = Shape()
