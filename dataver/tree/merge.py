"""Merging two trees that have a common ancestor, path by path.

The idea: only paths where the two sides differ need a decision, so the cost grows with that difference, and
the ancestor is asked about those paths only. What one side alone changed is taken; what both changed
differently is a conflict, and the preferred side's stands.

A path can also clash with a *different* path of the other side: a file `a` here, a file `a/b` there. Both
cannot stand, so the preferred side's does. An empty folder gives way to what the other side has in it,
without conflict.
"""

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from dataver.formats.entry import Entry, Kind, same_content
from dataver.tree.build import Save, TreeRoot
from dataver.tree.descend import Load
from dataver.tree.diff import diff
from dataver.tree.edit import edit
from dataver.tree.read import Tree
from dataver.tree.shape import FORMAT_1, Shape

__all__ = ["MergeConflict", "merge"]


class MergeConflict(NamedTuple):
    """A path that both sides changed, differently.

    `other` is empty, or the path of the other side with which this one, left out, cannot stand.
    """

    path: str
    base: Entry | None
    ours: Entry | None
    theirs: Entry | None
    other: str = ""


class _Row(NamedTuple):
    """A path where the sides differ, and which of them stands."""

    path: str
    base: Entry | None
    ours: Entry | None
    theirs: Entry | None
    take: Literal["ours", "theirs"]
    conflict: bool

    @property
    def result(self) -> Entry | None:
        return self.ours if self.take == "ours" else self.theirs


def merge(
    base: bytes | None,
    ours: bytes,
    theirs: bytes,
    load: Load,
    save: Save,
    *,
    prefer: Literal["ours", "theirs"] = "theirs",
    may_be_base: Callable[[bytes], bool] = lambda _digest: False,
    shape: Shape = FORMAT_1,
) -> tuple[TreeRoot, list[MergeConflict]]:
    """Merge three-way; return the merged tree and what both sides changed differently, in path order.

    Args:
        base: the common ancestor; None means the empty tree, so that nothing counts as removed.
        ours: one side.
        theirs: the other side.
        load: returns blocks of all three.
        save: takes new blocks.
        prefer: which side's content stands where they conflict.
        may_be_base: as for `edit`.
        shape: where blocks end.
    """
    conflicts: list[MergeConflict] = []
    changes: dict[str, Entry | None] = {}
    above: list[_Row] = []  # rows whose paths are the beginning of the present one, shortest first
    for row in _rows(None if base is None else Tree(base, load), ours, theirs, load, prefer):
        if row.conflict:
            conflicts.append(MergeConflict(*row[:4]))
        if row.take == "theirs":
            changes[row.path] = row.theirs
        if row.result is None:
            continue
        while above and not row.path.startswith(above[-1].path):
            above.pop()
        for other in above:
            if row.path[len(other.path)] == "/":
                lost, kept = _loser(other, row, prefer)
                changes[lost.path] = None
                if lost.result is not None and lost.result.kind != Kind.DIRECTORY:
                    conflicts.append(MergeConflict(*lost[:4], kept.path))
        above.append(row)
    conflicts = list(dict.fromkeys(sorted(conflicts, key=lambda conflict: conflict.path)))
    return edit(ours, sorted(changes.items()), load, save, may_be_base, shape), conflicts


def _rows(
    base: Tree | None, ours: bytes, theirs: bytes, load: Load, prefer: Literal["ours", "theirs"]
) -> Iterator[_Row]:
    for path, mine, other in diff(ours, theirs, load):
        before = None if base is None else base.get(path)
        if same_content(before, mine):
            yield _Row(path, before, mine, other, "theirs", conflict=False)
        elif same_content(before, other):
            yield _Row(path, before, mine, other, "ours", conflict=False)
        else:
            yield _Row(path, before, mine, other, prefer, conflict=True)


def _loser(upper: _Row, lower: _Row, prefer: Literal["ours", "theirs"]) -> tuple[_Row, _Row]:
    """Return which of two rows gives way and which stands; the second's path lies below the first's."""
    assert upper.result is not None
    if upper.result.kind == Kind.DIRECTORY or lower.take == prefer:
        return upper, lower
    return lower, upper
