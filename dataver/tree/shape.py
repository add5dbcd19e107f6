"""Where blocks end: a rule over the items since the last end, and nothing else.

A block ends after an item whose path hashes to a multiple of 2,048 at its level, or where it holds too many
items or path bytes. Since only the items since the last end count, the blocks are a function of the sorted
items alone: a tree has one form, whatever the order of its edits.
"""

from dataclasses import dataclass

from dataver.formats.block import MAX_ITEMS
from dataver.hashing import path_hash

__all__ = ["FORMAT_1", "Shape"]


@dataclass(frozen=True, slots=True)
class Shape:
    """The rule's numbers. Format 1 fixes them; tests use small ones.

    Attributes:
        mask: bits of the path's hash that are zero at an end.
        most_items: items at which a block ends in any case.
        most_bytes: path bytes at which a block ends in any case.
    """

    mask: int = 2047
    most_items: int = MAX_ITEMS
    most_bytes: int = 1 << 20

    def ends(self, path: bytes, level: int, items: int, size: int) -> bool:
        """Tell whether the block ends after the item `path`, with `items` and `size` path bytes in it."""
        return path_hash(path, level) & self.mask == 0 or items >= self.most_items or size >= self.most_bytes


FORMAT_1 = Shape()
