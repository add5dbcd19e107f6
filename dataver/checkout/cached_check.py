"""Checks of a complete cached folder before use: this user's own, or a shared one.

A folder of this user's cache is compared with its stat manifest. One in the cache of another user is hashed
before this user's first use of it; the own cache records the digest of its manifest at that time.

Serves invariant 1.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from dataver.cache.sharing import is_owned, read_shared
from dataver.cache.stat_manifest import Row, read_rows
from dataver.cache.version_cache import CachedFolder, VersionCache
from dataver.checkout.folder import located, status_of
from dataver.checkout.local_sources import hash_file
from dataver.errors import IntegrityError
from dataver.formats.entry import Kind
from dataver.hashing.digest import digest
from dataver.machine.deep_folders import open_folder
from dataver.storage.durable import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dataver.checkout.selection import FetchRequest
    from dataver.formats.entry import Entry

__all__ = ["damaged", "shared_folder"]


def shared_folder(wish: FetchRequest, own: VersionCache, *, full: bool) -> CachedFolder | None:
    """Return the folder in the cache of another user, or None if it has none, or a damaged one.

    Args:
        wish: the selection to fetch.
        own: this user's cache, which records the hashed folders.
        full: hash it again.

    Raises:
        CacheUnusable: the shared cache cannot be read, or users other than its owner can change it.
    """
    root = read_shared()
    if root is None:
        return None
    found = VersionCache(root).lookup(wish.tree, wish.selection)
    try:
        if found is None or not is_owned(found.path, root.stat().st_uid):
            return None
        seen = digest(found.manifest.read_bytes()).hex()
    except OSError:
        return None
    note = own.root / "hashed" / found.path.name
    with suppress(OSError):
        if not full and note.read_text() == seen and damaged(found, None) == set():
            return found
    if damaged(found, wish.entries()) != set():
        return None
    with suppress(OSError):
        note.parent.mkdir(mode=0o700, exist_ok=True)
        replace_file(note, seen)
    return found


def damaged(found: CachedFolder, entries: Iterable[Entry] | None) -> set[str] | None:
    """Return the paths in a cached folder whose stat values, or with `entries` digests, are wrong.

    None if the manifest cannot be read: then the state of the folder is unknown.
    """
    bad: set[str] = set()
    try:
        root = open_folder(found.path)
    except OSError:
        return None
    try:
        for row in read_rows(found.manifest):
            if not _looks_right(root, row):
                bad.add(row.path)
    except (OSError, IntegrityError):
        return None
    else:
        for entry in entries or ():
            if entry.digest and entry.path not in bad and not _hashes_right(root, entry):
                bad.add(entry.path)
    finally:
        os.close(root)
    return bad


def _looks_right(root: int, row: Row) -> bool:
    try:
        status = status_of(root, row.path)
    except OSError:
        return False
    if row.kind == Kind.DIRECTORY:
        return stat.S_ISDIR(status.st_mode)
    right = stat.S_ISLNK if row.kind == Kind.SYMLINK else stat.S_ISREG
    return right(status.st_mode) and status.st_size == row.size and status.st_mtime_ns == row.mtime_ns


def _hashes_right(root: int, entry: Entry) -> bool:
    try:
        with located(root, entry.path) as (here, name):
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
    except OSError:
        return False
    try:
        return hash_file(fd) == entry.digest
    finally:
        os.close(fd)
