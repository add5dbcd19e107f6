"""The paths that the scan of a mirror has found."""

from collections.abc import Iterable

from dataver.tree import Tree

__all__ = ["SeenPaths"]


class SeenPaths:
    """A set of paths that forgets those that its tree does not have: one bit for each entry of the tree.

    Paths that are not in the tree count as found: only the scan can add them to a later state of it.

    Args:
        tree: the tree before the mirror.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._bits = bytearray(tree.summary().entries // 8 + 1)

    def update(self, paths: Iterable[str]) -> None:
        """Add paths; fast if they are in order."""
        for path in paths:
            rank = self._tree.position(path)
            if rank is not None:
                self._bits[rank >> 3] |= 1 << (rank & 7)

    def __contains__(self, path: str) -> bool:
        rank = self._tree.position(path)
        return rank is None or bool(self._bits[rank >> 3] >> (rank & 7) & 1)
