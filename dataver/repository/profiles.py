"""Profiles of files, by dataset and digest, in few objects (`dataver.formats.profile`).

The idea: profiles are made from the data and can be made again, so nothing relies on them. An object is
created once and names the trees for whose files it was made; writers join small ones, and gc rewrites those
that name a deleted version. The objects that another one replaces are deleted after it is written: a reader
that misses one lists again. Damaged objects are ignored; `verify` reports them.

Keeps invariants 1 and 5. Profiles are written after the record of their version, so a tree without a record
is one of a deleted version.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from dataver import parallel
from dataver.cache.object_cache import DiskCache
from dataver.errors import DataverError, FormatTooNew, IntegrityError, NotFound
from dataver.formats.block import Inner
from dataver.formats.profile import MAX_PROFILES, MAX_TREES, Lines, encode_profiles, parse_profiles
from dataver.log import info as log_info
from dataver.repository.layout import (
    PROFILES,
    ProfilesKey,
    parse_profiles_key,
    profiles_key,
    profiles_prefix,
)
from dataver.storage import ObjectInfo, Store
from dataver.tree import Load, walk

__all__ = ["Listed", "Profiles", "locate"]

Listed: TypeAlias = tuple[ObjectInfo, ProfilesKey]

_SMALL: Final = 256 << 10  # bytes of an object that is joined with others
_MANY: Final = 16  # small objects of a group that are joined
_FEW: Final = 64  # wanted digests of which each is compared with the names of objects
_TRIES: Final = 5


class Profiles:
    """The profiles in one repository."""

    def __init__(self, store: Store, cache: DiskCache | None) -> None:
        self._store, self._cache = store, cache

    def objects(self, dataset: str | None = None) -> list[Listed]:
        """Return the objects with profiles, of one dataset or of all."""
        found = self._store.list(PROFILES if dataset is None else profiles_prefix(dataset))
        keys = ((info, parse_profiles_key(info.key)) for info in found)
        return [(info, key) for info, key in keys if key and dataset in (None, key.dataset)]

    def load(self, key: str) -> tuple[set[bytes], Lines]:
        """Return the trees and the profiles of an object.

        Raises:
            NotFound: it was replaced by others.
            IntegrityError: it is damaged.
            FormatTooNew: a newer dataver wrote it.
        """
        data = self._cache.get(key) if self._cache else None
        if data is None:
            data = self._store.get_bounded(key, MAX_PROFILES)
            if self._cache:
                self._cache.put(key, data)
        return parse_profiles(data, key.removesuffix(".zst"))

    def load_all(self, keys: Sequence[str]) -> Iterator[tuple[set[bytes], Lines] | DataverError]:
        """Yield the content of each object, or why it cannot be read."""

        def load(key: str) -> tuple[set[bytes], Lines] | DataverError:
            try:
                return self.load(key)
            except (NotFound, IntegrityError, FormatTooNew) as error:
                log_info("%s is not used: %s", key, error.message)
                return error

        if self._store.local_root is not None or len(keys) < 2:
            yield from map(load, keys)
            return
        with parallel.pool(parallel.REQUESTS, "profiles") as pool:
            yield from pool.map(load, keys)

    def find(self, dataset: str, group: str, wanted: Collection[bytes] | None = None) -> Lines:
        """Return the best profile of each file of a dataset, or of each wanted one, that has any.

        Raises:
            StoreError: the store failed.
        """
        found: Lines = {}
        for _ in range(_TRIES):
            keys = [key for key in self.objects(dataset) if key[1].group == group and _has(key[1], wanted)]
            missed = False
            for content in self.load_all([info.key for info, _ in keys]):
                missed |= isinstance(content, NotFound)  # joined with others meanwhile
                for name, line in () if isinstance(content, DataverError) else content[1].items():
                    if (wanted is None or name in wanted) and line > found.get(name, b""):
                        found[name] = line
            if not missed:
                break
        return found

    def add(self, dataset: str, group: str, trees: Collection[bytes], lines: Lines) -> None:
        """Write the profiles of files in some trees of a dataset.

        Raises:
            StoreError: the store failed.
        """
        for key in self._write(dataset, group, trees, lines):
            if key[-5] == "0":  # an object in 16, without a listing for each
                self._join(dataset, group)

    def _write(self, dataset: str, group: str, trees: Collection[bytes], lines: Lines) -> list[str]:
        objects = [(profiles_key(dataset, name), data) for name, data in encode_profiles(group, trees, lines)]
        self._store.put_many_new(objects)
        return [key for key, _ in objects]

    def _join(self, dataset: str, group: str) -> None:
        """Replace small objects of a group by a few, if there are many."""
        found = self.objects(dataset)
        small = [info.key for info, key in found if key.group == group and info.size < _SMALL]
        if len(small) < _MANY:
            return
        trees: set[bytes] = set()
        lines: Lines = {}
        old = []
        for key, content in zip(small, self.load_all(small), strict=True):
            if not isinstance(content, DataverError) and len(trees | content[0]) <= MAX_TREES:
                old.append(key)
                trees |= content[0]
                lines |= {name: max(line, lines.get(name, b"")) for name, line in content[1].items()}
        self._replace(old, self._write(dataset, group, trees, lines))

    def stale(self, objects: Sequence[Listed], living: Mapping[str, Collection[bytes]]) -> Iterator[Listed]:
        """Yield the objects that are damaged or name a tree that is not one of the dataset's living ones."""
        contents = self.load_all([info.key for info, _ in objects])
        for (info, key), content in zip(objects, contents, strict=True):
            trees = set() if isinstance(content, DataverError) else content[0]
            if not trees.issubset(living.get(key.dataset, ())) or isinstance(content, IntegrityError):
                yield info, key

    def rewrite(self, listed: Listed, living: Collection[bytes], load: Load) -> None:
        """Replace an object by one with the profiles of files in living trees; delete it without any.

        Raises:
            StoreError: the store failed.
        """
        (info, key), lines = listed, Lines()
        for content in self.load_all([info.key]):
            lines = lines if isinstance(content, DataverError) else content[1]
        where = locate(living, load, lines)
        trees = set(list(dict.fromkeys(where.values()))[:MAX_TREES])
        kept = {name: lines[name] for name, tree in where.items() if tree in trees}
        self._replace([info.key], self._write(key.dataset, key.group, trees, kept))

    def copy(self, listed: Listed, target: "Profiles", dataset: str) -> None:
        """Copy an object to a repository's dataset, unless it exists there."""
        try:
            data = self._store.get_bounded(listed[0].key, MAX_PROFILES)
        except NotFound:
            return  # it was joined with others meanwhile
        target._store.put_new(profiles_key(dataset, listed[1].name), data)

    def _replace(self, old: Iterable[str], new: Collection[str]) -> None:
        self._store.delete_many([key for key in old if key not in new])


def locate(trees: Iterable[bytes], load: Load, wanted: Collection[bytes]) -> dict[bytes, bytes]:
    """Return the first of some trees that has each of the wanted files, by digest; no tree, no item."""
    found: dict[bytes, bytes] = {}
    seen: set[bytes] = set()
    for root in trees:
        if len(found) == len(wanted):
            break
        for block in walk([root], load, skip=seen):
            seen.add(block.digest)
            if not isinstance(block, Inner):
                for number in range(len(block)):
                    name = block.file_digest(number)
                    if name in wanted:
                        found.setdefault(name, root)
    return found


def _has(key: ProfilesKey, wanted: Collection[bytes] | None) -> bool:
    """Return whether an object may have some of the wanted files."""
    if wanted is None or len(wanted) > _FEW:
        return True
    return any(key.first <= name.hex()[:8] <= key.last for name in wanted)
