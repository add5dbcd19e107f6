"""A repository: a store that holds `dataver.json`, and everything found through it.

`Repository` only reads and resolves. Drafts (`dataver.ingest`) write to it, `dataver.checkout` fetches from
it, and the public `dataver.Repository` joins the three.
"""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataver.errors import AlreadyExists, InvalidInput, NotFound
from dataver.formats.config import RepositoryConfig, parse_config
from dataver.hashing import ChunkingParameters
from dataver.repository.blocks import Blocks
from dataver.repository.layout import CONFIG
from dataver.repository.packs import Packs
from dataver.repository.private_place import private_cache_root
from dataver.repository.publish import Outcome, create_once
from dataver.repository.records import Published, Records
from dataver.repository.resolve import resolve
from dataver.repository.tags import Tags
from dataver.storage import DiskCache, Store, open_store, probe_exclusive_create
from dataver.tree import Tree

if TYPE_CHECKING:
    from dataver.repository.events import Events

__all__ = ["Repository", "init_repository", "open_repository"]


class Repository:
    """One repository, opened.

    Attributes:
        store: where its objects live.
        config: the parameters in its `dataver.json`.
        blocks: its tree blocks.
        packs: its packs.
        records: its versions.
        tags: its movable names.
        cache: the machine's copies of its small objects; None where the store is as near as a cache.
    """

    def __init__(self, store: Store, config: RepositoryConfig) -> None:
        self.store = store
        self.config = config
        local = store.local_root is not None
        self.cache = None if local else DiskCache(private_cache_root() / "repositories" / config.id)
        self.blocks = Blocks(store, self.cache)
        self.packs = Packs(store, self.cache)
        self.records = Records(store, self.cache)
        self.tags = Tags(store, self.records)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    @property
    def url(self) -> str:
        """The repository's URL, without secrets."""
        return self.store.url

    @property
    def id(self) -> str:
        """The repository's random id, 32 hex characters."""
        return self.config.id

    @cached_property
    def events(self) -> "Events":
        """What runs did with the versions."""
        from dataver.repository.events import Events

        return Events(self.store)

    def resolve(self, ref: str) -> Published:
        """Return the version that `ref` names (see `dataver.repository.resolve`)."""
        return resolve(self.records, self.tags, ref, self.url)

    def tree(self, digest: bytes) -> Tree:
        """Return the tree of that digest."""
        return Tree(digest, self.blocks.load)


def open_repository(
    url: str, storage_options: Mapping[str, Any] | None = None
) -> tuple[Store, RepositoryConfig]:
    """Open the store at `url` and read its `dataver.json`.

    Raises:
        NotFound: there is no repository there.
        FormatTooNew: a newer dataver made it.
    """
    store = open_store(url, storage_options)
    try:
        data = store.get(CONFIG)
    except NotFound as error:
        raise NotFound(
            f"{store.url} is not a dataver repository: it holds no {CONFIG}.",
            hint=f"`dataver init {store.url}` makes one there",
        ) from error
    config = parse_config(data)
    store.exclusive_create = config.create_if_absent  # what `init` found out holds for every writer
    return store, config


def init_repository(
    url: str, storage_options: Mapping[str, Any] | None = None, *, chunk_size: int | None = None
) -> tuple[Store, RepositoryConfig]:
    """Make a repository at `url`.

    Args:
        url: an empty folder, a folder to be made, or a bucket prefix.
        storage_options: handed to the store.
        chunk_size: average size of a chunk in bytes; least and most are a quarter and four times of it.

    Raises:
        AlreadyExists: there is a repository already.
        InvalidInput: the folder holds other things.
    """
    store = open_store(url, storage_options)
    if _holds_config(store):
        raise AlreadyExists(f"{store.url} is a dataver repository already.", hint="use it as it is")
    _refuse_other_content(store.local_root)
    config = RepositoryConfig(
        id=os.urandom(16).hex(),
        chunking=ChunkingParameters() if chunk_size is None else ChunkingParameters.for_average(chunk_size),
        create_if_absent=probe_exclusive_create(store),
        created=datetime.now(UTC),
        write_id=os.urandom(16).hex(),
    )
    if create_once(store, CONFIG, config.encode()) is Outcome.LOST:
        raise AlreadyExists(
            f"somebody else has just made a repository at {store.url}.", hint="use it as it is"
        )
    return store, config


def _holds_config(store: Store) -> bool:
    try:
        store.get(CONFIG)  # and not `exists`: S3 answers a HEAD without saying that the credentials are wrong
    except NotFound:
        return False
    return True


def _refuse_other_content(root: Path | None) -> None:
    if root is None or not root.is_dir():
        return
    names = [path.name for path in root.iterdir() if not path.name.startswith(".")]
    others = sorted(name for name in names if name != CONFIG)  # another init, just now: creating it will tell
    if others:
        shown = ", ".join(others[:3]) + (" …" if len(others) > 3 else "")
        raise InvalidInput(
            f"{root} holds other things ({shown}); a repository needs a folder of its own.",
            hint=f"use an empty folder, such as {root / 'dataver-repository'}",
        )
