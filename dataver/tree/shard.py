"""Splitting a version among readers that do not communicate: the rank of each path.

The idea, in two steps, both functions of the paths and sizes alone:

1. *Runs.* The entries in path order are cut into runs. A run ends after an entry selected by its hash, with a
   probability of its weight over the wanted weight of a run. So a run has about that weight, and whether it
   ends at an entry depends on that entry alone: a new entry lengthens a run or splits one. Neighbours stay
   together because they are adjacent in packs.
2. *Places.* Each run goes to the rank drawn by a hash of its name (its last path), unless that rank would
   exceed its bound; then it draws again until one has room. This is consistent hashing with bounded loads
   (Mirrokni, Thorup and Zadimoghaddam, 2018). Heavy runs are placed first, light ones fill the gaps.

Properties, in weight (`OVERHEAD` and the size of each entry):

- Every entry has exactly one rank, and all readers compute the same without communication.
- No rank has more than 17/16 of the mean, or the mean and one run if a run is that heavy.
- When a tenth is added, about a tenth of the old entries move to another rank, and fewer if names are added
  at the end (tests/tree/test_tree_shard.py). It is impossible that none move: the rank would be a function of
  the path alone, and the balance random. Runs get longer as a version grows, up to `RUN`: when the wanted
  weight doubles, about half move, once.

The numbers below are part of the format (docs/format.md): lineage says "shard 3 of 8" for years.

Keeps invariant 7: values in, values out.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection
from typing import TYPE_CHECKING, Final, NamedTuple

from dataver.errors import InvalidInput
from dataver.hashing import checksum, path_hash

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["OVERHEAD", "RUN", "RUNS", "Shard", "Split", "split"]

OVERHEAD: Final = 1024
"""Weight of an entry besides its bytes."""
RUN: Final = 2 << 20
"""The largest wanted weight of a run."""
RUNS: Final = 64
"""Minimum number of runs per rank, if runs can be light enough."""

_SLACK: Final = 16  # a rank may have the mean and a sixteenth of it
_DRAWS: Final = 64  # then the run goes to the lightest rank
_CUTS: Final = 0x5EED  # seed of the hash that ends runs; larger than the seeds of tree levels
_WORLD: Final = 1 << 20


class Shard(NamedTuple):
    """Some of the parts that a version is split into.

    Attributes:
        ranks: numbers of the parts, ascending; often one.
        world: number of parts that the version is split into.
    """

    ranks: tuple[int, ...]
    world: int

    def __str__(self) -> str:
        return f"{','.join(map(str, self.ranks))}/{self.world}"

    @classmethod
    def of(cls, given: object) -> Shard:
        """Return the shard from `(rank, world)` or `(ranks, world)`.

        Raises:
            InvalidInput: it is not a shard.
        """
        found: tuple[int, ...] = ()
        world = 0
        if isinstance(given, tuple) and len(given) == 2 and type(given[1]) is int:
            ranks, world = given
            some = (ranks,) if isinstance(ranks, int) else ranks if isinstance(ranks, Collection) else ()
            if all(type(rank) is int for rank in some):
                found = tuple(sorted(set(some)))
        if not found or not 0 < world <= _WORLD or found[0] < 0 or found[-1] >= world:
            raise InvalidInput(
                f"{given!r} is not a shard.", hint="a shard is (rank, world), ranks count from 0"
            )
        return cls(found, world)

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Return the shard from a text such as `3/8` or `0,1/8`.

        Raises:
            InvalidInput: it is not a shard.
        """
        ranks, _, world = text.partition("/")
        try:
            return cls.of(([int(rank) for rank in ranks.split(",")], int(world)))
        except ValueError as error:
            raise InvalidInput(f"'{text}' is not a shard.", hint="write RANK/WORLD, such as 3/8") from error

    @property
    def whole(self) -> bool:
        """Whether it includes all parts."""
        return len(self.ranks) == self.world


class Split(NamedTuple):
    """The result of splitting entries.

    Attributes:
        ranks: the rank of each entry, in the given order.
        runs: the number of each entry's run, ascending.
        loads: the weight of each rank.
    """

    ranks: array[int]
    runs: array[int]
    loads: list[int]


def split(entries: Iterable[tuple[str, int]], world: int) -> Split:
    """Split entries among `world` readers.

    Args:
        entries: paths and sizes, in path order.
        world: number of readers.
    """
    hashes, weights = array("Q"), array("Q")
    for path, size in entries:
        hashes.append(path_hash(path.encode("utf-8", "surrogateescape"), _CUTS))
        weights.append(size + OVERHEAD)
    total = sum(weights)
    runs, names, loads = _runs(hashes, weights, _wanted(total, world))
    places = _place(names, loads, world, total)
    carried = [0] * world
    for place, load in zip(places, loads, strict=True):
        carried[place] += load
    return Split(array("L", map(places.__getitem__, runs)), runs, carried)


def _wanted(total: int, world: int) -> int:
    """Return the wanted weight of a run: a power of two, so that each rank gets about `RUNS` of them."""
    fair = min(total // (world * RUNS), RUN)
    return 1 << (fair.bit_length() - 1) if fair else 1


def _runs(hashes: array[int], weights: array[int], wanted: int) -> tuple[array[int], list[int], list[int]]:
    """Cut entries into runs; return the run of each, and the names and weights of the runs."""
    runs, names, loads = array("L"), [], []
    number = load = 0
    for name, weight in zip(hashes, weights, strict=True):
        runs.append(number)
        load += weight
        if weight >= wanted or name * wanted < weight << 64:
            names.append(name)
            loads.append(load)
            number, load = number + 1, 0
    if load:  # the last run has no end yet
        names.append(0)
        loads.append(load)
    return runs, names, loads


def _place(names: list[int], loads: list[int], world: int, total: int) -> list[int]:
    """Return the rank of each run."""
    places = [0] * len(names)
    if world == 1:
        return places
    bound = (total + total // _SLACK) // world
    carried = [0] * world
    for number in sorted(range(len(names)), key=lambda at: (-loads[at].bit_length(), names[at], at)):
        place = _draw(names[number].to_bytes(8, "little"), loads[number], carried, bound)
        carried[place] += loads[number]
        places[number] = place
    return places


def _draw(name: bytes, load: int, carried: list[int], bound: int) -> int:
    world = len(carried)
    for attempt in range(_DRAWS):
        place = checksum(name, attempt.to_bytes(8, "little")) % world
        if carried[place] + load <= bound:
            return place
    return carried.index(min(carried))
