"""Ancestors of versions, read with few requests.

The idea: each record is read once. The first one is read alone. For the next ones the dataset is listed, and
each read also takes the records that the store received just before, twice as many as the last time: these
are probably the next ancestors. So a long walk has few rounds of concurrent requests, and a short one reads
little more than it needs.

No ancestor is newer than its descendants (`Position.place`), so a walk from the newest version down ends
where its answer is, and does not read the rest of the history.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from heapq import heappop, heappush
from itertools import count
from typing import Final

from dataver.errors import DataverError, NotFound
from dataver.formats.record import ParentRef
from dataver.repository.records import Labels, Published, Records

__all__ = ["Ancestry"]

_MOST: Final = 256  # records of one round
_MANY: Final = 32  # records of a round from which on the walk is probably a long one
_OURS: Final = 1
_THEIRS: Final = 2


class Ancestry:
    """The ancestors of versions, for one operation: records published or deleted later are not seen.

    Args:
        records: the published records.
        labels: labels of datasets that were listed just now.
    """

    def __init__(self, records: Records, labels: Mapping[str, Labels] | None = None) -> None:
        self._records = records
        self._labels = dict(labels or {})
        self._orders: dict[str, tuple[list[str], dict[str, int]]] = {}
        self._found: dict[tuple[str, str], Published | DataverError] = {}
        self._prepared: set[str] = set()
        self._ahead = 1

    def parent(self, parent: ParentRef) -> Published | None:
        """Return the record of a parent, from its tombstone if it was deleted, or None."""
        found = self._get(parent.dataset, parent.label)
        if found is None:
            return self._records.of_parent(parent)
        return found if found.record_id == parent.record else None

    def descends(self, starts: Iterable[ParentRef], wanted: Published) -> bool:
        """Return whether a version is one of `starts` or an ancestor of one; deleted versions count."""
        queue, seen = list(starts), set[str]()
        for ref in queue:
            if ref.record == wanted.record_id:
                return True
            if ref.record in seen:
                continue
            seen.add(ref.record)
            found = self.parent(ref)
            if found is not None and found.record.created >= wanted.record.created:
                queue.extend(found.record.parents)
        return False

    def walk(self, starts: Iterable[Published]) -> Iterator[Published]:
        """Yield versions and their ancestors, newest first; deleted ones end the walk."""
        return (each for each, _ in self._walk((each, _OURS) for each in starts))

    def common(self, ours: Iterable[Published], theirs: Published) -> Published | None:
        """Return the newest common ancestor of versions, which may be one of them, or None."""
        starts = [*((each, _OURS) for each in ours), (theirs, _THEIRS)]
        return next((each for each, sides in self._walk(starts) if sides == _OURS | _THEIRS), None)

    def _walk(self, starts: Iterable[tuple[Published, int]]) -> Iterator[tuple[Published, int]]:
        """Yield versions, newest first, with the sides that reach them; once more if a side is added."""
        reached: dict[str, int] = {}
        heap: list[tuple[float, int, Published]] = []
        number = count()

        def reach(version: Published, sides: int) -> None:
            before = reached.get(version.record_id, 0)
            if before | sides != before:
                reached[version.record_id] = before | sides
                heappush(heap, (-version.record.created.timestamp(), next(number), version))

        for version, side in starts:
            self._found[version.record.dataset, version.record.label] = version
            reach(version, side)
        done: dict[str, int] = {}
        while heap:
            version = heappop(heap)[2]
            sides = reached[version.record_id]
            if done.get(version.record_id) != sides:
                done[version.record_id] = sides
                yield version, sides
                for parent in version.record.parents:
                    found = self._get(parent.dataset, parent.label)
                    if found is not None:
                        reach(found, sides)

    def _get(self, dataset: str, label: str) -> Published | None:
        """Return a version, or None if it was deleted.

        Raises:
            IntegrityError: its record is damaged, or is not the one that a child was made from.
        """
        if (dataset, label) not in self._found:
            self._read(dataset, label)
        found = self._found[dataset, label]
        if isinstance(found, NotFound):
            return None
        if isinstance(found, DataverError):
            raise found
        return found

    def _read(self, dataset: str, label: str) -> None:
        """Read a record, and some of those that the store received just before it."""
        if self._ahead == 1 and dataset not in self._labels:
            try:
                self._found[dataset, label] = self._records.find(dataset, label)
            except DataverError as error:
                self._found[dataset, label] = error
            self._ahead = 2
            return
        order, places = self._order(dataset)
        if label not in places:
            self._found[dataset, label] = NotFound(f"there is no version {dataset}@{label}.")
            return
        labels, last = self._labels[dataset], places[label] + 1
        if self._ahead >= _MANY and dataset not in self._prepared:
            self._prepared.add(dataset)
            self._records.prepare((dataset, *each) for each in labels.items())
        near = reversed(order[max(0, last - self._ahead) : last])
        wanted = [(dataset, each, labels[each]) for each in near if (dataset, each) not in self._found]
        for each, found in zip(wanted, self._records.attempts(wanted), strict=True):
            self._found[each[:2]] = found
        self._ahead = min(_MOST, 2 * self._ahead)

    def _order(self, dataset: str) -> tuple[list[str], dict[str, int]]:
        """Return the labels of a dataset, oldest first by the store's clock, and their positions."""
        if dataset not in self._orders:
            labels = self._labels.get(dataset)
            if labels is None:
                labels = self._labels[dataset] = self._records.listed(dataset)
            order = sorted(labels, key=lambda label: (_stored(labels[label].modified), label))
            self._orders[dataset] = order, {label: number for number, label in enumerate(order)}
        return self._orders[dataset]


def _stored(time: datetime | None) -> float:
    return 0.0 if time is None else time.timestamp()
