"""Profiles of files, by dataset and digest, in few objects (`dataver.formats.profile`).

The idea: profiles are made from the data and can be made again, so nothing relies on them. An object is
created once and names the trees for whose files it was made; writers join small ones, and gc rewrites those
that name a deleted version. The objects that another one replaces are deleted after it is written: a reader
that misses one lists again. Damaged objects, and lines that are not profiles, are treated as absent; `verify`
reports them.

Keeps invariants 1 and 5. Profiles are written after the record of their version, so a tree without a record
is one of a deleted version.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final, TypeAlias

from dataver import parallel
from dataver.cache.object_cache import DiskCache
from dataver.errors import DataverError, FormatTooNew, IntegrityError, NotFound, StoreError
from dataver.formats.block import Inner
from dataver.formats.profile import (
    MAX_PROFILES,
    MAX_TREES,
    Lines,
    decode_profile,
    encode_profiles,
    is_profile,
    parse_profiles,
)
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

    def load(self, key: str, *, cached: bool = True) -> tuple[set[bytes], Lines]:
        """Return the trees and the lines of an object, which may not all be profiles.

        Raises:
            NotFound: it was replaced by others.
            IntegrityError: it is damaged.
            FormatTooNew: a newer dataver wrote it.
        """
        name, cache = key.removesuffix(".zst"), self._cache if cached else None
        data = cache.get(key) if cache else None
        with suppress(IntegrityError):  # it is read again
            if data is not None:
                return parse_profiles(data, name)
        data = self._store.get_bounded(key, MAX_PROFILES)
        found = parse_profiles(data, name)
        if cache:
            cache.put(key, data)
        return found

    def check(self, key: str) -> None:
        """Check an object and all its lines; errors as of `load`."""
        for line in self.load(key, cached=False)[1].values():
            decode_profile(line)

    def load_all(
        self, keys: Sequence[str], *, cached: bool = True
    ) -> Iterator[tuple[set[bytes], Lines] | DataverError]:
        """Yield the content of each object, or why it cannot be read; few are in memory.

        Raises:
            StoreError: the store failed.
        """

        def load(key: str) -> tuple[set[bytes], Lines] | DataverError:
            try:
                return self.load(key, cached=cached)
            except (NotFound, IntegrityError, FormatTooNew) as error:
                log_info("%s is not used: %s", key, error.message)
                return error

        if self._store.local_root is not None or len(keys) < 2:
            yield from map(load, keys)
            return
        with parallel.pool(parallel.REQUESTS, "profiles") as pool:
            for start in range(0, len(keys), parallel.REQUESTS):
                yield from pool.map(load, keys[start : start + parallel.REQUESTS])

    def merged(self, keys: Sequence[str], *, cached: bool = True) -> Lines:
        """Return the best profiles in some objects, without unreadable ones; errors as of `load_all`."""
        lines: Lines = {}
        for content in self.load_all(keys, cached=cached):
            _merge(lines, {} if isinstance(content, DataverError) else content[1])
        return lines

    def find(
        self,
        dataset: str,
        group: str,
        wanted: Collection[bytes] | None = None,
        keep: Callable[[bytes], bytes] = bytes,
    ) -> Lines:
        """Return the best profile of each file of a dataset, or of each wanted one, that has any.

        Args:
            dataset: its name.
            group: `tables` or `files`.
            wanted: digests of files.
            keep: returns what is kept of a line, and compared; not all lines need fit in memory.

        Raises:
            StoreError: the store failed.
        """
        found: Lines = {}
        for _ in range(_TRIES if wanted is None or wanted else 0):
            keys = [key for key in self.objects(dataset) if key[1].group == group and _has(key[1], wanted)]
            missed = False
            for content in self.load_all([info.key for info, _ in keys]):
                missed |= isinstance(content, NotFound)  # joined with others meanwhile
                for name, line in () if isinstance(content, DataverError) else content[1].items():
                    if wanted is None or name in wanted:
                        kept = keep(line)
                        if kept > found.get(name, b"") and is_profile(line):
                            found[name] = kept
            if not missed:
                break
        return found

    def add(
        self,
        dataset: str,
        group: str,
        trees: Collection[bytes],
        lines: Lines,
        check: Callable[[], object] = lambda: None,
    ) -> None:
        """Write the profiles of files in some trees of a dataset.

        Args:
            dataset: its name.
            group: `tables` or `files`.
            trees: digests of the trees.
            lines: the profiles.
            check: raises `NotFound` if the version was deleted: a gc may have listed profiles before these.

        Raises:
            StoreError: the store failed.
            NotFound: raised by the check; what was written is deleted.
        """
        keys = self._write(dataset, group, trees, lines)
        try:
            if keys:
                check()
        except NotFound:
            self._store.delete_many(keys)
            raise
        for key in keys:
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
                _merge(lines, content[1])
        self._replace(old, self._write(dataset, group, trees, lines))

    def stale(self, objects: Sequence[Listed], living: Mapping[str, Collection[bytes]]) -> Iterator[Listed]:
        """Yield the objects that are damaged or name a tree that is not one of the dataset's living ones.

        Raises:
            StoreError: the store failed.
        """
        contents = self.load_all([info.key for info, _ in objects], cached=False)
        for (info, key), content in zip(objects, contents, strict=True):
            if isinstance(content, DataverError):
                stale = isinstance(content, IntegrityError)
            else:
                stale = not content[0].issubset(living.get(key.dataset, ()))
                stale = stale or not all(map(is_profile, content[1].values()))
            if stale:
                yield info, key

    def rewrite(self, listed: Listed, living: Collection[bytes], load: Load) -> None:
        """Replace an object by one with the profiles of files in living trees; delete it without any.

        Raises:
            StoreError: the store failed.
        """
        info, key = listed
        lines = self.merged([info.key], cached=False)
        where = locate(living, load, lines)
        trees = set(list(dict.fromkeys(where.values()))[:MAX_TREES])
        kept = {name: lines[name] for name, tree in where.items() if tree in trees}
        for error in self._replace([info.key], self._write(key.dataset, key.group, trees, kept)).values():
            raise error

    def copy(self, listed: Listed, target: "Profiles", dataset: str) -> None:
        """Copy an object to a repository's dataset, unless it exists there or what was read is damaged.

        Raises:
            StoreError: a store failed.
        """
        try:
            data = self._store.get_bounded(listed[0].key, MAX_PROFILES)
            with suppress(FormatTooNew):
                parse_profiles(data, listed[1].name)
        except (NotFound, IntegrityError):
            return  # if not found, it was joined with others meanwhile
        target._store.put_new(profiles_key(dataset, listed[1].name), data)

    def _replace(self, old: Iterable[str], new: Collection[str]) -> dict[str, StoreError]:
        return self._store.delete_many([key for key in old if key not in new])


def _merge(lines: Lines, more: Lines) -> None:
    """Add the profiles among other lines that are better."""
    for name, line in more.items():
        if line > lines.get(name, b"") and is_profile(line):
            lines[name] = line


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
