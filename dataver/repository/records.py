"""Records of a repository: which datasets and versions are published.

The store's listing says what exists; the records themselves never change, so a copy in the disk cache is as
good as the object (its bytes still have to parse as the record of that key). A version with a tombstone is
deleted, whether or not its record is still there; its label is never used again, so no cached record ever
stands for another version.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

from dataver.errors import IntegrityError, NotFound
from dataver.formats.record import Record, parse_record, record_id
from dataver.formats.tombstone import Tombstone, parse_tombstone
from dataver.repository.layout import (
    DATASETS,
    parse_record_key,
    parse_tombstone_key,
    record_key,
    record_prefix,
    tombstone_key,
)
from dataver.storage import DiskCache, ObjectInfo, Store

__all__ = ["Published", "Records"]

_PARALLEL = 16  # requests in flight when many records are read


_Listing: TypeAlias = dict[tuple[str, str], ObjectInfo]  # by dataset and label


class Published(NamedTuple):
    """A record as it stands in the repository, and its id (64 hex)."""

    record: Record
    record_id: str

    @property
    def ref(self) -> str:
        """The name people use: `dataset@label`."""
        return f"{self.record.dataset}@{self.record.label}"


class Records:
    """The records of one repository."""

    def __init__(self, store: Store, cache: DiskCache | None) -> None:
        self._store = store
        self._cache = cache

    def get(self, dataset: str, label: str) -> Published:
        """Return the record of `dataset@label`.

        Raises:
            NotFound: no such version.
            IntegrityError: the object is not the record of that version.
        """
        key = record_key(dataset, label)
        data = self._cache.get(key) if self._cache else None
        if data is not None:
            try:
                return _parse(data, dataset, label)
            except IntegrityError:
                pass  # a damaged cache is only a miss
        try:
            data = self._store.get(key)
        except NotFound as error:
            raise NotFound(f"there is no version {dataset}@{label} in {self._store.url}.") from error
        published = _parse(data, dataset, label)
        if self._cache:
            self._cache.put(key, data)
        return published

    def read_back(self, dataset: str, label: str) -> Published | None:
        """Return the record as the store has it now, past any cache, or None."""
        try:
            return _parse(self._store.get(record_key(dataset, label)), dataset, label)
        except NotFound:
            return None

    def labels(self, dataset: str) -> list[str]:
        """Return the labels of a dataset's versions, sorted as text; empty when there is no such dataset."""
        there, deleted = self._listed(record_prefix(dataset))
        return sorted(label for name, label in there.keys() - deleted.keys() if name == dataset)

    def taken(self, dataset: str) -> list[str]:
        """Return the labels that no new version may have: those of versions, and of deleted ones."""
        there, deleted = self._listed(record_prefix(dataset))
        return sorted(label for name, label in there.keys() | deleted.keys() if name == dataset)

    def datasets(self, prefix: str = "") -> dict[str, list[str]]:
        """Return the labels of every dataset whose name starts with `prefix`."""
        there, deleted = self._listed(DATASETS)
        found: dict[str, list[str]] = defaultdict(list)
        for name, label in sorted(there.keys() - deleted.keys()):
            if name.startswith(prefix):
                found[name].append(label)
        return dict(sorted(found.items()))

    def deleted(self, prefix: str = "") -> dict[tuple[str, str], ObjectInfo]:
        """Return `(dataset, label)` of the deleted versions of datasets whose name starts so.

        What the store says about the tombstone comes with each: `modified` is when, by the store's clock.
        """
        found = self._listed(f"{DATASETS}{prefix}")[1]
        return {name: info for name, info in found.items() if name[0].startswith(prefix)}

    def unburied(self) -> list[ObjectInfo]:
        """Return the records that interrupted deletions left: they have a tombstone and count for nothing."""
        there, deleted = self._listed(DATASETS)
        return [info for name, info in there.items() if name in deleted]

    def tombstone(self, dataset: str, label: str) -> Tombstone | None:
        """Return what is left of a deleted version, or None where it was not deleted.

        Raises:
            IntegrityError: the object is not the tombstone of that version.
        """
        try:
            data = self._store.get(tombstone_key(dataset, label))
        except NotFound:
            return None
        found = parse_tombstone(data)
        if (found.dataset, found.label) != (dataset, label):
            raise IntegrityError(f"the tombstone stored as {dataset}@{label} says it is {found.ref}'s.")
        return found

    def forget(self, dataset: str, label: str) -> None:
        """Drop this machine's copy of a record."""
        if self._cache:
            self._cache.remove(record_key(dataset, label))

    def many(self, refs: Iterable[tuple[str, str]]) -> list[Published]:
        """Return several records in the order asked, reading them in parallel where the store is remote."""
        wanted = list(refs)
        if self._store.local_root is not None or len(wanted) < 2:
            return [self.get(*ref) for ref in wanted]
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(min(_PARALLEL, len(wanted))) as pool:
            return list(pool.map(lambda ref: self.get(*ref), wanted))

    def versions(self, dataset: str) -> list[Published]:
        """Return all versions of a dataset, oldest first."""
        found = self.many((dataset, label) for label in self.labels(dataset))
        return sorted(found, key=lambda each: (each.record.created, each.record.label))

    def _listed(self, prefix: str) -> tuple[_Listing, _Listing]:
        """Return the records below a prefix, and the tombstones."""
        there: _Listing = {}
        deleted: _Listing = {}
        for info in self._store.list(prefix):
            if record := parse_record_key(info.key):
                there[record] = info
            elif tombstone := parse_tombstone_key(info.key):
                deleted[tombstone] = info
        return there, deleted


def _parse(data: bytes, dataset: str, label: str) -> Published:
    try:
        record = parse_record(data)
    except IntegrityError as error:
        raise IntegrityError(
            f"the record of {dataset}@{label} is damaged: {error.message}.",
            hint="other versions stay readable; restore the record from a copy of the repository",
        ) from error
    if (record.dataset, record.label) != (dataset, label):
        raise IntegrityError(
            f"the record stored as {dataset}@{label} says it is {record.dataset}@{record.label}.",
            hint="somebody moved objects inside the repository; restore the record from a copy",
        )
    return Published(record, record_id(data).hex())
