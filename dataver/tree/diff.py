"""The difference of two trees, at a cost proportional to the difference.

The idea: walk both trees in parallel in path order and load only blocks that differ. If both sides are at the
same block, both skip it without loading it. Otherwise the side that is behind loads its next block, or at
equal paths the one whose block is higher. Leaves that differ are compared column by column, so no entries are
made for equal rows.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from dataver.formats.block import Block, Inner, Leaf
from dataver.formats.entry import Entry, Kind
from dataver.tree.checked_descent import Load, descend, load_root

__all__ = ["Change", "count_renames", "diff", "find_renames"]


class Change(NamedTuple):
    """A path that differs: `old` is None if it was added, `new` if it was removed."""

    path: str
    old: Entry | None
    new: Entry | None


def diff(old: bytes, new: bytes, load: Load, *, extents: bool = True) -> Iterator[Change]:
    """Yield the changes from one tree to another, in path order.

    Without `extents` the entries have none, and layouts are not parsed: half the time of a difference that is
    spread over many blocks.
    """
    if old == new:
        return
    left, right = _Side(old, load, extents=extents), _Side(new, load, extents=extents)
    while left.path is not None or right.path is not None:
        if left.unopened is not None and left.unopened == right.unopened:
            left.step_over()
            right.step_over()
        elif left.must_open(right):
            left.open()
        elif right.must_open(left):
            right.open()
        elif left.path == right.path:
            yield from _compare(left, right)
        elif right.path is None or (left.path is not None and left.path < right.path):
            for entry in left.entries_until(right.path):
                yield Change(entry.path, entry, None)
        else:
            for entry in right.entries_until(left.path):
                yield Change(entry.path, None, entry)


def find_renames(changes: Iterable[Change]) -> list[tuple[Entry, Entry]]:
    """Pair removed files with added files of the same content, in path order.

    Each file is used once. Empty files are ignored, since all are equal.
    """
    gone: dict[tuple[bytes, int], list[Entry]] = defaultdict(list)
    arrived: list[Entry] = []
    for change in changes:
        if change.new is None and change.old is not None and change.old.size:
            gone[change.old.digest, change.old.size].append(change.old)
        elif change.old is None and change.new is not None and change.new.size:
            arrived.append(change.new)
    for entries in gone.values():
        entries.reverse()
    pairs = []
    for entry in arrived:
        same = gone.get((entry.digest, entry.size))
        if same:
            pairs.append((same.pop(), entry))
    return pairs


def count_renames(old: bytes, new: bytes, load: Load) -> int:
    """Return the number of pairs of `find_renames` without collecting the changes."""
    gone = Counter(
        (change.old.digest, change.old.size)
        for change in diff(old, new, load, extents=False)
        if change.new is None and change.old is not None and change.old.size
    )
    pairs = 0
    for change in diff(old, new, load, extents=False) if gone else ():
        if change.old is None and change.new is not None:
            content = change.new.digest, change.new.size
            if gone.get(content):
                gone[content] -= 1
                pairs += 1
    return pairs


class _Side:
    """One tree and the position in it: an open leaf, or unopened blocks, the next one last."""

    def __init__(self, root: bytes, load: Load, *, extents: bool) -> None:
        self._load = load
        self._extents = extents
        self._ahead: list[tuple[Inner, int, str | None]] = []
        self.leaf: Leaf | None = None
        self.row = 0
        self.path: str | None = None
        self.unopened: bytes | None = None
        self.level = 0
        self._enter(load_root(root, load), None)

    def must_open(self, other: "_Side") -> bool:
        """Return whether this side's next block must be opened to continue."""
        if self.unopened is None or self.path is None:
            return False
        if other.path is None or self.path < other.path:
            return True
        return self.path == other.path and (other.unopened is None or self.level >= other.level)

    def open(self) -> None:
        """Open the next block."""
        parent, number, upper = self._ahead.pop()
        block = descend(parent, number, self._load, upper)
        if number + 1 < len(parent.children):
            upper = parent.children[number + 1].first_path
        self._enter(block, upper)

    def step_over(self) -> None:
        """Skip the next block."""
        self._ahead.pop()
        self._update_position()

    def entries_until(self, path: str | None) -> Iterator[Entry]:
        """Yield the open leaf's entries before `path` (None: all of them) and skip them."""
        assert self.leaf is not None
        start, stop = self.row, len(self.leaf)
        if path is not None:
            stop = bisect_left(self.leaf.paths, path, start)
        leaf = self.leaf
        self.advance(stop - start)
        for row in range(start, stop):
            yield self.entry(leaf, row)

    def entry(self, leaf: Leaf, row: int) -> Entry:
        """Return an entry of a leaf."""
        if self._extents:
            return leaf.entry(row)
        path, kind, size, digest, target = leaf.row(row)
        return Entry(path, Kind(kind), size, digest, target)

    def advance(self, count: int) -> None:
        """Skip rows of the open leaf."""
        self.row += count
        self._update_position()

    def _enter(self, block: Block, upper: str | None) -> None:
        if isinstance(block, Inner):
            self._ahead += [(block, number, upper) for number in reversed(range(len(block.children)))]
        else:
            self.leaf, self.row = block, 0
        self._update_position()

    def _update_position(self) -> None:
        """Determine the next path and level."""
        self.unopened = self.path = None
        if self.leaf is not None:
            if self.row < len(self.leaf):
                self.path = self.leaf.paths[self.row]
                return
            self.leaf = None
        if self._ahead:
            parent, number, _ = self._ahead[-1]
            child = parent.children[number]
            self.unopened, self.path, self.level = child.digest, child.first_path, parent.level - 1


def _compare(left: _Side, right: _Side) -> Iterator[Change]:
    """Skip the equal rows at the positions of both open leaves, or yield the one row that differs."""
    one, two = left.leaf, right.leaf
    assert one is not None
    assert two is not None
    count = one.equal_rows(left.row, two, right.row)
    if not count:
        yield Change(one.paths[left.row], left.entry(one, left.row), right.entry(two, right.row))
        count = 1
    left.advance(count)
    right.advance(count)
