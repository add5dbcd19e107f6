"""Per-process state shared by all versions of a repository: blocks, footers and frames, each bounded.

The idea: a process may read many versions, or one through many objects; its memory grows with neither. A
forked child has its own, because its parent's may hold locks that are never released.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from dataver.cache.eviction import FRAMES
from dataver.cache.frame_cache import FrameCache
from dataver.cache.version_cache import VersionCache
from dataver.errors import DataverError
from dataver.machine.cache_root import is_network, private_cache_root
from dataver.reading.frames import Frames
from dataver.repository import RepositoryCore

if TYPE_CHECKING:
    from pathlib import Path

    from dataver.formats.config import RepositoryConfig
    from dataver.storage import Store

__all__ = ["Shared", "shared"]

_shared: WeakValueDictionary[tuple[int, int, str, str], Shared] = WeakValueDictionary()


class Shared:
    """Per-process reader of a repository.

    Attributes:
        repo: the repository, with memory and locks of this process.
        frames: its frames.
    """

    def __init__(self, store: Store, config: RepositoryConfig) -> None:
        self.repo = RepositoryCore(store, config)
        self.frames = Frames(self.repo, _frame_cache(self.repo))


def shared(store: Store, config: RepositoryConfig) -> Shared:
    """Return this process's shared reader of a repository."""
    key = (os.getpid(), id(store), config.id, str(private_cache_root()))
    found = _shared.get(key)
    if found is None:  # two threads may both do this: one result is kept
        found = _shared.setdefault(key, Shared(store, config))
    return found


def _frame_cache(repo: RepositoryCore) -> FrameCache | None:
    """Return the machine's cache of a repository's frames; None if the repository is local."""
    near = repo.store.local_root
    if near is not None and not is_network(near):
        return None
    root = private_cache_root()
    return FrameCache(root / FRAMES / repo.id, lambda: _bound(root))


def _bound(root: Path) -> None:
    from dataver.cache.eviction import make_room  # only after frames were fetched

    with suppress(DataverError):  # the bound that the user set is no size, which `dataver cache info` says
        make_room(VersionCache(root), 0)
