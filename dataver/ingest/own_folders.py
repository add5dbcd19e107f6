"""Folders excluded from a source by default: repositories, dataver's own folders, and clutter.

Repositories, caches and workspaces are never added: they would grow with each `sync`. Nor is `.git`, a name
that paths of a version cannot contain (`docs/format.md`). The names in `DEFAULT_IGNORE` are excluded unless
an ignore file re-includes them or the default is switched off.
"""

import os
from pathlib import Path

from dataver.errors import DataverError, FormatTooNew
from dataver.formats.config import parse_config
from dataver.machine.paths import FOLDER, cache_root

__all__ = ["CONFIG", "DEFAULT_IGNORE", "FOLDER", "OwnFolders", "is_repository"]

DEFAULT_IGNORE = frozenset({".dvc", "__pycache__", ".ipynb_checkpoints", ".DS_Store"})
CONFIG = "dataver.json"
_MOST = 1 << 16  # bytes of a repository's configuration


class OwnFolders:
    """The folders that dataver itself uses on this machine: workspaces by name, the cache by identity."""

    def __init__(self) -> None:
        self._known: dict[int, int] = {}  # device by inode
        root = cache_root()
        own = root / f"dataver-{os.getuid()}"  # if others may write to the root
        for folder in (own if own.is_dir() else root,):
            try:
                status = folder.stat()
            except OSError:
                continue
            self._known[status.st_ino] = status.st_dev

    def holds(self, entry: os.DirEntry[str]) -> bool:
        """Return whether a folder's entry is one of them."""
        if entry.name in (FOLDER, ".git"):
            return True
        device = self._known.get(entry.inode())
        return device is not None and entry.stat(follow_symlinks=False).st_dev == device


def is_repository(folder: str) -> bool:
    """Return whether a folder is a dataver repository of any format."""
    try:
        with Path(folder, CONFIG).open("rb") as file:
            parse_config(file.read(_MOST))
    except FormatTooNew:
        return True
    except (OSError, DataverError):
        return False
    return True
