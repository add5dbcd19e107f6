"""Records of a repository: its published datasets and versions.

The store's listing determines what exists. A repository can be copied and diverge, or be restored from a
backup, so names do not identify records. A record in the disk cache belongs to an object at one location with
the stamp of a listing (`ObjectInfo.stamp`), and is used only if a current listing has the same stamp. Without
a listing the store is read. A version with a tombstone is deleted, even if its record still exists, and its
label is never reused.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple, TypeAlias, TypeVar

from dataver import parallel
from dataver.cache.object_cache import DiskCache
from dataver.errors import Conflict, DataverError, IntegrityError, InvalidInput, NotFound
from dataver.formats.canonical_json import MAX_JSON
from dataver.formats.names import is_other_case
from dataver.formats.record import ParentRef, Record, parse_record, record_id
from dataver.formats.tombstone import Tombstone, parse_tombstone
from dataver.hashing import CONTEXT_STATE, derived
from dataver.repository.layout import (
    DATASETS,
    parse_record_key,
    parse_tombstone_key,
    record_key,
    record_prefix,
    tombstone_key,
)
from dataver.repository.record_copies import MANY, RecordCopies, md5_of
from dataver.storage import ObjectInfo, Store

__all__ = ["Labels", "Listed", "Published", "Records", "VersionNames"]


_Read = TypeVar("_Read")
_Listing: TypeAlias = dict[tuple[str, str], ObjectInfo]  # by dataset and label
Labels: TypeAlias = dict[str, ObjectInfo]  # by label, sorted as text
Listed: TypeAlias = tuple[str, str, ObjectInfo | None]  # dataset, label, and the record's entry in a listing


_NEWEST = 4  # tombstones: others of the same second may have been written by a deletion


class Published(NamedTuple):
    """A published record and its id (64 hex)."""

    record: Record
    record_id: str

    def __repr__(self) -> str:
        return f"Published({self.ref!r}, record_id={self.record_id[:16]}…)"

    @property
    def ref(self) -> str:
        """The version's name: `dataset@label`."""
        return f"{self.record.dataset}@{self.record.label}"


class VersionNames(NamedTuple):
    """The labels of a dataset, from a listing.

    Attributes:
        dataset: the dataset.
        labels: its versions by label, sorted as text.
        deleted: labels of deleted versions, likewise; no new version may have them.
    """

    dataset: str
    labels: Labels
    deleted: list[str]

    @property
    def state(self) -> str:
        """Identifier of the state of the dataset: 64 hex, different for each set of labels."""
        text = "\0".join([self.dataset, *self.labels, "", *self.deleted])
        return derived(CONTEXT_STATE, text.encode()).hex()


class Records:
    """The records of one repository."""

    def __init__(self, store: Store, cache: DiskCache | None) -> None:
        self._store = store
        self._cache = cache
        self._copies = RecordCopies(store)
        self._ids: dict[tuple[str, str], str] = {}  # of the records that were read
        self._claims: dict[tuple[str, str], tuple[str, str]] = {}  # by a child: id, and its name

    def get(self, dataset: str, label: str, info: ObjectInfo | None = None) -> Published:
        """Return the record of `dataset@label`.

        Args:
            dataset: the dataset.
            label: the label.
            info: its entry in a listing, which permits use of the cache.

        Raises:
            NotFound: no such version.
            IntegrityError: the object is not the record of that version, or does not match the parent id in
                a child that was read before.
        """
        return self._in_history(self.read(dataset, label, info))

    def read(self, dataset: str, label: str, info: ObjectInfo | None = None) -> Published:
        """Do what `get` does, without comparing the record with its parents and children."""
        key = record_key(dataset, label)
        name = self._cached_as(dataset, label, info)
        data = self._cache.get(name) if self._cache and name else None
        if data is not None:
            try:
                return _parse(data, dataset, label)
            except IntegrityError:
                pass  # a damaged cache is only a miss
        try:
            data = self._store.get_bounded(key, MAX_JSON)
        except NotFound as error:
            raise NotFound(f"there is no version {dataset}@{label} in {self._store.url}.") from error
        published = _parse(data, dataset, label)
        if self._cache and name:
            self._cache.put(name, data)
        return published

    def _cached_as(self, dataset: str, label: str, info: ObjectInfo | None) -> str:
        """Return the name of a record in the cache; an empty text if it cannot be there."""
        stamp = info.stamp if info is not None and self._cache else None
        return "" if stamp is None else f"{self._store.location}\n{record_key(dataset, label)}\n{stamp}"

    def prepare(self, refs: Iterable[Listed]) -> None:
        """Fill the cache with records that are about to be read, with few requests if they are many."""
        if self._cache is None:
            return
        missing: dict[str, str] = {}
        datasets = set()
        for dataset, label, info in refs:
            md5 = None if info is None else md5_of(info)
            if md5 and (name := self._cached_as(dataset, label, info)) and name not in self._cache:
                missing[md5] = name
                datasets.add(dataset)
        if len(missing) >= MANY:
            for md5, data in self._copies.read(datasets, missing):
                self._cache.put(missing[md5], data)

    def extend_copies(self, dataset: str, listed: Labels) -> None:
        """Copy the newest of the listed records into one object, if many have no copy yet."""
        self._copies.extend(dataset, listed, partial(self._encoded, dataset, listed))

    def rewrite_copies(self) -> None:
        """Write copies of all records of datasets with many of them, and delete other copies."""
        for dataset, listed in self.datasets().items():
            self._copies.rewrite(dataset, listed, partial(self._encoded, dataset, listed))

    def _encoded(self, dataset: str, listed: Labels, labels: Iterable[str]) -> list[bytes]:
        found = self.attempts((dataset, label, listed[label]) for label in labels)
        return [each.record.encode() for each in found if isinstance(each, Published)]

    def _in_history(self, published: Published) -> Published:
        """Compare a record with those of its children and parents that were read."""
        record = published.record
        name = record.dataset, record.label
        self._ids[name] = published.record_id
        parents = [((each.dataset, each.label), each.record) for each in record.parents]
        for parent, claimed in parents:
            self._claims[parent] = claimed, published.ref
        for version in (name, *(parent for parent, _ in parents)):
            claimed, child = self._claims.get(version, ("", ""))
            if claimed and self._ids.get(version, claimed) != claimed:
                raise IntegrityError(
                    f"the record of {'@'.join(version)} is not the one that {child} was made from.",
                    hint="it was replaced; restore it from a copy of the repository",
                )
        return published

    def find(self, dataset: str, label: str) -> Published:
        """Return the record of `dataset@label` without a listing of the dataset's other labels.

        Raises:
            NotFound: no such version, or it was deleted.
            IntegrityError: as for `get`.
        """
        name = dataset, label
        there, deleted = self._listed(f"{record_prefix(dataset)}{label}.")
        if name not in there or name in deleted:
            raise NotFound(f"there is no version {dataset}@{label} in {self._store.url}.")
        return self.get(dataset, label, there[name])

    def read_back(self, dataset: str, label: str) -> Published | None:
        """Return the record, read from the store, or None."""
        try:
            return self.get(dataset, label)
        except NotFound:
            return None

    def names(self, dataset: str) -> VersionNames:
        """List a dataset's versions and deleted versions."""
        there, deleted = self._listed(record_prefix(dataset))
        gone = sorted(label for name, label in deleted if name == dataset)
        living = sorted(there.keys() - deleted.keys())
        labels = {label: there[name, label] for name, label in living if name == dataset}
        return VersionNames(dataset, labels, gone)

    def listed(self, dataset: str) -> Labels:
        """List a dataset's records by label; empty if there is no such dataset."""
        return self.names(dataset).labels

    def labels(self, dataset: str) -> list[str]:
        """Return the labels of a dataset's versions, sorted as text; empty if there is no such dataset."""
        return list(self.listed(dataset))

    def datasets(self, prefix: str = "", *, uncached: bool = False) -> dict[str, Labels]:
        """List the records of all datasets whose name starts with `prefix`.

        With `uncached`, the request differs from the usual one, so that a cache between here and the store
        does not give the same answer.
        """
        there, deleted = self._listed(DATASETS, DATASETS if uncached else None)
        found: dict[str, Labels] = defaultdict(dict)
        for name, label in sorted(there.keys() - deleted.keys()):
            if name.startswith(prefix):
                found[name][label] = there[name, label]
        return dict(found)

    def refuse_dataset(self, name: str, others: Iterable[str] | None = None) -> None:
        """Raise an error if a part of a new dataset's name differs from an existing one only in case.

        Both would be the same on a case-insensitive file system.

        Args:
            name: the new name.
            others: the existing datasets; None lists them.

        Raises:
            InvalidInput: names the other one.
            Conflict: a dataset of this name was renamed.
        """
        if others is None:
            self.refuse_renamed(name)
        parts = name.split("/")
        for other in self.datasets() if others is None else others:
            for ours, theirs in zip(parts, other.split("/"), strict=False):
                if ours != theirs:
                    if is_other_case(ours, theirs):
                        raise InvalidInput(
                            f"'{name}' differs from the dataset '{other}' in upper and lower case only.",
                            hint=f"write '{theirs}' for '{ours}', or choose another name",
                        )
                    break

    def deleted(self, prefix: str = "") -> dict[tuple[str, str], ObjectInfo]:
        """Return the tombstones of datasets whose name starts with `prefix`, by `(dataset, label)`.

        `modified` is the time of the deletion by the store's clock.
        """
        found = self._listed(f"{DATASETS}{prefix}")[1]
        return {name: info for name, info in found.items() if name[0].startswith(prefix)}

    def interrupted_deletions(self) -> list[ObjectInfo]:
        """Return the records left by interrupted deletions: those that have a tombstone."""
        there, deleted = self._listed(DATASETS)
        return [info for name, info in there.items() if name in deleted]

    def tombstone(self, dataset: str, label: str) -> Tombstone | None:
        """Return the tombstone of a deleted version, or None if it was not deleted.

        Raises:
            IntegrityError: the object is not the tombstone of that version.
        """
        try:
            data = self._store.get_bounded(tombstone_key(dataset, label), MAX_JSON)
        except NotFound:
            return None
        found = parse_tombstone(data)
        if (found.dataset, found.label) != (dataset, label):
            raise IntegrityError(f"the tombstone stored as {dataset}@{label} belongs to {found.ref}.")
        return found

    def renamed(self, dataset: str) -> Tombstone | None:
        """Return a tombstone with the new name of a dataset without versions, or None if it was not renamed.

        Those of a rename are the newest ones.
        """
        infos = self._listed(record_prefix(dataset))[1]
        gone = {label: info.modified for (name, label), info in infos.items() if name == dataset}
        if all(gone.values()):
            newest = sorted(gone, key=lambda label: (gone[label], label), reverse=True)[:_NEWEST]
        else:  # the store does not report times
            newest = sorted(gone, reverse=True)
        return next(
            (each for label in newest if (each := self.tombstone(dataset, label)) and each.renamed), None
        )

    def refuse_renamed(self, dataset: str) -> None:
        """Raise an error if a dataset was renamed, so that its old name is not used again.

        Raises:
            Conflict: names the new name.
        """
        gone = self.renamed(dataset)
        if gone is not None:
            raise Conflict(
                f"the dataset '{dataset}' was renamed to '{gone.renamed}' on {gone.deleted:%Y-%m-%d} "
                f"by {gone.author}.",
                hint=f"use {gone.renamed}, or another name for a new dataset",
            )

    def of_parent(self, parent: ParentRef, info: ObjectInfo | None = None) -> Published | None:
        """Return the record of a parent, from its tombstone if it was deleted, or None.

        `info` is its entry in a listing, as in `get`.
        """
        try:
            found = self.get(parent.dataset, parent.label, info)
        except NotFound:
            gone = self.tombstone(parent.dataset, parent.label)
            if gone is None or gone.was is None:
                return None
            found = Published(gone.was, gone.record)
        return found if found.record_id == parent.record else None

    def many(self, refs: Iterable[Listed]) -> list[Published]:
        """Return several records in the given order; read concurrently from a remote store."""
        return self._each(refs, self.get)

    def there(self, refs: Iterable[Listed]) -> list[Published]:
        """Do what `many` does, without the versions that were deleted since they were listed."""
        found = []
        for each in self.attempts(refs):
            if isinstance(each, Published):
                found.append(each)
            elif not isinstance(each, NotFound):
                raise each
        return found

    def attempts(self, refs: Iterable[Listed]) -> list[Published | DataverError]:
        """Do what `many` does, with an error in place of each record that cannot be read."""

        def attempt(*ref: Any) -> Published | DataverError:
            try:
                return self.get(*ref)
            except DataverError as error:
                return error

        return self._each(refs, attempt)

    def _each(self, refs: Iterable[Listed], read: Callable[..., _Read]) -> list[_Read]:
        wanted = list(refs)
        if self._store.local_root is not None or len(wanted) < 2:
            return [read(*ref) for ref in wanted]
        self.prepare(wanted)
        with parallel.pool(min(parallel.REQUESTS, len(wanted)), "records") as pool:
            return list(pool.map(lambda ref: read(*ref), wanted))

    def versions(self, dataset: str) -> list[Published]:
        """Return all versions of a dataset, oldest first."""
        found = self.there((dataset, *one) for one in self.listed(dataset).items())
        return sorted(found, key=lambda each: (each.record.created, each.record.label))

    def everything(self, *, uncached: bool = False) -> list[Listed]:
        """Return all versions of all datasets, for `many`; `uncached` as for `datasets`."""
        found = self.datasets(uncached=uncached)
        return [(name, *one) for name, labels in found.items() for one in labels.items()]

    def _listed(self, prefix: str, after: str | None = None) -> tuple[_Listing, _Listing]:
        """Return the records below a prefix, and the tombstones."""
        there: _Listing = {}
        deleted: _Listing = {}
        for info in self._store.list(prefix, after):
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
    found, wanted = f"{record.dataset}@{record.label}", f"{dataset}@{label}"
    if is_other_case(found, wanted):
        raise NotFound(
            f"there is no version {wanted}, but {found}: the store ignores upper and lower case.",
            hint=f"write {found}",
        )
    if found != wanted:
        raise IntegrityError(
            f"the record stored as {wanted} belongs to {found}.",
            hint="objects were moved inside the repository; restore the record from a copy",
        )
    return Published(record, record_id(data).hex())
