"""Building a tree from the bottom up: items become blocks, blocks items of the next level.

A block ends after an item whose path hashes to a multiple of 2,048 at its level, or at a limit of items or
path bytes (`Shape`). Only the items since the last boundary count, so the blocks are a function of the sorted
items alone: a tree has one form, independent of the order of its edits.

`Builder` also accepts whole unchanged blocks (`reuse`), so that an edit keeps most blocks of a tree. I/O-free
(invariant 7): a callable saves the blocks.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from dataver.errors import InvalidInput
from dataver.formats.block import MAX_ITEMS, Child, Encoded, Inner, encode_inner, encode_leaf
from dataver.formats.entry import Entry, Kind
from dataver.hashing import path_hash
from dataver.tree.checked_descent import Load

__all__ = ["Builder", "FORMAT_1", "Save", "Shape", "TreeRoot", "build"]

Save: TypeAlias = Callable[[Encoded], None]

_FILES = (Kind.FILE, Kind.EXECUTABLE)


@dataclass(frozen=True, slots=True)
class Shape:
    """Parameters of the rule for block boundaries. Format 1 fixes them; tests use small ones.

    Attributes:
        mask: bits of the path's hash that are zero at a boundary.
        most_items: maximum number of items of a block.
        most_bytes: maximum number of path bytes of a block.
    """

    mask: int = 2047
    most_items: int = MAX_ITEMS
    most_bytes: int = 1 << 20

    def ends(self, path: bytes, level: int, items: int, size: int) -> bool:
        """Return whether the block ends after the item `path`, with `items` and `size` path bytes in it."""
        return path_hash(path, level) & self.mask == 0 or items >= self.most_items or size >= self.most_bytes


FORMAT_1 = Shape()


class TreeRoot(NamedTuple):
    """A tree's digest and totals (sizes in bytes)."""

    digest: bytes
    entries: int
    files: int
    size: int


class _Level:
    """One level under construction: the items since the last boundary."""

    __slots__ = ("base", "blocks", "items", "path_bytes")

    def __init__(self) -> None:
        self.items: list[Entry] | list[Child] = []
        self.path_bytes = 0
        self.blocks = 0
        self.base: tuple[bytes, bytes] | None = None


class Builder:
    """Builds one tree from the bottom up."""

    def __init__(self, save: Save, shape: Shape = FORMAT_1) -> None:
        self._save = save
        self._shape = shape
        self._levels = [_Level()]
        self._only: dict[bytes, Child] = {}  # new blocks with one child: never a root
        self._reused: set[bytes] = set()  # inner blocks added whole, whose children are unknown here
        self._last = ""

    def add(self, entry: Entry) -> None:
        """Add the next entry.

        Raises:
            InvalidInput: its path does not sort after the previous one.
        """
        path = entry.path
        if path <= self._last:
            raise InvalidInput(f"'{path}' comes after '{self._last}', so the entries are not in order.")
        self._last = path
        level = self._levels[0]
        level.items.append(entry)  # type: ignore[arg-type]  # level 0 holds entries
        self._grown(0, path.encode())

    def clean(self, level: int) -> bool:
        """Whether all levels up to this one are at a boundary, so that a whole block may follow."""
        return not any(each.items for each in self._levels[: level + 1])

    def reuse(self, level: int, child: Child) -> None:
        """Add a whole unchanged block of `level`, which must be clean."""
        self._reach(level)
        for each in self._levels[: level + 1]:
            each.blocks += 1  # its parent is not the only block of any level below
        if level:
            self._reused.add(child.digest)
        self._push(level, child)

    def set_base(self, level: int, base: tuple[bytes, bytes] | None) -> None:
        """Set the block (digest, logical part) that the next blocks of a level are probably similar to."""
        self._reach(level)
        self._levels[level].base = base

    def finish(self, load: Load | None = None) -> TreeRoot:
        """Finish the tree and return its root. `load` is required if blocks were reused."""
        level = 0
        while True:
            here = self._levels[level]
            if level and not here.blocks and len(here.items) == 1:
                child: Child = here.items[0]  # type: ignore[assignment]  # levels above 0 hold children
                return self._root(child, load)
            if here.items or (not level and not here.blocks):
                self._end(level)
            level += 1

    def _reach(self, level: int) -> None:
        while level >= len(self._levels):
            self._levels.append(_Level())

    def _root(self, child: Child, load: Load | None) -> TreeRoot:
        """Return the root below a block that contains everything; one with a single child is not a root."""
        reused = False
        while True:
            reused = reused or child.digest in self._reused
            single = self._only.get(child.digest)
            if single is None and reused and load is not None:
                block = load(child.digest)
                if isinstance(block, Inner) and len(block.children) == 1:
                    single = block.children[0]
            if single is None:
                return TreeRoot(child.digest, child.entry_count, child.file_count, child.byte_count)
            child = single

    def _grown(self, number: int, path: bytes) -> None:
        level = self._levels[number]
        level.path_bytes += len(path)
        if self._shape.ends(path, number, len(level.items), level.path_bytes):
            self._end(number)

    def _end(self, number: int) -> None:
        level = self._levels[number]
        items, level.items, level.path_bytes = level.items, [], 0
        level.blocks += 1
        base, logical = level.base or (None, None)
        if number == 0:
            entries: list[Entry] = items  # type: ignore[assignment]  # level 0 holds entries
            block = encode_leaf(entries, base, logical)
            files = sum(entry.kind in _FILES for entry in entries)
            size = sum(entry.size for entry in entries)
            child = Child(entries[0].path if entries else "", block.digest, len(entries), files, size)
        else:
            children: list[Child] = items  # type: ignore[assignment]  # levels above 0 hold children
            block = encode_inner(number, children, base, logical)
            child = Child(
                children[0].first_path,
                block.digest,
                sum(each.entry_count for each in children),
                sum(each.file_count for each in children),
                sum(each.byte_count for each in children),
            )
            if len(children) == 1:
                self._only[block.digest] = children[0]
        self._save(block)
        self._push(number, child)

    def _push(self, number: int, child: Child) -> None:
        """Pass a finished block of level `number` to the level above."""
        self._reach(number + 1)
        above = self._levels[number + 1]
        above.items.append(child)  # type: ignore[arg-type]  # levels above 0 hold children
        self._grown(number + 1, child.first_path.encode())


def build(entries: Iterable[Entry], save: Save, shape: Shape = FORMAT_1) -> TreeRoot:
    """Build a tree from entries in path order; return its root."""
    builder = Builder(save, shape)
    for entry in entries:
        builder.add(entry)
    return builder.finish()
