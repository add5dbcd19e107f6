"""Reading a tree: one path, a range of paths, a folder. Each loads only the blocks that it needs."""

from bisect import bisect_left, bisect_right
from collections.abc import Generator, Iterable, Iterator
from typing import NamedTuple

from dataver.formats.block import Block, Inner, Leaf
from dataver.formats.entry import Entry, Kind, portability_problems
from dataver.tree.build import TreeRoot
from dataver.tree.checked_descent import Load, descend, load_root, steps

__all__ = ["Listed", "Totals", "Tree", "new_name_problems"]


class Totals(NamedTuple):
    """Numbers of some entries of a tree: entries, files among them, and bytes of the files."""

    entries: int
    files: int
    size: int

    def __sub__(self, other: "Totals") -> "Totals":
        return Totals(self.entries - other.entries, self.files - other.files, self.size - other.size)


class Listed(NamedTuple):
    """A name in a folder.

    Attributes:
        name: the name.
        entry: the entry; None for a folder of entries.
        rank: number of the entries before it in the tree, or before the first one in the folder.
    """

    name: str
    entry: Entry | None
    rank: int


class _Near(NamedTuple):
    """The most recently used leaf, its range of paths, and the number of entries before it."""

    leaf: Leaf
    lower: str
    upper: str | None
    rank: int


class Tree:
    """A tree, by digest. `load` returns blocks; only the most recently used leaf is kept."""

    def __init__(self, digest: bytes, load: Load) -> None:
        self.digest = digest
        self._load = load
        self._near: _Near | None = None

    def __repr__(self) -> str:
        return f"Tree({self.digest.hex()[:16]}…)"

    def summary(self) -> TreeRoot:
        """Return the tree's totals."""
        block = load_root(self.digest, self._load)
        return TreeRoot(self.digest, block.entry_count, block.file_count, block.byte_count)

    def locate(self, path: str) -> tuple[Leaf, int] | None:
        """Return the leaf of the entry at `path` and its number in it, or None."""
        near = self._nearest(path)
        place = near.leaf.find(path)
        return None if place is None else (near.leaf, place)

    def get(self, path: str) -> Entry | None:
        """Return the entry at `path`, or None."""
        found = self.locate(path)
        return None if found is None else found[0].entry(found[1])

    def rank(self, path: str) -> int:
        """Return the number of entries whose path sorts before `path`."""
        near = self._nearest(path)
        return near.rank + bisect_left(near.leaf.paths, path)

    def number(self, path: str) -> int | None:
        """Return the number of entries before the one at `path`, or None if there is no such entry."""
        near = self._nearest(path)
        place = near.leaf.find(path)
        return None if place is None else near.rank + place

    def before(self, path: str) -> Totals:
        """Return the totals of the entries whose path sorts before `path`; loads the blocks on the way."""
        block = load_root(self.digest, self._load)
        upper: str | None = None
        entries = files = size = 0
        while isinstance(block, Inner):
            number = _position(block, path)
            for child in block.children[:number]:
                entries, files, size = (
                    entries + child.entry_count,
                    files + child.file_count,
                    size + child.byte_count,
                )
            parent = block
            block = descend(parent, number, self._load, upper)
            if number + 1 < len(parent.children):
                upper = parent.children[number + 1].first_path
        count = bisect_left(block.paths, path)
        found = count - sum(block.kinds.count(kind, 0, count) for kind in (Kind.SYMLINK, Kind.DIRECTORY))
        return Totals(entries + count, files + found, size + sum(block.sizes[:count]))

    def totals(self, prefix: str = "") -> Totals:
        """Return the totals of the entries whose path starts with `prefix`; loads the blocks at both ends."""
        behind = _behind(prefix)
        if behind is None:
            return Totals(*self.summary()[1:]) - self.before(prefix)
        return self.before(behind) - self.before(prefix)

    def at(self, rank: int) -> tuple[Leaf, int]:
        """Return the leaf of the entry that has `rank` entries before it, and its number in the leaf.

        Raises:
            IndexError: the tree has no more entries than that.
        """
        near = self._near
        if near is None or not near.rank <= rank < near.rank + len(near.leaf):
            near = self._near = self._approach("", rank)
        if not near.rank <= rank < near.rank + len(near.leaf):
            raise IndexError(rank)
        return near.leaf, rank - near.rank

    def name_at(self, folder: str, rank: int) -> str:
        """Return the path of the name in a folder that an entry belongs to; a subfolder's ends with `/`.

        Raises:
            IndexError: the tree has no more entries than that.
        """
        leaf, number = self.at(rank)
        prefix = f"{folder}/" if folder else ""
        name, slash, _ = leaf.paths[number][len(prefix) :].partition("/")
        return prefix + name + slash

    def names_back(self, folder: str, rank: int, count: int, least: int) -> int:
        """Return the rank of the name that is `count` names before an entry of a folder.

        Args:
            folder: the folder.
            rank: the number of the entry.
            count: how many names it goes back.
            least: the smallest rank that is returned.
        """
        for _ in range(count):
            if rank <= least:
                break
            name = self.name_at(folder, rank - 1)
            rank = self.rank(name) if name.endswith("/") else rank - 1
        return max(rank, least)

    def is_folder(self, path: str) -> bool:
        """Return whether there are entries below `path`."""
        prefix = path + "/"
        near = self._nearest(prefix)
        at = bisect_left(near.leaf.paths, prefix)
        found = near.leaf.paths[at] if at < len(near.leaf) else near.upper
        return found is not None and found.startswith(prefix)

    def iterate(self, prefix: str = "", after: str = "") -> Iterator[Entry]:
        """Yield the entries whose path starts with `prefix` and sorts after `after`, in path order."""
        for leaf, start, stop in self.runs(prefix, after):
            yield from leaf.entries(start, stop)

    def paths(self, prefix: str = "", after: str = "") -> Iterator[str]:
        """Yield the paths of the entries of `iterate`; cheaper."""
        for leaf, start, stop in self.runs(prefix, after):
            yield from leaf.paths[start:stop]

    def leaves(self, start: str = "", stop: str | None = None) -> Iterator[Leaf]:
        """Yield the leaves that may contain paths from `start` to before `stop`, in order."""
        return (leaf for leaf, _ in self._ranked_leaves(start, stop))

    def files(self) -> Iterator[tuple[str, int, bytes]]:
        """Yield the path, the size and the digest of each file, in path order."""
        for leaf in self.leaves():
            for number, path in enumerate(leaf.paths):
                if name := leaf.file_digest(number):
                    yield path, leaf.sizes[number], name

    def _ranked_leaves(self, start: str, stop: str | None) -> Iterator[tuple[Leaf, int]]:
        yield from _leaves(load_root(self.digest, self._load), self._load, None, start, stop, 0)

    def list(self, folder: str = "", start: str = "") -> Iterator[Listed]:
        """Yield the direct children of a folder, in path order, from the path `start` on.

        A subfolder that begins before `start` has the rank of its first entry from there on.
        """
        prefix = f"{folder.strip('/')}/" if folder.strip("/") else ""
        place: str | None = max(prefix, start)
        while place is not None:
            place = yield from self._list_from(place, prefix)

    def _list_from(self, place: str, prefix: str) -> Generator[Listed, None, str | None]:
        """Yield names from `place` on; return the position after a subfolder, None at the end."""
        for leaf, rank in self._ranked_leaves(place, _behind(prefix)):
            number = bisect_left(leaf.paths, place)
            while number < len(leaf):
                path = leaf.paths[number]
                if not path.startswith(prefix):
                    return None
                name, slash, _ = path[len(prefix) :].partition("/")
                if not slash:
                    yield Listed(name, leaf.entry(number), rank + number)
                    number += 1
                    continue
                yield Listed(name, None, rank + number)
                place = f"{prefix}{name}0"  # "0" follows "/": the first path after the subfolder
                number = bisect_left(leaf.paths, place, number)
                if number == len(leaf):
                    return place  # leaves entirely inside the subfolder need not be loaded
        return None

    def _nearest(self, path: str) -> _Near:
        near = self._near
        if near is None or path < near.lower or (near.upper is not None and path >= near.upper):
            near = self._near = self._approach(path)
        return near

    def _approach(self, path: str, rank: int | None = None) -> _Near:
        """Return the leaf of a path, or of the entry with a rank."""
        block = load_root(self.digest, self._load)
        lower: str = ""
        upper: str | None = None
        before = 0
        while isinstance(block, Inner):
            if rank is None:
                number = _position(block, path)
            else:
                number = min(bisect_right(block.ranks, rank - before), len(block.children)) - 1
            before += block.ranks[number]
            parent = block
            block = descend(parent, number, self._load, upper)
            lower = parent.children[number].first_path if number else lower
            if number + 1 < len(parent.children):
                upper = parent.children[number + 1].first_path
        return _Near(block, lower, upper, before)

    def runs(self, prefix: str = "", after: str = "") -> Iterator[tuple[Leaf, int, int]]:
        """Yield leaves, each with the range of its entries that have the prefix and sort after `after`."""
        behind = _behind(prefix)
        for leaf in self.leaves(max(prefix, after), behind):
            start = bisect_left(leaf.paths, prefix)
            if after:
                start = bisect_right(leaf.paths, after, start)
            stop = len(leaf) if behind is None else bisect_left(leaf.paths, behind, start)
            yield leaf, start, stop


def _leaves(
    block: Block, load: Load, upper: str | None, start: str, stop: str | None, rank: int
) -> Iterator[tuple[Leaf, int]]:
    """Yield the leaves of a range of paths, each with the number of entries before it."""
    if not isinstance(block, Inner):
        yield block, rank
        return
    first = _position(block, start)
    rank += block.ranks[first]
    for below, behind in steps(block, load, upper, first):
        yield from _leaves(below, load, behind, start, stop, rank)
        if stop is not None and behind is not None and behind >= stop:
            return
        rank += below.entry_count


def _position(block: Inner, path: str) -> int:
    """Return the index of the child whose range includes `path`."""
    return max(bisect_right(block.children, path, key=lambda child: child.first_path) - 1, 0)


def _behind(prefix: str) -> str | None:
    """Return the first text after all that start with `prefix`, None if there is none."""
    while prefix:
        last = ord(prefix[-1])
        prefix = prefix[:-1]
        if last < 0x10FFFF:
            return prefix + chr(0xE000 if last == 0xD7FF else last + 1)
    return None


def new_name_problems(tree: Tree, before: Tree, added: Iterable[str]) -> list[tuple[str, str]]:
    """Return `(path, reason)` for names that the `added` paths introduced in `tree`, relative to `before`.

    An old name is reported only if a new one differs from it only in case or Unicode form.
    """
    gained: dict[str, set[str]] = {}
    for path in added:
        _note(path, before, gained)
    problems: set[tuple[str, str]] = set()
    for folder, names in gained.items():
        prefix = f"{folder}/" if folder else ""
        siblings = sorted(prefix + each.name for each in tree.list(folder))
        for path, why in portability_problems(siblings):
            if path.removeprefix(prefix) in names or ("differs" in why and path in siblings):
                problems.add((path, why))
    return sorted(problems)


def _note(path: str, before: Tree, gained: dict[str, set[str]]) -> None:
    """Record the new name of a path in its folder, and of each new folder above."""
    while True:
        folder, _, name = path.rpartition("/")
        names = gained.setdefault(folder, set())
        if name in names:
            return
        names.add(name)
        if not folder or next(before.paths(f"{folder}/"), None) is not None:
            return
        path = folder
