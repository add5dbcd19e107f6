"""Existing objects of a repository: versions, moves of tags, packs and tree blocks.

The idea: few objects are checked one by one, many are listed. Both take about the same time at `FEW`, and a
large repository is not listed to find three objects.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from dataver import parallel
from dataver.errors import NotFound
from dataver.formats.entry import is_external
from dataver.repository.layout import (
    DATASETS,
    EXTERNALS,
    PACKS,
    TREES,
    block_key,
    dataset_prefix,
    pack_key,
    parse_object_key,
    parse_record_key,
    parse_tag_key,
    parse_tombstone_key,
)
from dataver.repository.records import Labels
from dataver.storage import Store

__all__ = ["FEW", "Names", "blocks_there", "list_names", "packs_there"]

FEW = 256


@dataclass
class Names:
    """Versions and tags of a repository.

    Attributes:
        versions: each dataset's records from the listing, by label; without deleted versions.
        deleted: `(dataset, label)` of the versions that have a tombstone.
        tags: the numbers of the moves of each tag, ascending, by dataset and tag.
    """

    versions: dict[str, Labels] = field(default_factory=lambda: defaultdict(dict))
    deleted: set[tuple[str, str]] = field(default_factory=set)
    tags: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(list))


def list_names(store: Store, datasets: Iterable[str] | None = None) -> Names:
    """List the versions and tags of datasets, None for all; one listing for each dataset."""
    names = Names()
    wanted = None if datasets is None else set(datasets)
    for prefix in [DATASETS] if wanted is None else map(dataset_prefix, sorted(wanted)):
        for info in store.list(prefix):
            record, tag = parse_record_key(info.key), parse_tag_key(info.key)
            gone = parse_tombstone_key(info.key)
            # the prefix of `a` is also that of `a/b`
            if record and (wanted is None or dataset_prefix(record[0]) == prefix):
                names.versions[record[0]][record[1]] = info
            elif tag and (wanted is None or dataset_prefix(tag.dataset) == prefix):
                names.tags[tag.dataset, tag.tag].append(tag.number)
            elif gone and (wanted is None or dataset_prefix(gone[0]) == prefix):
                names.deleted.add(gone)
    for dataset, label in names.deleted:
        names.versions[dataset].pop(label, None)
    for numbers in names.tags.values():
        numbers.sort()
    return names


def packs_there(store: Store, wanted: Iterable[bytes]) -> dict[bytes, int]:
    """Return the sizes of those packs, external ones included, that exist in a store."""
    names = set(wanted)
    external = {name for name in names if is_external(name)}
    return _there(store, PACKS, pack_key, names - external) | _there(store, EXTERNALS, pack_key, external)


def blocks_there(store: Store, wanted: Iterable[bytes]) -> dict[bytes, int]:
    """Return the sizes of those tree blocks that exist in a store."""
    return _there(store, TREES, block_key, set(wanted))


def _there(store: Store, prefix: str, key: Callable[[bytes], str], wanted: set[bytes]) -> dict[bytes, int]:
    if len(wanted) <= FEW or store.local_root is not None:
        with parallel.pool(parallel.REQUESTS, "ask") as pool:
            names = sorted(wanted)
            sizes = pool.map(lambda name: _size(store, key(name)), names)
            return {name: size for name, size in zip(names, sizes, strict=True) if size is not None}
    found = {}
    for info in store.list(prefix):
        name = parse_object_key(info.key)
        if name is not None and name in wanted:
            found[name] = info.size
    return found


def _size(store: Store, key: str) -> int | None:
    try:
        return store.stat(key).size
    except NotFound:
        return None
