"""What all versions of a repository that one process reads share: blocks, footers and frames, each bounded.

The idea: a process may read many versions, or one through many objects; what it keeps in memory grows with
neither. A forked child has its own, because its parent's may hold locks that nobody frees.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from dataver.checkout.cache_keeping import FRAMES
from dataver.checkout.version_cache import VersionCache
from dataver.errors import DataverError
from dataver.reading.frame_cache import FrameCache
from dataver.reading.frames import Frames
from dataver.repository import Repository
from dataver.repository.private_place import is_network, private_cache_root

if TYPE_CHECKING:
    from pathlib import Path

    from dataver.formats.config import RepositoryConfig
    from dataver.storage import Store

__all__ = ["Shared", "shared"]

_shared: WeakValueDictionary[tuple[int, int, str, str], Shared] = WeakValueDictionary()


class Shared:
    """A repository as one process reads it.

    Attributes:
        repo: the repository, with memory and locks of this process.
        frames: its frames.
    """

    def __init__(self, store: Store, config: RepositoryConfig) -> None:
        self.repo = Repository(store, config)
        self.frames = Frames(self.repo, _frame_cache(self.repo))


def shared(store: Store, config: RepositoryConfig) -> Shared:
    """Return what this process shares of a repository."""
    key = (os.getpid(), id(store), config.id, str(private_cache_root()))
    found = _shared.get(key)
    if found is None:  # two threads may both come here: one of the two stays
        found = _shared.setdefault(key, Shared(store, config))
    return found


def _frame_cache(repo: Repository) -> FrameCache | None:
    """Return the machine's copies of a repository's frames; None where it is as near itself."""
    near = repo.store.local_root
    if near is not None and not is_network(near):
        return None
    root = private_cache_root()
    return FrameCache(root / FRAMES / repo.id, lambda: _bound(root))


def _bound(root: Path) -> None:
    with suppress(DataverError):  # the bound that the user set is no size, which `dataver cache info` says
        VersionCache(root).make_room(0)
