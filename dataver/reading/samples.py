"""Samples of a version's files: which files, in which order, how decoded, and read ahead in groups.

The idea: one thread reads the next group while the caller uses the current one, so memory holds two groups,
and the requests of a group run in parallel. If the version was fetched to this machine, each file is read
when it is needed, from the page cache. All reads belong to the run in which the first file is requested.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dataver import parallel
from dataver.checkout.distributed_rank import as_shard
from dataver.errors import InvalidInput
from dataver.formats.event import Subset
from dataver.reading.listing import Listing
from dataver.tree.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dataver.reading.files import Files
    from dataver.reading.sharding import Plan
    from dataver.repository import RepositoryCore

__all__ = ["Decode", "Sample", "SampleSource", "ShardLike", "contents"]


_RECORDED: Final = 256  # files that a pass records together


class Sample(NamedTuple):
    """A file, as returned without `decode`.

    Attributes:
        path: its path in the version.
        data: its bytes, or with `opened` an open file.
    """

    path: str
    data: Any


Decode = Callable[[str, Any], Any]
ShardLike = tuple[int | Iterable[int], int] | str | None


class SampleSource:
    """The files of one reader and the decoding of samples; pickled for workers."""

    def __init__(
        self,
        repo: RepositoryCore,
        files: Files,
        include: str | Iterable[str] | None,
        listing: Iterable[str] | None,
        shard: ShardLike,
        decode: Decode | None,
        *,
        exclude: str | Iterable[str],
        opened: bool,
    ) -> None:
        self.files = files
        self.shard, self.decode, self.opened = as_shard(shard), decode, opened
        self.selection: Selection | None = None
        if listing is not None:
            if include is not None or exclude:
                raise InvalidInput("`listing` cannot be combined with `include` or `exclude`.")
            named = [listing] if isinstance(listing, str) else listing
            self.listing = Listing.chosen(((path, files.size(path)) for path in named), self.shard)
        else:
            tree = files.published.record.tree
            self.selection = Selection.of(repo.tree(tree), include, exclude, self.shard)
            self.listing = Listing.of(repo, tree, self.selection)

    def sample(self, path: str, data: Any) -> Any:
        """Return the sample of a file."""
        return Sample(path, data) if self.decode is None else self.decode(path, data)

    def named(self, places: Iterable[int]) -> list[tuple[str, int]]:
        """Return the paths and sizes of files by their places in the listing."""
        listing = self.listing
        return [(listing[at], listing.sizes[at]) for at in places]

    def announce(self) -> None:
        """Declare the shard to lineage, which records it instead of all paths once it has been read."""
        if self.selection is None:
            return
        ranks = self.listing.shares if self.shard is not None else {0: self.listing.shares[0]}
        world = 1 if self.shard is None else self.shard.world
        include = tuple(sorted(set(self.selection.include)))
        for rank, (files, size) in ranks.items():
            shard = (rank, world) if world > 1 else None
            subset = Subset(include, shard=shard, exclude=self.selection.exclude)
            self.files.note_shard(subset, files, size)

    def identity(self, plan: Plan) -> dict[str, Any]:
        """Return the values that must be equal for a saved position to be valid."""
        shard = "all" if self.shard is None else str(self.shard)
        selection = self.selection
        return {
            "version": self.files.digest,
            "paths": None if selection is None else list(selection.include),
            "exclude": [] if selection is None else list(selection.exclude),
            "shard": shard,
            "files": len(self.listing),
            "shuffle": plan.shuffle,
            "seed": plan.seed,
            "together": plan.together,
            "even": plan.even,
        }

    def check_state(self, state: Mapping[str, Any], plan: Plan) -> None:
        """Check that a saved position is of the same version, files and order.

        Raises:
            InvalidInput: it is not.
        """
        for name, value in self.identity(plan).items():
            if state.get(name, value) != value:
                raise InvalidInput(
                    f"the saved state has {name} {state[name]!r}, not {value!r}: "
                    "its position is not valid here."
                )


def contents(
    files: Files, groups: Iterable[Sequence[tuple[str, int]]], *, opened: bool = False
) -> Iterator[tuple[str, Any]]:
    """Yield paths and the bytes of their files.

    Args:
        files: what is read.
        groups: paths with sizes, those together that are read together.
        opened: give open files instead, which the caller closes and which read ahead themselves.

    Raises:
        PathNotFound, IntegrityError, StoreError: as `Files.read_many`.
    """
    files = files.in_current_run()
    if opened:
        for group in groups:
            for path, _ in group:
                yield path, files.open(path)
    elif files.fetched:
        coming = chain.from_iterable(groups)
        while batch := list(islice(coming, _RECORDED)):
            for (path, _), data in zip(batch, files.read_each(batch), strict=True):
                yield path, data
    else:
        yield from _ahead(files, groups)


def _ahead(files: Files, groups: Iterable[Sequence[tuple[str, int]]]) -> Iterator[tuple[str, bytes]]:
    coming = iter(groups)
    group = next(coming, None)
    if group is None:
        return
    pool = parallel.pool(1, "ahead")
    try:
        found = pool.submit(_read, files, group)
        while group is not None:
            following = next(coming, None)
            read = found.result()
            if following is not None:
                found = pool.submit(_read, files, following)
            read.reverse()
            for path, _ in group:
                yield path, read.pop()  # bytes that were given out are not kept
            group = following
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _read(files: Files, group: Sequence[tuple[str, int]]) -> list[bytes]:
    return files.read_many([(path, 0, None) for path, _ in group])
