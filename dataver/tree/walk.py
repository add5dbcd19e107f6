"""Walk of all blocks of trees: each block once, compared with every reference to it.

The idea: a block is loaded once however often it is referenced, and the values to compare are remembered, so
the work grows with the objects and their references, never with the number of paths through them. Each
reference is checked like a single step of `dataver.tree.checked_descent`. To check that a block ends before
its right neighbour begins, the least path after it in any reference is passed down the right edge.

Keeps invariant 1. No I/O: a callable loads blocks, and `across` may run it on threads.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from dataver.errors import FormatTooNew, IntegrityError
from dataver.formats.block import Block, Inner, Leaf
from dataver.formats.entry import Kind
from dataver.tree.checked_descent import Load, single_child, unlike

__all__ = ["Clashes", "walk"]

_WINDOW: Final = 64  # blocks in memory at a time

_Loaded = Block | IntegrityError | FormatTooNew


class _Across(Protocol):
    def __call__(
        self, load: Callable[[bytes], _Loaded], digests: Sequence[bytes], /
    ) -> Iterable[_Loaded]: ...


class _Line(NamedTuple):
    """An inner block's reference to a child block."""

    level: int
    first_path: str
    entry_count: int
    file_count: int
    byte_count: int


class _Facts(NamedTuple):
    """Recorded facts of a block: its reference, its last path or that of its last child, and that child."""

    line: _Line
    last: str
    below: bytes | None


def walk(
    roots: Iterable[bytes],
    load: Load,
    *,
    across: _Across = map,
    skip: Container[bytes] = (),
    within: Callable[[bytes], bool] | None = None,
    leaves: bool = True,
    on_error: Callable[[bytes, IntegrityError | FormatTooNew], None] | None = None,
) -> Iterator[Block]:
    """Yield each block of these trees once, parents before children, leaves in path order.

    Args:
        roots: digests of root blocks.
        load: returns a block by its digest.
        across: calls a function for many digests and yields the results in order, as `map` does.
        skip: digests that are not loaded.
        within: returns whether a digest is to be loaded; None means all.
        leaves: also load the leaves; inner blocks name them.
        on_error: called once with each rejected digest and its error; the walk continues with the others.
            None means that the first error is raised.

    Raises:
        IntegrityError: a block is missing, damaged, or does not match a reference.
        FormatTooNew: written by a newer dataver.
    """
    return _Walk(load, skip, within, leaves, on_error).blocks(roots, across)


class _Walk:
    def __init__(
        self,
        load: Load,
        skip: Container[bytes],
        within: Callable[[bytes], bool] | None,
        leaves: bool,
        on_error: Callable[[bytes, IntegrityError | FormatTooNew], None] | None,
    ) -> None:
        self._load, self._skip, self._within, self._leaves = load, skip, within, leaves
        self._on_error = on_error
        self._met: set[bytes] = set()
        self._seen: dict[bytes, _Facts] = {}
        self._lines: dict[bytes, _Line] = {}  # of blocks that are not loaded yet
        self._upper: dict[bytes, str] = {}  # the least path after them
        self._refused: set[bytes] = set()

    def blocks(self, roots: Iterable[bytes], across: _Across) -> Iterator[Block]:
        ahead = [root for root in dict.fromkeys(roots) if self._wanted(root)]
        starts = set(ahead)
        self._met.update(ahead)
        ahead.reverse()  # taken from the end
        while ahead:
            window = ahead[: -_WINDOW - 1 : -1]
            del ahead[-_WINDOW:]
            below: list[bytes] = []
            for digest, block in zip(window, across(self._loaded, window), strict=True):
                if not isinstance(block, Block):
                    self._refuse(digest, block)
                elif digest in starts and single_child(block):
                    self._refuse(digest, single_child(block))
                elif self._record(block):
                    yield block
                    if isinstance(block, Inner):
                        below += self._children(block)
            ahead += reversed(below)

    def _loaded(self, digest: bytes) -> _Loaded:
        try:
            block = self._load(digest)
            if not isinstance(block, Inner):
                block.packs()  # an unreadable layout must be an error here, not later
        except (IntegrityError, FormatTooNew) as error:
            return error
        return block

    def _wanted(self, digest: bytes) -> bool:
        return digest not in self._skip and (self._within is None or self._within(digest))

    def _record(self, block: Block) -> bool:
        """Record a block; return whether it matches the references to it."""
        digest, inner = block.digest, isinstance(block, Inner)
        last = block.children[-1] if isinstance(block, Inner) else None
        paths = () if isinstance(block, Inner) else block.paths
        self._seen[digest] = facts = _Facts(
            _Line(
                block.level,
                block.first_path if inner or paths else "",
                block.entry_count,
                block.file_count,
                block.byte_count,
            ),
            last.first_path if last else paths[-1] if paths else "",
            last.digest if last else None,
        )
        line, upper = self._lines.pop(digest, None), self._upper.pop(digest, None)
        if line is not None and (line != facts.line or not facts.last):
            self._refuse(digest, unlike(digest))
            return False
        return upper is None or self._bound(digest, upper)

    def _children(self, block: Inner) -> list[bytes]:
        """Check or record the references of a block; return the blocks to load for them."""
        fresh: list[bytes] = []
        if block.level == 1 and not self._leaves:
            return fresh
        children = block.children
        for number, (first, digest, entries, files, size) in enumerate(children):
            if not self._wanted(digest):
                continue
            line = _Line(block.level - 1, first, entries, files, size)
            facts = self._seen.get(digest)
            noted = facts.line if facts is not None else self._lines.setdefault(digest, line)
            if noted != line:
                self._refuse(digest, unlike(digest))
            if number + 1 < len(children):
                self._bound(digest, children[number + 1].first_path)
            if digest not in self._met:
                self._met.add(digest)
                fresh.append(digest)
        return fresh

    def _bound(self, digest: bytes, upper: str) -> bool:
        """Return whether a block and its right edge end before a path, as far as they are known."""
        while True:
            facts = self._seen.get(digest)
            if facts is None:
                self._upper[digest] = min(upper, self._upper.get(digest, upper))
                return True
            if facts.last >= upper:
                self._refuse(digest, unlike(digest))
                return False
            if facts.below is None:
                return True
            digest = facts.below

    def _refuse(self, digest: bytes, error: IntegrityError | FormatTooNew | None) -> None:
        if error is None or digest in self._refused:
            return
        if self._on_error is None:
            raise error
        self._refused.add(digest)
        self._on_error(digest, error)


class Clashes:
    """Search for paths that are both an entry and a folder, leaf by leaf in path order.

    Attributes:
        before: entries that may have entries below them in the next leaf.
    """

    def __init__(self, before: Iterable[str] = ()) -> None:
        self.before = set(before)

    def find(self, leaf: Leaf) -> list[str]:
        """Return the paths with entries below them, as far as this leaf and the previous ones show."""
        paths = leaf.paths
        folders, ahead = set[str](), {path.rpartition("/")[0] for path in paths}
        while ahead:
            folders |= ahead
            ahead = {path.rpartition("/")[0] for path in ahead} - folders
        kinds = zip(paths, leaf.kinds, strict=True)
        there = self.before.union(path for path, kind in kinds if kind != Kind.DIRECTORY)
        last = paths[-1] if paths else ""
        self.before = there.intersection(last[:end] for end in range(1, len(last) + 1))
        return sorted(there & folders)
