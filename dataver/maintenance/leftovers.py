"""Unfinished files of interrupted writers in a local store, which listings do not include.

Only a local store has them (`storage/local.py` names them `.tmp-…`); no process uses those of another. Their
modification times are those of the file system, which is that store's clock.
"""

import contextlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime

from dataver.machine.descent import open_folder, walk_folders
from dataver.storage import ObjectInfo, Store
from dataver.storage.base import TEMPORARY

__all__ = ["is_unfinished", "remove_unfinished", "unfinished"]


def unfinished(store: Store) -> Iterator[ObjectInfo]:
    """Yield the unfinished files of a local store; other stores have none. Keys are relative paths."""
    root = store.local_root
    if root is None:
        return
    top = open_folder(os.path.realpath(root))
    try:
        for visit in walk_folders(top, failed=lambda _path, _error: None):
            for name in visit.others:
                if name.startswith(TEMPORARY):
                    try:
                        found = os.lstat(name, dir_fd=visit.fd)
                    except OSError:
                        continue  # it was just renamed
                    when = datetime.fromtimestamp(found.st_mtime, UTC)
                    yield ObjectInfo(f"{visit.path}/{name}".lstrip("/"), found.st_size, when)
    finally:
        os.close(top)


def is_unfinished(key: str) -> bool:
    """Return whether a path is of an unfinished file; no object has such a key."""
    return key.rpartition("/")[2].startswith(TEMPORARY)


def remove_unfinished(store: Store, key: str) -> None:
    """Remove an unfinished file, if it exists and permissions allow it."""
    root = store.local_root
    if root is not None and is_unfinished(key):
        with contextlib.suppress(OSError):
            (root / key).unlink()
