"""Descriptions of versions and datasets, stored as numbered objects beside the records.

Keeps invariant 2: a description is created exclusively and never changed. Each is complete, so the current
one is read with one request after a listing. An edit that another writer overtakes is applied to that
writer's description: of one field the last edit stays, and no edit of another field is lost.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any, Final

from dataver import parallel
from dataver.errors import FormatTooNew, IntegrityError, InvalidInput, NotFound
from dataver.formats.canonical_json import MAX_JSON
from dataver.formats.description import Description, parse_description
from dataver.formats.entry import Entry, Kind
from dataver.log import info
from dataver.repository.layout import (
    DESCRIPTIONS,
    description_key,
    description_prefix,
    parse_description_key,
)
from dataver.repository.numbered import append_numbered
from dataver.repository.records import Published
from dataver.storage import Store
from dataver.tree import Tree

__all__ = ["MAX_README", "Descriptions", "Edit", "find_readme", "numbers_below", "undescribed"]

MAX_README: Final = 512 << 10
"""Bytes of a readme; the limit of a description's object is 1 MiB."""

_MEND = "restore the object from a copy of the repository, or describe it again"


@dataclass(frozen=True, kw_only=True)
class Edit:
    """Changes of a description; None leaves a field as it is.

    Attributes:
        text: the text.
        license: an SPDX expression; empty removes it.
        owner: the responsible person or team; empty removes it.
        readme: Markdown; empty restores the `README.md` in the version.
        set: metadata to add or replace, JSON values by key.
        unset: keys of metadata to remove.
    """

    text: str | None = None
    license: str | None = None
    owner: str | None = None
    readme: str | None = None
    set: Mapping[str, Any] = field(default_factory=dict)
    unset: Iterable[str] = ()

    def apply(self, found: Description) -> Description:
        """Return the changed description.

        Raises:
            InvalidInput: a key to remove does not exist.
        """
        metadata = {**found.metadata, **self.set}
        for key in self.unset:
            if key not in metadata:
                raise InvalidInput(
                    f"{found.ref} has no metadata '{key}'.",
                    hint=f"it has: {', '.join(sorted(metadata)) or 'none'}",
                )
            del metadata[key]
        return replace(
            found,
            text=found.text if self.text is None else self.text,
            license=found.license if self.license is None else self.license,
            owner=found.owner if self.owner is None else self.owner,
            readme=found.readme if self.readme is None else self.readme or None,
            metadata=metadata,
        )


class Descriptions:
    """The descriptions of one repository."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def current(self, dataset: str, label: str | None = None) -> Description | None:
        """Return the current description of a version, or of a dataset as a whole; None if there is none.

        It is the newest one that can be read: a damaged one, or one of a newer dataver, hides nothing else.
        """
        return next(self._readable(dataset, label, reversed(self._numbers(dataset, label))), None)

    def of(self, version: Published) -> Description | None:
        """Return the current description of a version, as `current`."""
        return self.current(version.record.dataset, version.record.label)

    def lookup(self, prefix: str | None = None) -> Callable[[Published], Description | None]:
        """Return a function that finds the descriptions of many versions.

        It lists once for each dataset that it is asked for, or, with the `prefix` of all their names, once.
        """
        below = cache(self._below)

        def find(version: Published) -> Description | None:
            dataset, label = version.record.dataset, version.record.label
            return below(f"{dataset}/" if prefix is None else prefix).get((dataset, label))

        return find

    def _below(self, prefix: str) -> dict[tuple[str, str | None], Description]:
        numbers = numbers_below(self._store, f"{DESCRIPTIONS}{prefix}")
        if not numbers:
            return {}  # most datasets have none, and the pool takes 4 ms to import

        def newest(name: tuple[str, str | None]) -> Description | None:
            return next(self._readable(*name, reversed(numbers[name])), None)

        with parallel.pool(parallel.REQUESTS, "descriptions") as pool:
            found = zip(numbers, pool.map(newest, numbers), strict=True)
            return {name: each for name, each in found if each is not None}

    def history(self, dataset: str, label: str | None = None) -> list[Description]:
        """Return all descriptions of a version, or of a dataset, that can be read, oldest first."""
        return list(self._readable(dataset, label, self._numbers(dataset, label)))

    def _readable(self, dataset: str, label: str | None, numbers: Iterable[int]) -> Iterator[Description]:
        """Yield the descriptions with these numbers that can be read; `verify` reports the others."""
        for number in numbers:
            try:
                yield self.read(dataset, label, number)
            except (IntegrityError, FormatTooNew) as error:
                info("description %d of %s is left out: %s", number, label or dataset, error.message)

    def edit(self, dataset: str, version: Published | None, edit: Edit, *, author: str) -> Description:
        """Add a description that differs from the current one by an edit, and return it.

        The first description of a version starts with the metadata of its record. An edit that changes
        nothing adds nothing.

        Args:
            dataset: the dataset.
            version: the version, or None to describe the dataset as a whole.
            edit: the changes.
            author: the author of the description.

        Raises:
            InvalidInput: a key to remove does not exist, or the description does not fit in 1 MiB.
            Conflict: other writers keep describing it.
        """
        label, record = (version.record.label, version.record_id) if version is not None else (None, None)

        def make(last: int) -> Description:
            found = self._before(dataset, label, last)
            if found is None or found.record != record:
                found = undescribed(dataset, version)
            made = edit.apply(found)
            if made == found and found.number:
                return found
            now, write_id = datetime.now(UTC), os.urandom(16).hex()
            return replace(made, number=last + 1, created=now, author=author, write_id=write_id)

        return append_numbered(
            self._store,
            partial(description_key, dataset, label),
            iter(lambda: max(self._numbers(dataset, label), default=0), None),
            make,
            what=f"describing {dataset if version is None else version.ref}",
        )

    def _before(self, dataset: str, label: str | None, last: int) -> Description | None:
        """Return the description that an edit changes; a damaged one is left out.

        Raises:
            FormatTooNew: a newer dataver wrote the last one, of which an edit would lose fields.
        """
        for number in range(last, 0, -1):
            with suppress(IntegrityError, NotFound):  # `verify` reports it
                return self.read(dataset, label, number)
        return None

    def read(self, dataset: str, label: str | None, number: int) -> Description:
        """Return one description.

        Raises:
            NotFound: no such description.
            IntegrityError: it is damaged, or another one.
        """
        return self.read_bytes(dataset, label, number)[1]

    def read_bytes(self, dataset: str, label: str | None, number: int) -> tuple[bytes, Description]:
        """Return one description and its bytes, which may have unknown keys; errors as of `read`."""
        key = description_key(dataset, label, number)
        data = self._store.get_bounded(key, MAX_JSON)
        try:
            found = parse_description(data)
        except IntegrityError as error:
            raise IntegrityError(
                f"{key} in {self._store.url} is damaged: {error.message}.", hint=_MEND
            ) from error
        if (found.dataset, found.label, found.number) != (dataset, label, number):
            raise IntegrityError(
                f"{key} in {self._store.url} contains description {found.number} of {found.ref}.", hint=_MEND
            )
        return data, found

    def _numbers(self, dataset: str, label: str | None) -> list[int]:
        return numbers_below(self._store, description_prefix(dataset, label)).get((dataset, label), [])


def numbers_below(store: Store, prefix: str) -> dict[tuple[str, str | None], list[int]]:
    """Return the numbers of descriptions with keys below a prefix, ascending, by dataset and label."""
    found = defaultdict[tuple[str, str | None], list[int]](list)
    for each in store.list(prefix):
        if key := parse_description_key(each.key):
            found[key.dataset, key.label].append(key.number)
    return {name: sorted(numbers) for name, numbers in found.items()}


def undescribed(dataset: str, version: Published | None) -> Description:
    """Return the description that precedes the first one; its number is 0."""
    record = None if version is None else version.record
    return Description(
        number=0,
        dataset=dataset,
        label=None if record is None else record.label,
        record=None if version is None else version.record_id,
        metadata={} if record is None else dict(record.metadata),
        created=datetime.now(UTC) if record is None else record.created,
        author="" if record is None else record.author,
        write_id="0" * 32,
    )


def find_readme(tree: Tree) -> Entry | None:
    """Return the `README.md` at the root of a version, in any case of letters; None without one."""
    for name in ("README.md", "readme.md", "Readme.md", "README.MD"):
        found = tree.get(name)
        if found is not None and found.kind in (Kind.FILE, Kind.EXECUTABLE) and found.size <= MAX_README:
            return found
    return None
