"""The selection to fetch, as runs of its leaves' columns.

The idea: a `Part` is some entries of one leaf, by number. Most steps of a fetch need only an entry's path,
kind and size, which the columns have; the entry itself, with its extents, is created when its bytes are read.

Writes nothing except the probe of `folding_of`.
"""

from __future__ import annotations

import os
import unicodedata
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from dataver.cache.version_cache import folder_name
from dataver.errors import InvalidInput
from dataver.formats.entry import Kind
from dataver.tree.selection import WHOLE, Selection
from dataver.tree.shard import split

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from dataver.formats.entry import Entry
    from dataver.repository import RepositoryCore

__all__ = ["FILES", "FetchRequest", "Part", "Rows", "Survey", "folding_of", "survey", "written_size"]

FILES: Final = frozenset({int(Kind.FILE), int(Kind.EXECUTABLE)})


class Rows(Protocol):
    """Columns of entries in the order of a tree: a leaf, or collected entries."""

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

    def file_digest(self, number: int) -> bytes:
        """Return an entry's digest; empty if the entry is not a file."""
        ...

    def entry(self, number: int) -> Entry:
        """Return an entry, with its extents."""
        ...


class Part(NamedTuple):
    """Some of a leaf's entries: their numbers, ascending."""

    rows: Rows
    numbers: Sequence[int]


@dataclass(frozen=True)
class FetchRequest:
    """The wanted part of a version.

    Attributes:
        repo: the repository.
        tree: the version's tree.
        selection: the part.
    """

    repo: RepositoryCore
    tree: bytes
    selection: Selection = WHOLE

    @property
    def name(self) -> str:
        """The name of its cached folder."""
        return folder_name(self.tree, self.selection)

    def parts(self) -> Iterator[Part]:
        """Yield the wanted entries in order, a leaf at a time."""
        shard = self.selection.shard
        if shard is None:
            yield from self._selected()
            return
        mine, at = frozenset(shard.ranks), 0
        for rows, numbers in self._selected():
            ranks = self.ranks[at : at + len(numbers)]
            at += len(numbers)
            wanted = [number for number, rank in zip(numbers, ranks, strict=True) if rank in mine]
            if wanted:
                yield Part(rows, wanted)

    @cached_property
    def ranks(self) -> array[int]:
        """The rank of each entry that the patterns match, if the selection is a shard."""
        assert self.selection.shard is not None
        selected = self._selected()
        named = ((rows.paths[number], rows.sizes[number]) for rows, numbers in selected for number in numbers)
        return split(named, self.selection.shard.world).ranks

    def _selected(self) -> Iterator[Part]:
        for leaf, numbers in self.selection.parts(self.repo.tree(self.tree)):
            yield Part(leaf, numbers)

    def entries(self) -> Iterator[Entry]:
        """Yield the wanted entries in order."""
        for rows, numbers in self.parts():
            yield from map(rows.entry, numbers)


_LARGE = 1 << 30  # size of a version above which a search for sparse files is worthwhile
_HOLE = 8 << 20  # bytes of the smallest file in which a chunk of 4 MiB of zeros is repeated


class Survey(NamedTuple):
    """Size of the selection."""

    entries: int
    files: int
    size: int


def survey(wish: FetchRequest, folds: Callable[[str], str] | None) -> Survey:
    """Count the wanted entries, and refuse names that the target file system does not distinguish.

    Args:
        wish: the selection.
        folds: how the file system normalises names; None if it keeps them unchanged.

    Raises:
        PathNotFound: a pattern matches nothing.
        InvalidInput: the file system does not distinguish two names.
    """
    tree = wish.repo.tree(wish.tree)
    if wish.selection.whole and folds is None:
        total = tree.summary()
        return Survey(total.entries, total.files, total.size)
    wish.selection.require(tree)
    entries = files = size = 0
    seen: dict[str, str] = {}
    for rows, numbers in wish.parts():
        entries += len(numbers)
        files += sum(rows.kinds[number] in FILES for number in numbers)
        size += sum(rows.sizes[number] for number in numbers)
        if folds is not None:
            for number in numbers:
                _refuse_twins(rows.paths[number], folds, seen)
    return Survey(entries, files, size)


def written_size(wish: FetchRequest, size: int) -> int:
    """Return the most bytes that a fetch writes to the disk.

    Holes of sparse files are not written: they are extents over one chunk of zeros, so equal extents of a
    file count once. Checked only for large files.

    Args:
        wish: the selection.
        size: bytes of all its files.
    """
    if size < _LARGE:
        return size
    large = (
        rows.entry(each) for rows, numbers in wish.parts() for each in numbers if rows.sizes[each] > _HOLE
    )
    return size - sum(
        sum(extent.length for extent in entry.extents) - sum(extent.length for extent in set(entry.extents))
        for entry in large
    )


def _refuse_twins(path: str, folds: Callable[[str], str], seen: dict[str, str]) -> None:
    parts = path.split("/")
    for depth in range(1, len(parts) + 1):
        part = "/".join(parts[:depth])
        other = seen.setdefault(folds(part), part)
        if other != part:
            raise InvalidInput(
                f"{other!r} and {part!r} are the same name on the target file system.",
                hint="fetch to a file system that distinguishes them, or only a part of the version",
            )


def folding_of(folder: Path) -> Callable[[str], str] | None:
    """Return how the file system of a folder normalises names, by a probe; None if it does not."""
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
