"""What there is at a place outside the repository, and how it is opened.

The idea: a folder is walked as `add` walks it, with links, empty folders and executable bits; anything else
is listed as its store lists it. Both give the same: paths in the version, and keys below one place.

Reads no file's content.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dataver.errors import InvalidInput, NotFound, PathNotFound
from dataver.formats.entry import Entry, Kind, check_path
from dataver.ingest.scan import Scan, scan, selection_of
from dataver.repository.allowing import folder_of, place_of
from dataver.repository.configuration import options_for
from dataver.storage import Store, open_store

__all__ = ["Outside", "Wanted", "find_outside", "reads_at_once"]


class Wanted(NamedTuple):
    """A file to be recorded: its path in the version, its key below the place, its kind, and bytes."""

    path: str
    key: str
    kind: Kind
    size: int


class Outside(NamedTuple):
    """A place and what is to be recorded of it.

    Attributes:
        place: its URL.
        store: how it is read.
        files: the files, in path order.
        others: entries that have no bytes: links and empty folders.
    """

    place: str
    store: Store
    files: list[Wanted]
    others: list[Entry]


def find_outside(url: str | Path, how: Scan) -> Outside:
    """Return what there is at a URL: all below it, or the one object that it names.

    Args:
        url: a folder, a file, or the URL of a prefix or an object in a store.
        how: where it goes in the version, and patterns; collects problems.

    Raises:
        PathNotFound: there is nothing.
        InvalidInput: it is no such URL.
        StoreError: the store refuses.
    """
    place = place_of(url)
    if how.dest.strip("/"):
        check_path(how.dest.strip("/"))
    folder = folder_of(place)
    return _in_store(place, how) if folder is None else _in_folder(folder, how)


def _in_folder(source: Path, how: Scan) -> Outside:
    try:
        single = not stat.S_ISDIR(source.stat().st_mode)
    except OSError as error:
        raise PathNotFound(f"there is no {source}.", hint="check the path") from error
    files: list[Wanted] = []
    others: list[Entry] = []
    skip = len(how.dest.strip("/")) + 1 if how.dest.strip("/") else 0
    for found in (each for some in scan(source, how) for each in some):
        if found.kind in (Kind.SYMLINK, Kind.DIRECTORY):
            others.append(Entry(found.path, found.kind, target=found.target))
        else:
            key = source.name if single else found.path[skip:]
            files.append(Wanted(found.path, key, found.kind, found.stat.size))
    home = source.parent if single else source
    return Outside(place_of(home), open_store(home), sorted(files), sorted(others))


def _in_store(place: str, how: Scan) -> Outside:
    store = open_store(place, options_for(place))
    keys = [(info.key, info.size) for info in store.list()]
    if not keys:
        above, _, name = place.rpartition("/")
        if name and not above.endswith(":/"):
            place, store = above, open_store(above, options_for(above))
            try:
                keys = [(name, store.stat(name).size)]
            except NotFound:
                keys = []
    if not keys:
        raise PathNotFound(
            f"there is nothing at {place}.", hint="check the URL; `dataver config` shows how it is reached"
        )
    return Outside(place, store, sorted(_chosen(keys, place, how)), [])


def _chosen(keys: list[tuple[str, int]], place: str, how: Scan) -> Iterator[Wanted]:
    """Yield the objects that patterns choose and whose names can be paths."""
    dest = f"{how.dest.strip('/')}/" if how.dest.strip("/") else ""
    chosen = selection_of(how)
    for key, size in keys:
        if not chosen(key):
            how.ignored += 1
            continue
        try:
            check_path(dest + key)
        except InvalidInput as error:
            how.refuse(f"{place}/{key}", error.message, dest + key)
            continue
        yield Wanted(dest + key, key, Kind.FILE, size)


def reads_at_once(store: Store) -> int:
    """Return how many reads are under way at once: many where each waits for a network."""
    return 16 if store.local_root is None else max(2, min(4, os.cpu_count() or 1))
