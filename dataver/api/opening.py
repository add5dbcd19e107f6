"""Open a repository: `dataver.init`, `dataver.open`, and `dataver.fetch`, which fetches from one."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataver.api.repository import Repository
from dataver.errors import NotFound
from dataver.machine.configuration import configured_url, options_for
from dataver.machine.paths import absolute_url, default_repository
from dataver.progress import SILENT, Progress
from dataver.repository import Ref, init_repository, open_repository, ref_text
from dataver.storage.url import check_spelling

if TYPE_CHECKING:
    from dataver.checkout import FetchReport

# Imports in functions: only a fetch by lock file needs it.

__all__ = ["fetch", "init", "open"]


def init(
    url: str | Path | None = None,
    *,
    chunk_size: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Repository:
    """Create a repository and open it.

    Args:
        url: a folder or any fsspec URL, such as `s3://bucket/prefix`; None means the user's default folder.
        chunk_size: average chunk in bytes, a power of two; the default suits nearly everything.
        storage_options: passed to the file system (`endpoint_url`, `profile`, `anon` …).

    Raises:
        AlreadyExists: the location already holds a repository.
        InvalidInput: the URL, the chunk size or an option is invalid.
        StoreError: the store cannot be reached or written.
    """
    where = _place_of(url) if url is not None else str(default_repository())
    core = init_repository(where, options_for(where, storage_options), chunk_size=chunk_size)
    return Repository(core, where)


def open(  # noqa: A001  # dataver.open reads as gzip.open does
    url: str | Path | None = None, *, storage_options: Mapping[str, Any] | None = None
) -> Repository:
    """Open a repository.

    Args:
        url: the repository; None means `DATAVER_REPO`, else the one in `.dataver/config.toml` here or
            upwards, else the one in the user's configuration, else the user's default folder, which is
            created on first use.
        storage_options: passed to the file system, in addition to the configuration for this URL.

    Raises:
        NotFound: there is no repository.
        InvalidInput: the URL, an option or a configuration file is invalid.
        FormatTooNew: a newer dataver created it.
        IntegrityError: its `dataver.json` is damaged.
        StoreError: the store cannot be reached.
    """
    where = _place_of(url) if url is not None else configured_url()
    if where is None:
        where = str(default_repository())
        try:
            return Repository(open_repository(where, storage_options), where)
        except NotFound:
            return init(where)
    return Repository(open_repository(where, options_for(where, storage_options)), where)


def fetch(
    ref: Ref,
    *,
    dest: str | Path | None = None,
    include: str | Iterable[str] | None = None,
    exclude: str | Iterable[str] = (),
    shard: tuple[int | Iterable[int], int] | str | None = None,
    verify: str = "stat",
    overwrite: bool = False,
    locked: bool = False,
    run: object = None,
    repo: str | Path | Repository | None = None,
    storage_options: Mapping[str, Any] | None = None,
    progress: Progress | bool = SILENT,
) -> "FetchReport":
    """Fetch a version; the result can be used as the path of its folder. See `Repository.fetch`.

        folder = dataver.fetch("vision/cats@1.2.0", include="train/**").path

    Args:
        ref: the version, such as `vision/cats@1.0.0`.
        dest: the folder for a writable working copy; None returns a read-only view in the cache.
        include: globs; only matching files are fetched.
        exclude: globs; matching files are not fetched, even if `include` matches them.
        shard: `(rank, world)`, "rank" or "node": only that shard of the matching files.
        verify: "stat" or "full".
        overwrite: replace files in `dest` that differ.
        locked: fetch the version that the project's `dataver.lock` pins for `ref`.
        run: the run to link it to, as for `Repository.fetch`; None means the current one.
        repo: the repository, or its URL; None means the one that `dataver.open()` opens.
        storage_options: as for `open`, if `repo` is not a repository.
        progress: receives counts of files and bytes; True shows a bar.

    Raises:
        NotFound: the repository or the version does not exist, or `locked` is set and `ref` is not locked.
        PathNotFound: a pattern of `include` matches nothing.
        InvalidInput: `run`, `shard` or the lock file is invalid.
        Conflict: files in `dest` differ and `overwrite` is off, or `ref` is locked in another repository.
        IntegrityError: the repository holds damaged bytes, or other content than the locked one.
        StoreError: the store failed; repeating the call continues.
    """
    opened = repo if isinstance(repo, Repository) else open(repo, storage_options=storage_options)
    if locked:
        from dataver.api.lockfile import LockFile

        ref = LockFile.find().pinned(opened, ref_text(ref))
    return opened.fetch(
        ref,
        dest=dest,
        include=include,
        exclude=exclude,
        shard=shard,
        verify=verify,
        overwrite=overwrite,
        run=run,
        progress=progress,
    )


def _place_of(url: str | Path) -> str:
    if isinstance(url, str):
        check_spelling(url)  # before a mistyped URL becomes the path of a folder
    return absolute_url(url)
