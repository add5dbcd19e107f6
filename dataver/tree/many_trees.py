"""The shape of many trees that share blocks: children of inner blocks, and the first and last path of leaves.

The idea: versions share most of their blocks, so a question about all versions is answered once for each
block, from what one walk of all trees recorded (`dataver.tree.walk`). Work and memory grow with the blocks
and their references, never with versions times blocks.

No I/O: a callable loads blocks. Blocks that the walk refused are never entered; so every reference that is
followed leads one level down, and recursion is bounded by the greatest level.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from dataver.formats.block import Block, Inner, Leaf
from dataver.tree.checked_descent import Load
from dataver.tree.walk import Clashes

__all__ = ["Forest"]


class _Ends(NamedTuple):
    first: str
    last: str
    before: tuple[str, ...]  # entries of the leaf that may have entries below them in the next one


class Forest:
    """The blocks of many trees.

    Attributes:
        bad: the blocks that are damaged, missing, or do not match a reference.
    """

    def __init__(self) -> None:
        self.bad: set[bytes] = set()
        self._children: dict[bytes, tuple[bytes, ...]] = {}
        self._ends: dict[bytes, _Ends] = {}
        self._clashing: dict[bytes, dict[str, None]] = {}

    def add(self, block: Block) -> None:
        """Record a block that a walk has yielded."""
        if isinstance(block, Inner):
            self._children[block.digest] = tuple(child.digest for child in block.children)
        elif isinstance(block, Leaf):
            clashes, paths = Clashes(), block.paths
            self._note(block.digest, clashes.find(block))
            first, last = (paths[0], paths[-1]) if paths else ("", "")
            self._ends[block.digest] = _Ends(first, last, tuple(sorted(clashes.before)))

    def __contains__(self, digest: bytes) -> bool:
        """Return whether a block was recorded or refused."""
        return digest in self._children or digest in self._ends or digest in self.bad

    def leaves(self) -> list[bytes]:
        """Return all intact leaves by their first paths, then in the order in which they were recorded.

        So similar leaves of several trees are adjacent.
        """
        intact = (digest for digest in self._ends if digest not in self.bad)
        return sorted(intact, key=lambda digest: self._ends[digest].first)

    def owners(self, roots: Mapping[str, bytes]) -> dict[bytes, str]:
        """Return the name of the first tree that holds each block, given the roots by name."""
        found: dict[bytes, str] = {}
        for name, root in roots.items():
            ahead = [root]
            while ahead:
                digest = ahead.pop()
                if digest not in found:
                    found[digest] = name
                    ahead += self._children.get(digest, ())
        return found

    def hit(self, roots: Iterable[bytes], blocks: set[bytes]) -> set[bytes]:
        """Return the roots of trees that hold any of these blocks, or a bad one."""
        known = dict.fromkeys(blocks | self.bad, True)

        def holds(digest: bytes) -> bool:
            if digest not in known:
                known[digest] = any(map(holds, self._children.get(digest, ())))
            return known[digest]

        return {root for root in roots if holds(root)}

    def clashes(self, roots: Iterable[bytes], load: Load) -> Iterator[tuple[bytes, str]]:
        """Yield each leaf and path of it that is both an entry and a folder, in any of these trees.

        Args:
            roots: digests of root blocks.
            load: returns a block by its digest; called for a leaf only if its paths and those of the leaf
                before it may clash.
        """
        after: dict[tuple[bytes, tuple[str, ...]], tuple[str, ...]] = {}

        def descend(digest: bytes, before: tuple[str, ...]) -> tuple[str, ...]:
            if digest in self.bad:
                return ()
            key = digest, before
            if key not in after:
                if digest in self._ends:
                    after[key] = self._cross(digest, before, load)
                else:
                    state = before
                    for child in self._children.get(digest, ()):
                        state = descend(child, state)
                    after[key] = state
            return after[key]

        for root in roots:
            descend(root, ())
        for leaf, paths in self._clashing.items():
            yield from ((leaf, path) for path in paths)

    def _cross(self, digest: bytes, before: tuple[str, ...], load: Load) -> tuple[str, ...]:
        """Compare a leaf with entries of the leaves before it; return those that matter to the next one."""
        first, last, own = self._ends[digest]
        met = [path for path in before if f"{path}/" <= last and first < f"{path}0"]  # "0" follows "/"
        if met:
            leaf = load(digest)
            assert isinstance(leaf, Leaf)
            self._note(digest, Clashes(met).find(leaf))
        return tuple(sorted({*own, *(path for path in before if last.startswith(path))}))

    def _note(self, digest: bytes, paths: list[str]) -> None:
        if paths:
            self._clashing.setdefault(digest, {}).update(dict.fromkeys(paths))
