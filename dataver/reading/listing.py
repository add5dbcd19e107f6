"""The files of one reader: packed paths, sizes and runs, a few megabytes for a million files.

The idea: loaders copy their state to every worker, and a forked worker copies each page in which it counts a
reference. So the paths are one text, and the numbers are arrays: they are pickled in milliseconds, and forks
share them.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

from dataver.errors import InvalidInput
from dataver.tree.selection import WHOLE, Selection
from dataver.tree.shard import Shard, split

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dataver.repository import RepositoryCore

# Imports in functions: only names of selections need it.

__all__ = ["Listing"]


class Listing(Sequence[str]):
    """The paths of one reader's files, in path order or in the order in which they were listed.

    Attributes:
        sizes: bytes of each file.
        runs: the number of the run that each file is in; neighbours of a run are read together.
        counts: files of each rank, of all of them.
        shares: of each rank that is here, its files and bytes.
    """

    def __init__(
        self,
        paths: Iterable[str],
        sizes: array[int],
        runs: array[int],
        counts: Sequence[int],
        shares: dict[int, tuple[int, int]],
    ) -> None:
        self._ends = array("Q")
        text = bytearray()
        for path in paths:
            text += path.encode("utf-8", "surrogateescape")
            self._ends.append(len(text))
        self._text = bytes(text)
        self.sizes, self.runs, self.counts, self.shares = sizes, runs, array("Q", counts), shares

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self[number] for number in range(*at.indices(len(self)))]
        return self.encoded(range(len(self._ends))[at]).decode("utf-8", "surrogateescape")

    def encoded(self, at: int) -> bytes:
        """Return the path at a place as bytes."""
        return self._text[self._ends[at - 1] if at else 0 : self._ends[at]]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(self.sizes)

    @classmethod
    def of(cls, repo: RepositoryCore, tree: bytes, selection: Selection = WHOLE) -> Listing:
        """List the files of a version; links and empty folders are not among them.

        Args:
            repo: where it is.
            tree: its tree.
            selection: which part of it.

        Raises:
            PathNotFound: a pattern chooses no file.
        """
        from dataver.checkout.selection import FILES, FetchRequest

        selection.require(repo.tree(tree), FILES)
        wish, mine = (
            FetchRequest(repo, tree, selection._replace(shard=None)),
            selection.shard or Shard((0,), 1),
        )
        found = split(
            (
                (rows.paths[number], rows.sizes[number])
                for rows, numbers in wish.parts()
                for number in numbers
            ),
            mine.world,
        )
        every: list[tuple[str, int, int, int]] = []
        counts: Counter[int] = Counter()
        wanted, at = frozenset(mine.ranks), -1
        for rows, numbers in wish.parts():
            for number in numbers:
                at += 1
                if rows.kinds[number] in FILES:
                    rank = found.ranks[at]
                    counts[rank] += 1
                    if rank in wanted:
                        every.append((rows.paths[number], rows.sizes[number], found.runs[at], rank))
        return cls._packed(every, [counts[rank] for rank in range(mine.world)], mine)

    @classmethod
    def chosen(cls, files: Iterable[tuple[str, int]], shard: Shard | None = None) -> Listing:
        """List files in the order in which they are given; a path may come more than once.

        Args:
            files: paths and sizes.
            shard: the part of some readers of these; None means all of them.

        Raises:
            InvalidInput: there are none.
        """
        given, mine = list(files), shard or Shard((0,), 1)
        if not given:
            raise InvalidInput("the listing names no file.")
        distinct = sorted(dict(given).items(), key=lambda file: file[0].encode("utf-8", "surrogateescape"))
        found = split(distinct, mine.world)
        places = {
            path: (rank, run) for (path, _), rank, run in zip(distinct, found.ranks, found.runs, strict=True)
        }
        counts = Counter(places[path][0] for path, _ in given)
        every = [
            (path, size, places[path][1], places[path][0])
            for path, size in given
            if places[path][0] in mine.ranks
        ]
        return cls._packed(every, [counts[rank] for rank in range(mine.world)], mine)

    @classmethod
    def _packed(cls, every: list[tuple[str, int, int, int]], counts: list[int], mine: Shard) -> Listing:
        shares = dict.fromkeys(mine.ranks, (0, 0))
        for _, size, _, rank in every:
            files, total = shares[rank]
            shares[rank] = files + 1, total + size
        sizes, runs = array("Q", (one[1] for one in every)), array("L", (one[2] for one in every))
        return cls((one[0] for one in every), sizes, runs, counts, shares)

    def spans(self) -> Iterator[tuple[int, int]]:
        """Yield where each run begins and ends; files of a run that do not stand together make several."""
        begin = 0
        for at in range(1, len(self) + 1):
            if at == len(self) or self.runs[at] != self.runs[begin]:
                yield begin, at
                begin = at
