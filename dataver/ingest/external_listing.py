"""Listing and opening places outside the repository.

The idea: a folder is scanned as for `add`, with links, empty folders and executable bits; any other place is
listed through its store. Both yield paths in the version, and keys below one place.

Reads no file content.
"""

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dataver import parallel
from dataver.errors import InvalidInput, NotFound, PathNotFound
from dataver.formats.entry import Entry, Kind, check_path
from dataver.hashing.checksums import Checksum
from dataver.ingest.scan import Scan, scan, selection_of
from dataver.repository.external_trust import folder_of, open_place, place_of
from dataver.storage import Store, open_store

__all__ = ["ExternalFile", "Outside", "find_outside", "reads_at_once"]


class ExternalFile(NamedTuple):
    """A file to record.

    Attributes:
        path: its path in the version.
        key: its key below the place.
        kind: its kind.
        size: bytes.
        version: the id of the object's version; None means the current one.
        check: the checksum that its bytes must have, if it is known.
    """

    path: str
    key: str
    kind: Kind
    size: int
    version: str | None = None
    check: Checksum | None = None


class Outside(NamedTuple):
    """A place and its files to record.

    Attributes:
        place: its URL.
        store: the store that reads it.
        files: the files, in path order.
        others: entries without bytes: links and empty folders.
    """

    place: str
    store: Store
    files: list[ExternalFile]
    others: list[Entry]


def find_outside(url: str | Path, how: Scan) -> Outside:
    """Return the files at a URL: all below it, or the one object that it names.

    Args:
        url: a folder, a file, or the URL of a prefix or an object in a store.
        how: the destination in the version, and patterns; collects problems.

    Raises:
        PathNotFound: there is nothing.
        InvalidInput: the URL is invalid.
        StoreError: the store refuses.
    """
    place = place_of(url)
    if how.dest:
        check_path(how.dest)
    folder = folder_of(place)
    return _in_store(place, how) if folder is None else _in_folder(folder, how)


def _in_folder(source: Path, how: Scan) -> Outside:
    try:
        single = not stat.S_ISDIR(source.stat().st_mode)
    except OSError as error:
        raise PathNotFound(f"there is no file or folder {source}.", hint="check the path") from error
    files: list[ExternalFile] = []
    others: list[Entry] = []
    skip = len(how.dest) + 1 if how.dest else 0
    for found in (each for some in scan(source, how) for each in some):
        if found.kind in (Kind.SYMLINK, Kind.DIRECTORY):
            others.append(Entry(found.path, found.kind, target=found.target))
        else:
            key = source.name if single else found.path[skip:]
            files.append(ExternalFile(found.path, key, found.kind, found.stat.size))
    home = source.parent if single else source
    return Outside(place_of(home), open_store(home), sorted(files), sorted(others))


def _in_store(place: str, how: Scan) -> Outside:
    store = open_place(place, place)
    keys = [(info.key, info.size) for info in store.list()]
    if not keys:
        above, _, name = place.rpartition("/")
        if name and not above.endswith(":/"):
            place, store = above, open_place(above, above)
            try:
                keys = [(name, store.stat(name).size)]
            except NotFound:
                keys = []
    if not keys:
        raise PathNotFound(
            f"there is nothing at {place}.", hint="check the URL; `dataver config` shows how it is reached"
        )
    return Outside(place, store, sorted(_chosen(keys, place, how)), [])


def _chosen(keys: list[tuple[str, int]], place: str, how: Scan) -> Iterator[ExternalFile]:
    """Yield the objects that patterns select and whose names are valid paths."""
    dest = f"{how.dest}/" if how.dest else ""
    chosen = selection_of(how)
    names = {key for key, _ in keys}
    for key, size in keys:
        if not chosen(key):
            how.ignored += 1
            continue
        try:
            check_path(dest + key)
        except InvalidInput as error:
            how.refuse(f"{place}/{key}", error.message, dest + key)
            continue
        file = next((folder for folder in _above(key) if folder in names), None)
        if file is not None:  # a store may hold both, unlike a folder
            how.refuse(f"{place}/{key}", f"'{file}' is a file there, so it cannot contain others", dest + key)
            continue
        yield ExternalFile(dest + key, key, Kind.FILE, size)


def _above(path: str) -> Iterator[str]:
    """Yield the folders above a path, the nearest first."""
    while path := path.rpartition("/")[0]:
        yield path


def reads_at_once(store: Store) -> int:
    """Return the number of parallel reads: many if each waits for a network."""
    return parallel.REQUESTS if store.local_root is None else parallel.cores()
