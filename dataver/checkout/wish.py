"""What is to be fetched: a version, what globs select of it, a shard of that, as runs of its leaves' columns.

The idea: a `Part` is some entries of one leaf, by number. Most of what a fetch does with an entry needs its
path, kind and size alone, which the columns have; the entry itself, with its extents, is made where its bytes
are read.

Does no writing but for the probe of `folding_of`.
"""

from __future__ import annotations

import os
import unicodedata
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from dataver.checkout.version_cache import folder_name
from dataver.errors import InvalidInput, PathNotFound
from dataver.formats.entry import Kind

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from dataver.formats.entry import Entry
    from dataver.repository import Repository
    from dataver.tree.shard import Shard

__all__ = ["FILES", "Part", "Rows", "Survey", "Wish", "folding_of", "survey"]

FILES: Final = frozenset({int(Kind.FILE), int(Kind.EXECUTABLE)})


class Rows(Protocol):
    """Entries in the order of a tree, as columns: a leaf, or entries put together."""

    @property
    def paths(self) -> Sequence[str]:
        """Their paths."""
        ...

    @property
    def kinds(self) -> Sequence[int]:
        """Their kinds."""
        ...

    @property
    def sizes(self) -> Sequence[int]:
        """Bytes of their files."""
        ...

    def entry(self, number: int) -> Entry:
        """Return an entry, with its extents."""
        ...


class Part(NamedTuple):
    """Some of a leaf's entries: their numbers, ascending."""

    rows: Rows
    numbers: Sequence[int]


@dataclass(frozen=True)
class Wish:
    """What of a version is wanted.

    Attributes:
        repo: where it is.
        tree: its tree.
        patterns: globs; empty for all of it.
        shard: of what they select, the part of some readers; None for all of it.
    """

    repo: Repository
    tree: bytes
    patterns: tuple[str, ...] = ()
    shard: Shard | None = None

    @property
    def name(self) -> str:
        """What a folder that holds it is called."""
        return folder_name(self.tree, self.patterns, self.shard)

    def parts(self) -> Iterator[Part]:
        """Yield what is wanted in order, a leaf at a time."""
        if self.shard is None:
            yield from self._selected()
            return
        mine, at = frozenset(self.shard.ranks), 0
        for rows, numbers in self._selected():
            ranks = self.ranks[at : at + len(numbers)]
            at += len(numbers)
            wanted = [number for number, rank in zip(numbers, ranks, strict=True) if rank in mine]
            if wanted:
                yield Part(rows, wanted)

    @cached_property
    def ranks(self) -> array[int]:
        """Of each entry that the globs select, whose part it is; of a wish for a shard."""
        from dataver.tree.shard import split

        assert self.shard is not None
        selected = self._selected()
        named = ((rows.paths[number], rows.sizes[number]) for rows, numbers in selected for number in numbers)
        return split(named, self.shard.world).ranks

    def _selected(self) -> Iterator[Part]:
        tree = self.repo.tree(self.tree)
        if not self.patterns:
            for leaf in tree.leaves():
                yield Part(leaf, range(len(leaf)))
            return
        from dataver.tree.select import Selection

        selection = Selection(self.patterns)
        for leaf, start, stop in tree.runs(selection.prefix()):
            numbers = [number for number in range(start, stop) if selection.matches(leaf.paths[number])]
            if numbers:
                yield Part(leaf, numbers)

    def entries(self) -> Iterator[Entry]:
        """Yield the wanted entries in order."""
        for rows, numbers in self.parts():
            yield from map(rows.entry, numbers)


class Survey(NamedTuple):
    """How much is wanted."""

    entries: int
    files: int
    size: int


def survey(wish: Wish, folds: Callable[[str], str] | None) -> Survey:
    """Count what is wanted, and refuse names that cannot be told apart where they are to be written.

    Args:
        wish: what is wanted.
        folds: how the file system sees names; None where it keeps them as they are.

    Raises:
        PathNotFound: the globs select nothing.
        InvalidInput: two names that the file system takes for one.
    """
    if not wish.patterns and wish.shard is None and folds is None:
        total = wish.repo.tree(wish.tree).summary()
        return Survey(total.entries, total.files, total.size)
    entries = files = size = 0
    seen: dict[str, str] = {}
    for rows, numbers in wish.parts():
        entries += len(numbers)
        files += sum(rows.kinds[number] in FILES for number in numbers)
        size += sum(rows.sizes[number] for number in numbers)
        if folds is not None:
            for number in numbers:
                _refuse_twins(rows.paths[number], folds, seen)
    if not entries and wish.patterns and not (wish.shard and wish.ranks):
        raise PathNotFound(
            f"nothing in the version matches {', '.join(map(repr, wish.patterns))}.",
            hint="`dataver ls` lists what is there; a folder's name takes all below it",
        )
    return Survey(entries, files, size)


def _refuse_twins(path: str, folds: Callable[[str], str], seen: dict[str, str]) -> None:
    parts = path.split("/")
    for depth in range(1, len(parts) + 1):
        part = "/".join(parts[:depth])
        other = seen.setdefault(folds(part), part)
        if other != part:
            raise InvalidInput(
                f"{other!r} and {part!r} are one name on the file system that they are to be written to.",
                hint="fetch to a file system that tells them apart, or only a part of the version",
            )


def folding_of(folder: Path) -> Callable[[str], str] | None:
    """Return how the file system of a folder sees names, found out by making one; None if exactly."""
    name = f".dataver-probe-{os.getpid()}-a\u00e9"
    probe = folder / name
    with suppress(FileExistsError):
        probe.touch()
    try:
        case = os.path.lexists(folder / name.upper())
        form = os.path.lexists(folder / unicodedata.normalize("NFD", name))
    finally:
        probe.unlink(missing_ok=True)
    if not case and not form:
        return None

    def fold(path: str) -> str:
        path = unicodedata.normalize("NFC", path) if form or case else path
        return unicodedata.normalize("NFC", path.casefold()) if case else path

    return fold
