"""The difference of two trees, at a cost that grows with the difference.

The idea: a block that both trees hold means the same entries in both, wherever it stands, so both trees are taken
apart level by level and whatever occurs on both sides is dropped. What is left are the leaves that only one side
has; their entries are merged in path order.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from dataver.formats.block import Inner, Leaf
from dataver.formats.entry import Entry, Kind
from dataver.tree.build import Load

__all__ = ["Change", "diff", "find_renames"]


class Change(NamedTuple):
    """One path that differs: `old` is None where it was added, `new` where it was removed."""

    path: str
    old: Entry | None
    new: Entry | None


def diff(old: bytes, new: bytes, load: Load) -> Iterator[Change]:
    """Yield what changes from one tree to another, in path order."""
    if old == new:
        return
    before, after = _differing_leaves(old, new, load)
    left, right = _Rows(before, load), _Rows(after, load)
    while left.here is not None or right.here is not None:
        if right.here is None or (left.here is not None and left.path < right.path):
            yield Change(left.path, left.entry(), None)
            left.step()
        elif left.here is None or right.path < left.path:
            yield Change(right.path, None, right.entry())
            right.step()
        else:
            if left.row() != right.row():
                yield Change(left.path, left.entry(), right.entry())
            left.step()
            right.step()


def find_renames(changes: Iterable[Change]) -> list[tuple[Entry, Entry]]:
    """Pair files that were removed with files of the same content that were added, in path order.

    Each takes part once; empty files are left alone, since they all look alike.
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


class _Rows:
    """Walks the entries of some leaves, one leaf in memory at a time."""

    def __init__(self, leaves: Sequence[bytes], load: Load) -> None:
        self._leaves = iter(leaves)
        self._load = load
        self.here: Leaf | None = None
        self._number = 0
        self.path = ""
        self._next_leaf()

    def entry(self) -> Entry:
        assert self.here is not None
        return self.here.entry(self._number)

    def row(self) -> tuple[str, int, int, bytes, str]:
        assert self.here is not None
        return self.here.row(self._number)

    def step(self) -> None:
        assert self.here is not None
        self._number += 1
        if self._number < len(self.here):
            self.path = self.here.paths[self._number]
        else:
            self._next_leaf()

    def _next_leaf(self) -> None:
        for digest in self._leaves:
            block = self._load(digest)
            assert isinstance(block, Leaf)
            if len(block):
                self.here, self._number, self.path = block, 0, block.paths[0]
                return
        self.here = None


def _differing_leaves(old: bytes, new: bytes, load: Load) -> tuple[list[bytes], list[bytes]]:
    """Return the leaves that only one of two trees holds, in order."""
    left, right = [old], [new]
    left_level, right_level = load(old).level, load(new).level
    while left_level or right_level:
        level = max(left_level, right_level)
        if left_level == level:
            left, left_level = _below(left, load), level - 1
        if right_level == level:
            right, right_level = _below(right, load), level - 1
        if left_level == right_level:
            common = set(left) & set(right)
            left = [digest for digest in left if digest not in common]
            right = [digest for digest in right if digest not in common]
    return left, right


def _below(digests: Iterable[bytes], load: Load) -> list[bytes]:
    found: list[bytes] = []
    for digest in digests:
        block = load(digest)
        assert isinstance(block, Inner)
        found += [child.digest for child in block.children]
    return found
