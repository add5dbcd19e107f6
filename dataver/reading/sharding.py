"""In which order a reader reads its files in an epoch, and which of them each of its workers reads.

The idea: the order is a function of seed, epoch, paths and sizes, so every process finds it alone, and going
on in the middle of an epoch is a number. It is made for packs: runs of neighbours are shuffled as wholes,
then the files of some runs, as many as may be held in memory, among each other. So requests stay large, and
a file's place is still a matter of chance. `together` of None shuffles file by file.

    runs, shuffled              [c d e] [a b] [h i] [f g]
    workers take their slices   [c d e] [a b] | [h i] [f g]
    groups, shuffled            d a c e b     | g h f i

Slices hold the same bytes, or with `even` the same number of files.

Keeps invariant 7: values in, values out.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from dataver.arguments import check_range, check_word
from dataver.errors import InvalidInput
from dataver.hashing import checksum
from dataver.tree.shard import OVERHEAD

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dataver.reading.listing import Listing

__all__ = ["Even", "Plan", "WorkerShare"]

Even = Literal["drop", "repeat"]

_FIRST: Final = 1 << 20  # bytes of the first group: what comes first should come soon
_RUNS: Final = 1
_FILES: Final = 2


class WorkerShare(NamedTuple):
    """What one worker reads in an epoch.

    Attributes:
        order: places in the listing, in the order of reading.
        ends: where the groups end that are read together.
    """

    order: array[int]
    ends: array[int]

    def groups(self, position: int = 0) -> Iterator[Sequence[int]]:
        """Yield the groups from a position in the order on; of the first, what is left of it."""
        begin = position
        for end in self.ends:
            if end > begin:
                yield self.order[begin:end]
                begin = end


class Plan(NamedTuple):
    """How a reader goes through its files.

    Attributes:
        listing: the files.
        shuffle: whether each epoch has an order of its own.
        seed: which orders these are.
        together: bytes of the files that are shuffled among each other and read together; None shuffles file
            by file, and groups are as small as the first.
        even: "drop" or "repeat": every reader gets as many files as the one with the fewest, or the most.
    """

    listing: Listing
    shuffle: bool = False
    seed: int = 0
    together: int | None = 32 << 20
    even: Even | None = None

    def checked(self) -> Plan:
        """Return it.

        Raises:
            InvalidInput: one of its values cannot be.
        """
        check_word("even", self.even, ("drop", "repeat"))
        check_range("together", self.together, 1)
        if self.even == "repeat" and not len(self.listing) and max(self.listing.counts):
            raise InvalidInput(
                "this reader has no file to repeat.", hint="take fewer readers, or even='drop'"
            )
        return self

    def files(self) -> int:
        """Return how many files it reads in an epoch."""
        if self.even is None:
            return len(self.listing)
        return min(self.listing.counts) if self.even == "drop" else max(self.listing.counts)

    def turn(self, epoch: int = 0, worker: int = 0, workers: int = 1) -> WorkerShare:
        """Return what a worker reads in an epoch."""
        order = self._sequence(epoch)
        begin, stop = self._slices(order, workers)[worker]
        mine = order[begin:stop]
        ends = self._ends(mine)
        if self.shuffle and self.together is not None:
            salt, start = self._salt(epoch, _FILES), 0
            key = self._key(salt)
            for end in ends:
                mine[start:end] = array("L", sorted(mine[start:end], key=key))
                start = end
        return WorkerShare(mine, ends)

    def shares(self, epoch: int, workers: int) -> list[int]:
        """Return how many files each of some workers reads in an epoch."""
        return [stop - begin for begin, stop in self._slices(self._sequence(epoch), workers)]

    def _sequence(self, epoch: int) -> array[int]:
        """Return all places in the order of their runs."""
        listing = self.listing
        if not self.shuffle:
            order = array("L", range(len(listing)))
        elif self.together is None:
            order = array("L", sorted(range(len(listing)), key=self._key(self._salt(epoch, _FILES))))
        else:
            key = self._key(self._salt(epoch, _RUNS))
            order = array("L")
            for begin, end in sorted(listing.spans(), key=lambda span: key(span[0])):
                order.extend(range(begin, end))
        if self.even is None:
            return order
        count = self.files()
        while order and len(order) < count:
            order += order[: count - len(order)]
        return order[:count]

    def _slices(self, order: array[int], workers: int) -> list[tuple[int, int]]:
        """Return where the part of each worker begins and ends."""
        if self.even is not None:  # as many files, or readers would have more batches than others
            cuts = [len(order) * worker // workers for worker in range(workers)]
        else:
            weights = list(accumulate(self.listing.sizes[at] + OVERHEAD for at in order))
            total = weights[-1] if weights else 0
            cuts = [0, *(bisect_left(weights, total * worker // workers) for worker in range(1, workers))]
        return list(pairwise([*cuts, len(order)]))

    def _ends(self, order: array[int]) -> array[int]:
        """Cut an order into groups: small ones first, none larger than it may be but for a single file."""
        ends, size = array("L"), 0
        most = _FIRST if self.together is None else min(_FIRST, self.together)
        for at, place in enumerate(order):
            weight = self.listing.sizes[place] + OVERHEAD
            if size and size + weight > most:
                ends.append(at)
                size = 0
                if self.together is not None:
                    most = min(2 * most, self.together)
            size += weight
        if len(order):
            ends.append(len(order))
        return ends

    def _salt(self, epoch: int, what: int) -> int:
        return checksum(f"{self.seed} {epoch} {what}".encode())

    def _key(self, salt: int) -> _Key:
        return _Key(self.listing, salt.to_bytes(8, "little"))


class _Key:
    """A file's place in an order: a hash of its path, or of its place where a path comes twice."""

    def __init__(self, listing: Listing, salt: bytes) -> None:
        self._listing, self._salt = listing, salt

    def __call__(self, at: int) -> tuple[int, int]:
        return checksum(self._salt + self._listing.encoded(at)), at
