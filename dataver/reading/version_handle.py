"""Picklable handle of a version and its repository, without secrets.

The idea: if a store was opened with literal secrets, only its other options are pickled. The receiving
process uses its own open repository if it is the same one, and else opens it with the settings that apply
there: the environment, a profile, the configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataver.formats.config import RepositoryConfig
    from dataver.reading.process_cache import Shared
    from dataver.repository import Published, RepositoryCore
    from dataver.storage import Store

__all__ = ["VersionHandle"]

_open: WeakValueDictionary[tuple[str, str], Store] = WeakValueDictionary()  # by URL and id


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
        from dataver.machine.configuration import options_for
        from dataver.reading.process_cache import shared
        from dataver.storage import open_store

        if self._store is None:
            store = open_store(self._url, options_for(self._url, self._options))
            store.exclusive_create = self._config.create_if_absent
            _open[self._url, self._config.id] = self._store = store
        return shared(self._store, self._config)
