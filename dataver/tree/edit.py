"""Editing a tree: sorted changes in, a new tree out, with every untouched block reused as it is.

The idea: walk the old tree in order and feed a `Builder`; a block that no change falls into, met while the builder
stands at an end, goes in whole, without being decoded. Everything else is taken apart, changed and fed item by
item, until an old end and a new end coincide again.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from dataver.formats.block import Block, Child, Inner
from dataver.formats.entry import Entry
from dataver.tree.build import Builder, Load, Save, TreeRoot
from dataver.tree.shape import FORMAT_1, Shape

__all__ = ["edit"]

_Changes: TypeAlias = Sequence[tuple[str, Entry | None]]


def edit(
    root: bytes,
    changes: Iterable[tuple[str, Entry | None]],
    load: Load,
    save: Save,
    may_be_base: Callable[[bytes], bool] = lambda _digest: False,
    shape: Shape = FORMAT_1,
) -> TreeRoot:
    """Apply changes to a tree and return the new one's root.

    Args:
        root: the tree to change.
        changes: `(path, entry)` in path order, each path once; None removes, and removing nothing is no error.
        load: returns blocks of the old tree.
        save: takes new blocks.
        may_be_base: tells which old blocks a new one may be stored against: those that readers will find.
        shape: where blocks end.
    """
    wanted = list(changes)
    block = load(root)
    if not wanted:
        return TreeRoot(root, block.entry_count, block.file_count, block.byte_count)
    editor = _Editor(load, save, may_be_base, shape)
    editor.take_apart(block, wanted)
    return editor.builder.finish(load)


class _Editor:
    def __init__(self, load: Load, save: Save, may_be_base: Callable[[bytes], bool], shape: Shape) -> None:
        self._load = load
        self._may_be_base = may_be_base
        self.builder = Builder(save, shape)

    def take_apart(self, block: Block, changes: _Changes) -> None:
        """Feed a block's items, with the changes that fall into its range."""
        self.builder.lean_on(block.level, self._base(block))
        if not isinstance(block, Inner):
            for entry in _changed(block.entries(), block.paths, changes):
                self.builder.add(entry)
            return
        at = 0
        for number, child in enumerate(block.children):
            behind = len(changes)
            if number + 1 < len(block.children):
                behind = bisect_left(changes, (block.children[number + 1].first_path,), at)
            self._child(block.level - 1, child, changes[at:behind])
            at = behind

    def _child(self, level: int, child: Child, changes: _Changes) -> None:
        if not changes and self.builder.clean(level):
            self.builder.reuse(level, child)
        else:
            self.take_apart(self._load(child.digest), changes)

    def _base(self, block: Block) -> tuple[bytes, bytes] | None:
        if block.base is not None:
            return block.base, self._load(block.base).logical
        return (block.digest, block.logical) if self._may_be_base(block.digest) else None


def _changed(entries: Iterable[Entry], paths: Sequence[str], changes: _Changes) -> Iterable[Entry]:
    """Yield entries in order with the changes applied."""
    old = iter(entries)
    at = 0
    for path, entry in changes:
        place = bisect_left(paths, path, at)
        for _ in range(place - at):
            yield next(old)
        at = place
        if at < len(paths) and paths[at] == path:
            next(old)
            at += 1
        if entry is not None:
            yield entry
    yield from old
