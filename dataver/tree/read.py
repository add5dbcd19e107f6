"""Reading a tree: one path, a range of paths, a folder; each loads only the blocks on its way."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from dataver.formats.block import Inner, Leaf
from dataver.formats.entry import Entry
from dataver.tree.build import Load, TreeRoot

__all__ = ["Listed", "Tree"]

_BEHIND = "\U0010ffff"  # sorts behind every character a path can have next


class Listed(NamedTuple):
    """One name in a folder: an entry, or a folder of entries (None)."""

    name: str
    entry: Entry | None


class Tree:
    """A tree, by digest; blocks come from `load` and are not kept."""

    def __init__(self, digest: bytes, load: Load) -> None:
        self.digest = digest
        self._load = load

    def __repr__(self) -> str:
        return f"Tree({self.digest.hex()[:16]}…)"

    def summary(self) -> TreeRoot:
        """Return how much the tree holds."""
        block = self._load(self.digest)
        return TreeRoot(self.digest, block.entry_count, block.file_count, block.byte_count)

    def locate(self, path: str) -> tuple[Leaf, int] | None:
        """Return the leaf and the number in it of the entry at `path`, or None."""
        block = self._load(self.digest)
        while isinstance(block, Inner):
            number = bisect_right(block.children, path, key=lambda child: child.first_path) - 1
            if number < 0:
                return None
            block = self._load(block.children[number].digest)
        place = block.find(path)
        return None if place is None else (block, place)

    def get(self, path: str) -> Entry | None:
        """Return the entry at `path`, or None."""
        found = self.locate(path)
        return None if found is None else found[0].entry(found[1])

    def iterate(self, prefix: str = "", after: str = "") -> Iterator[Entry]:
        """Yield the entries whose path starts with `prefix` and comes behind `after`, in path order."""
        for leaf, number in self._rows(prefix, after):
            yield leaf.entry(number)

    def paths(self, prefix: str = "", after: str = "") -> Iterator[str]:
        """Yield the paths that `iterate` yields the entries of; cheaper."""
        for leaf, number in self._rows(prefix, after):
            yield leaf.paths[number]

    def leaves(self, start: str = "") -> Iterator[Leaf]:
        """Yield the leaves that may hold `start` or a later path, in order."""
        yield from self._leaves(self.digest, start)

    def list(self, folder: str = "") -> Iterator[Listed]:
        """Yield what stands directly in a folder, in order of names; what lies deeper is passed over."""
        prefix = f"{folder.strip('/')}/" if folder.strip("/") else ""
        after = ""
        while True:
            entry = next(self.iterate(prefix, after), None)
            if entry is None:
                return
            name, slash, _ = entry.path[len(prefix) :].partition("/")
            if slash:
                yield Listed(name, None)
                after = f"{prefix}{name}/{_BEHIND}"
            else:
                yield Listed(name, entry)
                after = entry.path

    def _rows(self, prefix: str, after: str) -> Iterator[tuple[Leaf, int]]:
        start = max(prefix, after)
        for leaf in self._leaves(self.digest, start):
            first = bisect_left(leaf.paths, prefix)
            if after:
                first = max(first, bisect_right(leaf.paths, after))
            for number in range(first, len(leaf)):
                if not leaf.paths[number].startswith(prefix):
                    return
                yield leaf, number

    def _leaves(self, digest: bytes, start: str) -> Iterator[Leaf]:
        block = self._load(digest)
        if not isinstance(block, Inner):
            yield block
            return
        first = bisect_right(block.children, start, key=lambda child: child.first_path) - 1
        for child in block.children[max(first, 0) :]:
            yield from self._leaves(child.digest, start)
