"""What interrupted writers left that no listing of a repository shows: unfinished files in a local folder.

Only a store in a folder has them (`storage/local.py` names them `.tmp-…`); no reader and no writer looks at
one that is not its own. The folder's file system dates them, which is that store's clock.
"""

import contextlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from dataver.storage import ObjectInfo, Store
from dataver.storage.base import TEMPORARY

__all__ = ["is_unfinished", "remove_unfinished", "unfinished"]


def unfinished(store: Store) -> Iterator[ObjectInfo]:
    """Yield the unfinished files of a store in a folder; others have none. Keys are relative paths."""
    root = store.local_root
    if root is None:
        return
    for folder, _, names in os.walk(root):
        for name in names:
            if name.startswith(TEMPORARY):
                path = Path(folder, name)
                try:
                    found = path.lstat()
                except OSError:
                    continue  # it has just been finished
                when = datetime.fromtimestamp(found.st_mtime, UTC)
                yield ObjectInfo(path.relative_to(root).as_posix(), found.st_size, when)


def is_unfinished(key: str) -> bool:
    """Tell whether a path is that of an unfinished file; no object has such a key."""
    return key.rpartition("/")[2].startswith(TEMPORARY)


def remove_unfinished(store: Store, key: str) -> None:
    """Remove an unfinished file, if it is still there and may be removed."""
    root = store.local_root
    if root is not None and is_unfinished(key):
        with contextlib.suppress(OSError):
            (root / key).unlink()
