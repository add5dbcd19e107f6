"""Paths of a draft that a mirrored source lacks.

The idea: one byte for each entry of the tree, at its number in path order, so that a mirror of many files
needs no list of their paths.
"""

from collections.abc import Iterable

from dataver.errors import InvalidInput
from dataver.formats.entry import Entry
from dataver.ingest.scan import Scan
from dataver.tree import Tree

__all__ = ["Remains"]


class Remains:
    """Entries of a tree that were not found in the source so far.

    Args:
        tree: the tree before the mirror began.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._found = bytearray(tree.summary().entries)

    def found(self, paths: Iterable[str]) -> None:
        """Record paths that the scan found."""
        for path in paths:
            number = self._tree.number(path)
            if number is not None:
                self._found[number] = 1

    def removals(self, tree: Tree, how: Scan, *, allow_shrink: bool) -> dict[str, Entry | None]:
        """Return the removal of the entries that the source lacks, except those hidden by a problem.

        Args:
            tree: the current tree, to which everything found was added.
            how: the finished scan.
            allow_shrink: accept that fewer than half of the paths remain.

        Raises:
            InvalidInput: fewer than half would remain.
        """
        hidden = tuple(how.unseen)
        under = tuple(f"{path}/" if path else "" for path in hidden)
        prefix = f"{how.dest}/" if how.dest else ""
        at, gone = self._tree.rank(prefix), dict[str, Entry | None]()
        end = at + self._tree.totals(prefix).entries
        while (at := self._found.find(0, at, end)) >= 0:
            leaf, number = self._tree.at(at)
            path = leaf.paths[number]
            if path not in hidden and not path.startswith(under) and tree.locate(path) is not None:
                gone[path] = None
            at += 1
        held = tree.totals(prefix).entries
        there = len(self._found) - (tree.summary().entries - held)
        if not allow_shrink and (held - len(gone)) * 2 < there:
            raise _shrinks(there, held - len(gone), how.dest)
        return gone


def _shrinks(before: int, after: int, dest: str) -> InvalidInput:
    where = f" below '{dest}'" if dest else ""
    return InvalidInput(
        f"the folder would leave {after:,} of {before:,} files{where}; a mirror that removes more than half "
        "is refused.",
        hint="check that the folder is complete (is its disk mounted?); "
        "--allow-shrink (allow_shrink=True) mirrors it all the same",
    )
