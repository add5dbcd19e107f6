"""A repository: a store with `dataver.json`, and the objects below it.

`RepositoryCore` reads and resolves. Drafts (`dataver.ingest`) write to it, `dataver.checkout` fetches from
it, and the public `dataver.Repository` combines the three.
"""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataver.cache.object_cache import DiskCache
from dataver.errors import AlreadyExists, FormatTooNew, IntegrityError, InvalidInput, NotFound
from dataver.formats.canonical_json import MAX_JSON
from dataver.formats.config import RepositoryConfig, parse_config
from dataver.hashing import ChunkingParameters, digest
from dataver.machine.cache_root import private_cache_root
from dataver.repository.blocks import Blocks
from dataver.repository.create_once import Outcome, create_once, probe_exclusive_create
from dataver.repository.layout import CONFIG
from dataver.repository.packs import Packs
from dataver.repository.records import Published, Records
from dataver.repository.resolve import Ref, resolve
from dataver.repository.tags import Tags
from dataver.storage import Store, open_store
from dataver.tree import Tree

if TYPE_CHECKING:
    from dataver.repository.descriptions import Descriptions
    from dataver.repository.events import Events
    from dataver.repository.profiles import Profiles
    from dataver.repository.soundness import Soundness

# Imports in functions: each is made at its first use, and most commands use none.

__all__ = ["RepositoryCore", "init_repository", "open_repository", "opened", "read_config"]

_opened: dict[str, tuple[Store, RepositoryConfig]] = {}  # opened remote ones: the options may be in code only


class RepositoryCore:
    """One repository, opened.

    Attributes:
        store: its objects.
        config: the parameters in its `dataver.json`.
        blocks: its tree blocks.
        packs: its packs.
        records: its versions.
        tags: its movable names.
        cache: local cache of its small objects; None for a local store.
    """

    def __init__(self, store: Store, config: RepositoryConfig) -> None:
        self.store = store
        self.config = config
        local = store.local_root is not None
        self.cache = None if local else DiskCache(private_cache_root() / "repositories" / config.id)
        self.blocks = Blocks(store, self.cache)
        self.packs = Packs(store, self.cache)
        self.records = Records(store, self.cache)
        self.tags = Tags(store, self.records, self.cache)

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
    def local_name(self) -> str:
        """Name of local files about the repository at this location.

        Contains the id, which copies of a repository share, and 16 hex characters for the location.
        """
        return f"{self.id}-{digest(self.store.location.encode('utf-8', 'surrogateescape'))[:8].hex()}"

    @cached_property
    def soundness(self) -> "Soundness":
        """Known soundness of the packs."""
        from dataver.repository.soundness import Soundness

        return Soundness(self.store, self.packs, private_cache_root(), self.local_name)

    @cached_property
    def descriptions(self) -> "Descriptions":
        """What people say of its versions and datasets."""
        from dataver.repository.descriptions import Descriptions

        return Descriptions(self.store)

    @cached_property
    def profiles(self) -> "Profiles":
        """What its files are."""
        from dataver.repository.profiles import Profiles

        return Profiles(self.store, self.cache)

    @cached_property
    def events(self) -> "Events":
        """Its lineage events."""
        from dataver.repository.events import Events

        return Events(self.store)

    def resolve(self, ref: Ref) -> Published:
        """Return the version that `ref` names (see `dataver.repository.resolve`)."""
        found = resolve(self.records, self.tags, ref, self.url)
        record = found.record
        self.blocks.expect(record.tree, found.ref, (record.entries, record.files, record.size))
        return found

    def tree(self, digest: bytes) -> Tree:
        """Return the tree of that digest."""
        return Tree(digest, self.blocks.load)


def open_repository(url: str, storage_options: Mapping[str, Any] | None = None) -> RepositoryCore:
    """Open the repository at `url`.

    Raises:
        NotFound: no repository at that URL.
        FormatTooNew: a newer dataver made it.
        IntegrityError: its configuration is damaged, or the URL is of another service.
    """
    store = open_store(url, storage_options)
    config = read_config(store)
    # the result of the probe in `init` applies to all writers, but a copy may be in a weaker store
    store.exclusive_create = store.exclusive_create and config.create_if_absent
    return _remembered(RepositoryCore(store, config))


def opened(name: str) -> RepositoryCore | None:
    """Return the remote repository of a `local_name`, with its options, if this process has opened it."""
    known = _opened.get(name)
    return None if known is None else RepositoryCore(*known)


def _remembered(repo: RepositoryCore) -> RepositoryCore:
    if repo.store.local_root is None:
        _opened[repo.local_name] = repo.store, repo.config
    return repo


def read_config(store: Store) -> RepositoryConfig:
    """Return the configuration of the repository in a store; raises what `open_repository` does."""
    try:
        data = store.get_bounded(CONFIG, MAX_JSON)
    except NotFound as error:
        raise NotFound(
            f"{store.url} is not a dataver repository: it contains no {CONFIG}.",
            hint=f"create one with `dataver init {store.url}`",
        ) from error
    return _parse(store, data)


def init_repository(
    url: str, storage_options: Mapping[str, Any] | None = None, *, chunk_size: int | None = None
) -> RepositoryCore:
    """Create a repository at `url`.

    Args:
        url: an empty or missing folder, or a bucket prefix.
        storage_options: options of the store.
        chunk_size: average size of a chunk in bytes; minimum and maximum are a quarter and four times of it.

    Raises:
        AlreadyExists: a repository exists there.
        InvalidInput: the folder contains other files.
        IntegrityError: a damaged repository exists there, or the URL is of another service.
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
            f"another process has just created a repository at {store.url}.", hint="use it as it is"
        )
    return _remembered(RepositoryCore(store, config))


def _parse(store: Store, data: bytes) -> RepositoryConfig:
    try:
        return parse_config(data)
    except IntegrityError as error:
        if data.lstrip()[:1] == b"<":  # HTML of a proxy, a login page or a console
            raise IntegrityError(
                f"{store.url} is not a repository: it returns a web page instead of {CONFIG}.",
                hint="check the URL and, for a bucket, that endpoint_url is the address of an S3 service",
            ) from error
        raise IntegrityError(
            f"{CONFIG} in {store.url} is damaged: {error.message}.",
            hint="restore it from a copy of the repository; if this is no repository, use another location",
        ) from error


def _holds_config(store: Store) -> bool:
    try:
        _parse(store, store.get(CONFIG))  # not `exists`: S3 does not report wrong credentials for a HEAD
    except NotFound:
        return False
    except FormatTooNew:
        pass  # it exists
    return True


def _refuse_other_content(root: Path | None) -> None:
    if root is None or not root.is_dir():
        return
    names = [path.name for path in root.iterdir() if not path.name.startswith(".")]
    others = sorted(
        name for name in names if name != CONFIG
    )  # of a concurrent init, which the creation detects
    if others:
        shown = ", ".join(others[:3]) + (" …" if len(others) > 3 else "")
        raise InvalidInput(
            f"{root} contains other files ({shown}); a repository needs a folder of its own.",
            hint=f"use an empty folder, such as {root / 'dataver-repository'}",
        )
