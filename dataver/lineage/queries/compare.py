"""Comparison of the input data of two runs.

The idea: the data of a run is the set of contents that it read, independent of paths, versions, datasets and
patterns. Two runs read the same data if these sets are equal. Links to the same part of the same tree are
equal without reading it; only the other trees are read. Differences are grouped by dataset, and contain only
entries that one of the runs read.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from dataver.errors import IntegrityError, NotFound
from dataver.formats.canonical_json import encode_json
from dataver.html_repr import ROWS, card, note, table
from dataver.lineage.queries.content import CONTENT_SIZE
from dataver.printable import count
from dataver.short_repr import short_repr
from dataver.tree.diff import Change, find_renames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from dataver.formats.block import Leaf
    from dataver.formats.entry import Entry
    from dataver.lineage.queries.results import IndexedLink, RunAnswer

    Parts: TypeAlias = Callable[[IndexedLink], Iterable[tuple[Leaf, Sequence[int]]]]
    Known: TypeAlias = Callable[[IndexedLink], set[bytes] | None]

__all__ = ["Comparison", "Pair", "compare_inputs"]

_GONE = (IntegrityError, NotFound)  # errors of reading a missing tree
_LINK = b"link to "  # prefix of the content of a symbolic link, which is its target


@dataclass(frozen=True, slots=True)
class Pair:
    """A dataset that two runs read differently.

    Attributes:
        dataset: the dataset.
        first: the link of the first run; None if it did not read the dataset.
        second: the link of the second run; None if it did not read the dataset.
        changes: the differences, in path order; None if a link or its tree is missing.
    """

    dataset: str
    first: IndexedLink | None
    second: IndexedLink | None
    changes: list[Change] | None = None

    __repr__ = short_repr

    @property
    def same_content(self) -> bool:
        """Whether both read the same tree, but different parts of it."""
        return self.first is not None and self.second is not None and self.first.tree == self.second.tree


@dataclass(frozen=True, slots=True)
class Comparison:
    """The inputs of two runs.

    Attributes:
        first: the first run.
        second: the second run.
        common: links of the first run whose contents the second run read, too.
        pairs: the differences, by dataset.
    """

    first: RunAnswer
    second: RunAnswer
    common: list[IndexedLink]
    pairs: list[Pair]

    __repr__ = short_repr

    def _repr_html_(self) -> str:
        rows = (
            (
                each.dataset,
                *(side.ref if side else "not read" for side in (each.first, each.second)),
                "" if each.changes is None else len(each.changes),
            )
            for each in self.pairs
        )
        header = "dataset", self.first.run.node().title, self.second.run.node().title, "paths that differ"
        title = "the same data" if self.same else f"{count(len(self.pairs), 'dataset')} with different data"
        common = note(f"in common: {', '.join(each.ref for each in self.common[:ROWS]) or 'nothing'}")
        return card(title, "inputs of two runs", table(header, rows, len(self.pairs)), common)

    @property
    def same(self) -> bool:
        """Whether they read the same data."""
        return not self.pairs


def compare_inputs(first: RunAnswer, second: RunAnswer, parts: Parts, known: Known) -> Comparison:
    """Return common data and differences of the inputs of two runs.

    Args:
        first: the first run.
        second: the second run.
        parts: returns leaves of a link's tree and the numbers of the entries read; raises IntegrityError or
            NotFound if they are missing.
        known: returns the prefixes of the digests that such a link read, if the index has them.
    """
    shared = set(map(_identity, first.inputs)) & set(map(_identity, second.inputs))
    reader = _ContentReader(parts, known)
    left = [link for link in first.inputs if _identity(link) not in shared]
    right = [link for link in second.inputs if _identity(link) not in shared]
    one, other = reader.contents_of(left), reader.contents_of(right)
    only = one - other, other - one
    if any(only):
        both = reader.contents_of(link for link in first.inputs if _identity(link) in shared)
        only = only[0] - both, only[1] - both
    differing = [
        [link for link in links if not only[side].isdisjoint(reader.contents(link))]
        for side, links in enumerate((left, right))
    ]
    common = [link for link in first.inputs if link not in differing[0]]
    return Comparison(first, second, common, list(_pairs(reader, (first, second), differing, only)))


def _pairs(
    reader: _ContentReader,
    runs: tuple[RunAnswer, RunAnswer],
    differing: list[list[IndexedLink]],
    only: tuple[set[bytes], set[bytes]],
) -> Iterator[Pair]:
    """Yield the links that differ, by dataset, each with a link of the other run to the dataset."""
    by_dataset: defaultdict[str, tuple[list[IndexedLink], list[IndexedLink]]] = defaultdict(lambda: ([], []))
    for side, links in enumerate(differing):
        for link in links:
            by_dataset[link.dataset][side].append(link)
    for dataset, sides in sorted(by_dataset.items()):
        for run, links in zip(runs, sides, strict=True):
            if not links:
                links.extend([link for link in run.inputs if link.dataset == dataset][:1])
        for first, second in zip_longest(*sides):
            yield Pair(dataset, first, second, _changes(reader, first, second, only))


def _changes(
    reader: _ContentReader,
    first: IndexedLink | None,
    second: IndexedLink | None,
    only: tuple[set[bytes], set[bytes]],
) -> list[Change] | None:
    """Return the entries of a pair that only one run read, and those with different paths."""
    if first is None or second is None:
        return None
    try:
        changes = list(_merged(reader.rows(first), reader.rows(second)))
    except _GONE:
        return None
    moved = {each.path for pair in find_renames(changes) for each in pair}
    return [
        each
        for each in changes
        if each.path in moved or _content_of(each.old) in only[0] or _content_of(each.new) in only[1]
    ]


def _merged(old: Iterator[_ContentRow], new: Iterator[_ContentRow]) -> Iterator[Change]:
    """Yield the paths with different content, of rows in path order."""
    left, right = next(old, None), next(new, None)
    while left is not None or right is not None:
        if right is None or (left is not None and left.path < right.path):
            yield Change(left.path, left.entry(), None)  # type: ignore[union-attr]
            left = next(old, None)
        elif left is None or right.path < left.path:
            yield Change(right.path, None, right.entry())
            right = next(new, None)
        else:
            if left.content != right.content:
                yield Change(left.path, left.entry(), right.entry())
            left, right = next(old, None), next(new, None)


class _ContentRow(NamedTuple):
    """An entry that a link read."""

    path: str
    content: bytes
    leaf: Leaf
    number: int

    def entry(self) -> Entry:
        """Return the entry."""
        return self.leaf.entry(self.number)


class _ContentReader:
    """Cached reader of the contents of links."""

    def __init__(self, parts: Parts, known: Known) -> None:
        self._parts, self._known = parts, known
        self._contents: dict[tuple[str, bytes], set[bytes]] = {}

    def contents_of(self, links: Iterable[IndexedLink]) -> set[bytes]:
        """Return the contents of several links."""
        return set().union(*map(self.contents, links))

    def contents(self, link: IndexedLink) -> set[bytes]:
        """Return the contents of a link; if they are unknown, an identifier of the link."""
        identity = _identity(link)
        if identity not in self._contents:
            try:
                found: set[bytes] = set()
                for leaf, numbers in self._parts(link):
                    found.update(_content(leaf.file_digest(each), leaf.target(each)) for each in numbers)
                found.discard(b"")  # empty folders
            except _GONE:
                known = self._known(link)
                found = {b"\0".join((link.tree.encode(), identity[1]))} if known is None else known
            self._contents[identity] = found
        return self._contents[identity]

    def rows(self, link: IndexedLink) -> Iterator[_ContentRow]:
        """Yield the entries of a link in path order, without empty folders."""
        for leaf, numbers in self._parts(link):
            for number in numbers:
                if content := _content(leaf.file_digest(number), leaf.target(number)):
                    yield _ContentRow(leaf.paths[number], content, leaf, number)


def _content(digest: bytes, target: str) -> bytes:
    return _LINK + target.encode() if target else digest[:CONTENT_SIZE]


def _content_of(entry: Entry | None) -> bytes:
    return b"" if entry is None else _content(entry.digest, entry.target)


def _identity(link: IndexedLink) -> tuple[str, bytes]:
    return link.tree, encode_json(link.subset.values(), "a subset")
