"""What earlier imports brought: the version that belongs to each version of the source.

The idea: a record names its origin (`imported` in its metadata), so the repository itself is the list.
A version that was deleted since, or that the source cannot list, has no version: its children follow its
parents. After the deletion of a whole dataset everything is brought again.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import chain
from typing import Any

from dataver.errors import DataverError
from dataver.importers.changes import Parent, checked_files, names_of
from dataver.importers.source import SourceVersion
from dataver.lru import LRUCache
from dataver.repository import Published, RepositoryCore
from dataver.tree import Tree

__all__ = ["IMPORTED", "ImportedHistory"]

IMPORTED = "imported"
"""Key of the metadata that names the origin of a version."""

_KEPT = 4  # versions whose contents are kept by name: a parent is needed by its next children


class ImportedHistory:
    """The versions of one tool in a repository, by their keys in the source.

    Args:
        repository: the repository.
        kind: the tool.
    """

    def __init__(self, repository: RepositoryCore, kind: str) -> None:
        self._repository, self._kind = repository, kind
        self._there: dict[str, dict[str, Published | None]] = {}  # by dataset and key; None: deleted
        self._others: set[str] = set()  # datasets of which no version is of this tool
        self._published: dict[str, Published] = {}
        self._sources: dict[str, SourceVersion] = {}
        self._instead: dict[
            str, tuple[str, ...]
        ] = {}  # for keys that have no version, the nearest before that do
        self._names: LRUCache[str, Mapping[str, str]] = LRUCache(_KEPT)

    def find(self, wanted: SourceVersion) -> Published | None:
        """Return the version that an earlier import made, None if there is none."""
        found = self._dataset(wanted.dataset).get(wanted.key)
        if found is not None:
            self._sources[wanted.key], self._published[wanted.key] = wanted, found
        return found

    def find_again(self, wanted: SourceVersion) -> Published | None:
        """Do `find` with what the repository has now."""
        self._there.pop(wanted.dataset, None)
        return self.find(wanted)

    def beside(self, dataset: str) -> list[tuple[str, str]]:
        """Return a problem, once, for a dataset with versions of which no import from the tool made one."""
        if dataset not in self._others:
            return []
        self._others.remove(dataset)
        reason = f"no import from {self._kind} made the versions that it has; those of the import are forks"
        return [(dataset, f"{reason} beside them, and `latest` stays; another --name keeps them apart")]

    def is_deleted(self, wanted: SourceVersion) -> bool:
        """Return whether the version that an earlier import made was deleted; it is not made again."""
        there = self._dataset(wanted.dataset)
        return wanted.key in there and there[wanted.key] is None

    def add(self, wanted: SourceVersion, published: Published, names: Mapping[str, str]) -> None:
        """Record a new version, with the names of the contents that it has."""
        self._sources[wanted.key], self._published[wanted.key] = wanted, published
        self._names.put(wanted.key, names)

    def leave_out(self, wanted: SourceVersion) -> None:
        """Record that a version of the source has none here."""
        self._instead[wanted.key] = self._versions_of(wanted.parents)

    def parents(self, wanted: SourceVersion) -> list[Parent]:
        """Return the versions of the parents."""
        found = []
        for key in self._versions_of(wanted.parents):
            tree = self._repository.tree(self._published[key].record.tree)
            found.append(Parent(self._published[key], tree, self._names_of(key, tree)))
        return found

    def _versions_of(self, keys: Iterable[str]) -> tuple[str, ...]:
        """Return the keys that have a version, and for others those of their parents."""
        found = ((key,) if key in self._published else self._instead.get(key, ()) for key in keys)
        return tuple(dict.fromkeys(chain.from_iterable(found)))

    def _names_of(self, key: str, tree: Tree) -> Mapping[str, str]:
        names = self._names.get(key)
        if names is None:
            names, source = {}, self._sources[key]  # without names its children read all their files
            with suppress(DataverError):
                if source.lasting:
                    names = names_of(checked_files(source.files(), []), tree)
            self._names.put(key, names)
        return names

    def _dataset(self, name: str) -> dict[str, Published | None]:
        if name not in self._there:
            records = self._repository.records
            listed = records.names(name)
            deleted = listed.deleted if listed.labels else ()  # nothing is left: all is brought again
            gone = filter(None, (records.tombstone(name, label) for label in deleted))
            found: dict[str, Published | None] = {
                key: None for each in gone if each.was and (key := self._key(each.was.metadata))
            }
            for published in records.versions(name):
                if key := self._key(published.record.metadata):
                    found[key] = published
            if listed.labels and not found:
                self._others.add(name)
            self._there[name] = found
        return self._there[name]

    def _key(self, metadata: Mapping[str, Any]) -> str | None:
        """Return the key in the source that metadata names, None if it names none of this tool."""
        said = metadata.get(IMPORTED)
        if not isinstance(said, dict) or said.get("from") != self._kind:
            return None
        key = said.get("id")
        return key if isinstance(key, str) else None
