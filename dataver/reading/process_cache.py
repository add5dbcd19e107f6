"""Per-process state shared by all versions of a repository, and the picklable handle that finds it.

The idea: a process may read many versions, or one through many objects; its memory grows with neither. A
forked child has its own, because its parent's may hold locks that are never released. Blocks, footers and
frames are each bounded.

A handle has no secrets: if a store was opened with literal secrets, only its other options are pickled. The
receiving process uses its own open repository if it is the same one, and else opens it with the settings that
apply there: the environment, a profile, the configuration.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from dataver.cache.eviction import FRAMES, make_room
from dataver.cache.frame_cache import FrameCache
from dataver.cache.version_cache import VersionCache
from dataver.errors import DataverError
from dataver.machine.cache_root import is_network, private_cache_root
from dataver.machine.configuration import options_for
from dataver.reading.frames import Frames
from dataver.repository import RepositoryCore
from dataver.storage import open_store

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dataver.formats.config import RepositoryConfig
    from dataver.repository import Published
    from dataver.storage import Store

__all__ = ["Shared", "VersionHandle", "shared"]

_shared: WeakValueDictionary[tuple[int, int, str, str], Shared] = WeakValueDictionary()
_open: WeakValueDictionary[tuple[str, str], Store] = WeakValueDictionary()  # by URL and id


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

    with suppress(DataverError):  # the bound that the user set is no size, which `dataver cache info` says
        make_room(VersionCache(root), 0)


class VersionHandle:
    """A published version and the repository that holds it.

    Attributes:
        published: the version.
    """

    def __init__(self, repo: RepositoryCore, published: Published) -> None:
        self.published = published
        self._store: Store | None = repo.store
        self._config = repo.config
        self._url = repo.store.url
        self._options: Mapping[str, Any] | None = None
        _open[self._url, repo.id] = repo.store

    def __getstate__(self) -> tuple[Published, RepositoryConfig, str, Mapping[str, Any] | None]:
        options = self._options if self._store is None else self._store.plain_options
        return self.published, self._config, self._url, options

    def __setstate__(self, state: tuple[Published, RepositoryConfig, str, Mapping[str, Any] | None]) -> None:
        self.published, self._config, self._url, self._options = state
        self._store = _open.get((self._url, self._config.id))

    @property
    def url(self) -> str:
        """The repository's URL, without secrets."""
        return self._url

    def shared(self) -> Shared:
        """Return the calling process's reader of the repository.

        Raises:
            InvalidInput: its URL or options cannot be used here.
        """
        if self._store is None:
            store = open_store(self._url, options_for(self._url, self._options))
            store.exclusive_create = self._config.create_if_absent
            _open[self._url, self._config.id] = self._store = store
        return shared(self._store, self._config)
