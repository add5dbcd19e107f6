"""Editing a tree: applies sorted changes and reuses every unchanged block.

The idea: walk the old tree in order and feed a `Builder`. A block without changes is added whole, without
being decoded, if the builder is at a boundary. All other blocks are split into items, changed and added one
by one, until an old and a new boundary coincide again.

A path is a file or a folder, never both: every edit ensures this, whichever command makes it.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Final, TypeAlias

from dataver.errors import InvalidInput
from dataver.formats.block import Block, Inner
from dataver.formats.entry import Entry, Kind
from dataver.tree.build import FORMAT_1, Builder, Save, Shape, TreeRoot
from dataver.tree.checked_descent import Load, descend, load_root
from dataver.tree.read import Tree

__all__ = ["edit"]

_NEAR: Final = 8  # blocks cached for the next change: one of each level, and a few leaves
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

    The entry of an empty folder is dropped for an entry below it, in the tree or in the changes.

    Args:
        root: the tree to change.
        changes: `(path, entry)` in path order, each path once; None removes the path if it exists.
        load: returns blocks of the old tree.
        save: stores new blocks.
        may_be_base: returns whether an old block may be a base: whether readers will find it.
        shape: the rule for block boundaries.

    Raises:
        InvalidInput: the changes are not in order, an entry is not allowed in a tree, or a path would be a
            file and a folder.
    """
    wanted = list(changes)
    _check(wanted)
    load = lru_cache(_NEAR)(load)
    block = load_root(root, load)
    if not wanted:
        return TreeRoot(root, block.entry_count, block.file_count, block.byte_count)
    tree = Tree(root, load) if block.entry_count else None
    editor = _Editor(load, save, may_be_base, shape)
    editor.split(block, None, _without_clashes(tree, wanted))
    return editor.builder.finish(load)


class _Editor:
    def __init__(self, load: Load, save: Save, may_be_base: Callable[[bytes], bool], shape: Shape) -> None:
        self._load = load
        self._may_be_base = may_be_base
        self.builder = Builder(save, shape)

    def split(self, block: Block, upper: str | None, changes: _Changes) -> None:
        """Add a block's items, with the changes in its range, which ends before `upper`."""
        self.builder.set_base(block.level, self._base(block))
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
                self.split(below, end, changes[at:behind])
            at = behind

    def _base(self, block: Block) -> tuple[bytes, bytes] | None:
        if block.base is not None:
            return block.base, self._load(block.base).logical
        return (block.digest, block.logical) if self._may_be_base(block.digest) else None


def _check(changes: _Changes) -> None:
    for (path, _), (following, _) in pairwise(changes):
        if path >= following:
            raise InvalidInput(f"the change of '{following}' comes after '{path}', out of order.")
    for path, entry in changes:
        if entry is not None and entry.path != path:
            raise InvalidInput(f"the change of '{path}' has the entry of '{entry.path}'.")


def _without_clashes(tree: Tree | None, changes: _Changes) -> _Changes:
    """Return the changes without entries of empty folders that are not empty; reject other clashes.

    The old tree has no clash, so only paths above and below new entries are looked up, each folder once.
    """
    new = dict(changes)
    clear: set[str] = set()  # folders without an entry at their path or above it
    for path, entry in changes:
        if entry is None or (tree and tree.locate(path)):
            continue  # an entry that is replaced does not clash with old ones
        folder = path.rpartition("/")[0]
        while folder and folder not in clear:
            clear.add(folder)
            found = new[folder] if folder in new else tree.get(folder) if tree else None
            if found is not None:
                if found.kind != Kind.DIRECTORY:
                    raise _clash(folder, path)
                new[folder] = None
            folder = folder.rpartition("/")[0]
        lower = tree.paths(path + "/") if tree and tree.is_folder(path) else iter(())
        below = next((each for each in lower if each not in new or new[each]), None)
        if below is not None:
            if entry.kind != Kind.DIRECTORY:
                raise _clash(path, below)
            new[path] = None
    return sorted(new.items())


def _clash(file: str, below: str) -> InvalidInput:
    return InvalidInput(
        f"'{file}' cannot be a file and the folder of '{below}'.", hint="remove or move one of them first"
    )


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
