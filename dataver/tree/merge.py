"""Merging two trees that have a common ancestor, path by path.

The idea: only paths on which the two sides differ need a decision, so the cost grows with that difference,
and the ancestor is read at those paths only. A change of one side is applied. A path that both changed
differently is a conflict, and the preferred side's entry is used.

A path can also clash with a *different* path of the other side: a file `a` here, a file `a/b` there. Then the
preferred side's is kept. An empty folder is replaced by the other side's entries in it without a conflict:
`edit` does that.
"""

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from dataver.formats.entry import Entry, Kind, same_content
from dataver.tree.build import FORMAT_1, Save, Shape, TreeRoot
from dataver.tree.checked_descent import Load
from dataver.tree.diff import diff
from dataver.tree.edit import edit
from dataver.tree.read import Tree

__all__ = ["MergeConflict", "merge"]


class MergeConflict(NamedTuple):
    """A path that both sides changed differently.

    `other` is empty, or the path of the other side that clashes with this one, which is left out.
    """

    path: str
    base: Entry | None
    ours: Entry | None
    theirs: Entry | None
    other: str = ""


class _Row(NamedTuple):
    """A path on which the sides differ, and the side that is kept."""

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
    """Merge three-way; return the merged tree and the conflicts, in path order.

    Args:
        base: the common ancestor; None means the empty tree, so that no path counts as removed.
        ours: one side.
        theirs: the other side.
        load: returns blocks of all three.
        save: stores new blocks.
        prefer: the side that is kept at conflicts.
        may_be_base: as for `edit`.
        shape: the rule for block boundaries.
    """
    conflicts: list[MergeConflict] = []
    changes: dict[str, Entry | None] = {}
    above: list[_Row] = []  # rows whose paths are prefixes of the current one, shortest first
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
                lost, kept = (other, row) if row.take == prefer else (row, other)
                changes[lost.path] = None
                if lost.result is not None and lost.result.kind != Kind.DIRECTORY:
                    conflicts.append(MergeConflict(*lost[:4], kept.path))
        if row.result.kind != Kind.DIRECTORY:
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
