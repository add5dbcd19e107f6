"""Editing a tree: sorted changes in, a new tree out, with every untouched block reused as it is.

The idea: walk the old tree in order and feed a `Builder`; a block that no change falls into, met while the
builder stands at an end, goes in whole, without being decoded. Everything else is taken apart, changed and
fed item by item, until an old end and a new end coincide again.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import TypeAlias

from dataver.errors import InvalidInput
from dataver.formats.block import Block, Inner
from dataver.formats.entry import Entry
from dataver.tree.build import Builder, Save, TreeRoot
from dataver.tree.descend import Load, descend, load_root
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
        changes: `(path, entry)` in path order, each path once; None removes, if there is such a path.
        load: returns blocks of the old tree.
        save: takes new blocks.
        may_be_base: tells which old blocks a new one may be stored against: those that readers will find.
        shape: where blocks end.

    Raises:
        InvalidInput: the changes are not in order, or an entry cannot stand in a tree.
    """
    wanted = list(changes)
    _check(wanted)
    block = load_root(root, load)
    if not wanted:
        return TreeRoot(root, block.entry_count, block.file_count, block.byte_count)
    editor = _Editor(load, save, may_be_base, shape)
    editor.take_apart(block, None, wanted)
    return editor.builder.finish(load)


class _Editor:
    def __init__(self, load: Load, save: Save, may_be_base: Callable[[bytes], bool], shape: Shape) -> None:
        self._load = load
        self._may_be_base = may_be_base
        self.builder = Builder(save, shape)

    def take_apart(self, block: Block, upper: str | None, changes: _Changes) -> None:
        """Feed a block's items, with the changes that fall into its range, which ends before `upper`."""
        self.builder.lean_on(block.level, self._base(block))
        if not isinstance(block, Inner):
            for entry in _changed(block.entries(), block.paths, changes):
                self.builder.add(entry)
            return
        at = 0
        for number, child in enumerate(block.children):
            behind, end = len(changes), upper
            if number + 1 < len(block.children):
                end = block.children[number + 1].first_path
                behind = bisect_left(changes, (end,), at)
            if at == behind and self.builder.clean(block.level - 1):
                self.builder.reuse(block.level - 1, child)
            else:
                below = descend(block, number, self._load, upper)
                self.take_apart(below, end, changes[at:behind])
            at = behind

    def _base(self, block: Block) -> tuple[bytes, bytes] | None:
        if block.base is not None:
            return block.base, self._load(block.base).logical
        return (block.digest, block.logical) if self._may_be_base(block.digest) else None


def _check(changes: _Changes) -> None:
    for (path, _), (following, _) in pairwise(changes):
        if path >= following:
            raise InvalidInput(f"the change of '{following}' comes behind '{path}', out of order.")
    for path, entry in changes:
        if entry is not None and entry.path != path:
            raise InvalidInput(f"the change of '{path}' has the entry of '{entry.path}'.")


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
