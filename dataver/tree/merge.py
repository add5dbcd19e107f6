"""Merging two trees that have a common ancestor, path by path."""

from typing import Literal, NamedTuple

from dataver.formats.entry import Entry, same_content
from dataver.tree.build import Load, Save, TreeRoot, build
from dataver.tree.diff import diff
from dataver.tree.edit import edit
from dataver.tree.shape import FORMAT_1, Shape

__all__ = ["MergeConflict", "merge"]


class MergeConflict(NamedTuple):
    """A path that both sides changed, differently."""

    path: str
    base: Entry | None
    ours: Entry | None
    theirs: Entry | None


def merge(
    base: bytes | None,
    ours: bytes,
    theirs: bytes,
    load: Load,
    save: Save,
    *,
    prefer: Literal["ours", "theirs"] = "theirs",
    shape: Shape = FORMAT_1,
) -> tuple[TreeRoot, list[MergeConflict]]:
    """Merge three-way; return the merged tree and what both sides changed differently.

    Args:
        base: the common ancestor; None means the empty tree, so that nothing counts as removed.
        ours: one side.
        theirs: the other side.
        load: returns blocks of all three.
        save: takes new blocks.
        prefer: which side's content stands where they conflict.
        shape: where blocks end.
    """
    root = build((), save, shape).digest if base is None else base
    changed = {change.path: change for change in diff(root, ours, load)}
    wanted: list[tuple[str, Entry | None]] = []
    conflicts: list[MergeConflict] = []
    for change in diff(root, theirs, load):
        mine = changed.get(change.path)
        if mine is not None:
            if same_content(mine.new, change.new):
                continue
            conflicts.append(MergeConflict(change.path, change.old, mine.new, change.new))
            if prefer == "ours":
                continue
        wanted.append((change.path, change.new))
    return edit(ours, wanted, load, save, shape=shape), conflicts
