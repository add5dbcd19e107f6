"""The public repository: everything one does with datasets, versions and drafts, in one place.

What brings versions here, moves them and frees them stands in a module each beside this one. What makes
versions is imported by the methods that need it, as what fetches them is: looking around starts in two
thirds of the time.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataver._author import author
from dataver._fetching import Fetching
from dataver._keeping import Keeping
from dataver._moving import Movable
from dataver._version import Diff, UploadReport, Version
from dataver.errors import InvalidInput, NotFound
from dataver.formats.config import RepositoryConfig
from dataver.formats.names import check_dataset_name
from dataver.formats.tag import TagMove
from dataver.progress import SILENT, Progress
from dataver.repository import init_repository, open_repository
from dataver.repository.configuration import configured_url, options_for
from dataver.repository.places import default_repository, find_workspace
from dataver.repository.resolve import latest
from dataver.storage import Store
from dataver.tree import diff

if TYPE_CHECKING:
    from dataver._draft import Draft
    from dataver.ingest import AddReport
    from dataver.reading import Files

__all__ = ["DatasetSummary", "Repository", "SyncReport", "fetch", "init", "open"]


@dataclass(frozen=True)
class DatasetSummary:
    """One line about a dataset.

    Attributes:
        name: the dataset.
        versions: how many versions it has.
        latest: what `name@latest` means now.
    """

    name: str
    versions: int
    latest: Version

    @property
    def created(self) -> datetime:
        """When the latest version was made."""
        return self.latest.created


@dataclass(frozen=True)
class SyncReport:
    """What a one-step `sync` did: `version` is None when nothing had changed."""

    version: Version | None
    add: "AddReport"
    upload: UploadReport | None
    seconds: float


class Repository(Fetching, Movable, Keeping):
    """A repository: a folder or a bucket prefix that holds datasets.

    Get one from `dataver.open` or `dataver.init`.
    """

    def __init__(self, store: Store, config: RepositoryConfig, given_url: str) -> None:
        super().__init__(store, config)
        self._given_url = given_url

    # drafts

    def create(
        self,
        name: str,
        *,
        parents: str | Sequence[str] = (),
        workspace: str | Path | None = None,
        stream: bool = False,
        spool: int | None = None,
    ) -> "Draft":
        """Start a draft, and make it the current one of its workspace.

        Args:
            name: the dataset, such as `vision/cats`.
            parents: versions to start from; of several, later ones win where they disagree.
            workspace: folder that keeps the draft in its `.dataver/`; the nearest one upwards, else this
                folder.
            stream: send packs while more is added and keep no copy of them, so that what is added may be
                larger than the disk; see `Draft.stream`.
            spool: with `stream`, bytes of packs that may wait on this machine; None means 256 MB.

        Raises:
            NotFound: a parent does not exist.
            InvalidInput: the spool is too small.
        """
        from dataver._draft import Draft
        from dataver.ingest.streaming import SPOOL

        check_dataset_name(name)
        wanted = [parents] if isinstance(parents, str) else list(parents)
        found = [self.resolve(ref) for ref in wanted]
        home = _workspace(workspace)
        size = (SPOOL if spool is None else spool) if stream else 0
        return Draft.start(self, self._given_url, home, name, found, spool=size)

    def draft(self, draft_id: str | None = None, *, workspace: str | Path | None = None) -> "Draft":
        """Return a draft of this workspace: by id or unambiguous prefix, else the current one.

        Raises:
            NotFound: there is none.
        """
        from dataver._draft import Draft
        from dataver.ingest import current_draft, list_drafts

        start = Path(workspace) if workspace is not None else None
        if draft_id is None:
            home, draft_id = current_draft(start)
        else:
            home = find_workspace(start) or _workspace(workspace)
            fitting = [state.id for state in list_drafts(home) if state.id.startswith(draft_id)]
            if len(fitting) > 1:
                raise InvalidInput(
                    f"'{draft_id}' fits several drafts: {', '.join(fitting)}.", hint="write more"
                )
            draft_id = fitting[0] if fitting else draft_id
        return Draft.load(self, home, draft_id)

    def drafts(self, workspace: str | Path | None = None) -> "list[Draft]":
        """Return this workspace's drafts for this repository that wait for upload, oldest first."""
        from dataver._draft import Draft
        from dataver.ingest import list_drafts

        home = find_workspace(Path(workspace) if workspace is not None else None)
        states = list_drafts(home) if home else []
        return [
            Draft(self, home, state)
            for state in states
            if home and state.repository_id == self.id and state.status != "uploaded"
        ]

    def sync(
        self,
        folder: str | Path,
        name: str,
        *,
        dest: str = "",
        message: str = "",
        label: str | None = None,
        bump: str = "patch",
        metadata: Mapping[str, Any] | None = None,
        exclude: Sequence[str] = (),
        include: Sequence[str] = (),
        follow_links: bool = False,
        workspace: str | Path | None = None,
        spool: int | None = None,
        progress: Progress = SILENT,
        sending: Progress = SILENT,
    ) -> SyncReport:
        """Make and publish the next version of a dataset so that it mirrors a folder, in one step.

        The latest version is the parent; nothing is made when nothing changed. To a store that is no folder,
        packs are sent while the folder is read, and `spool` bounds the bytes of those that wait (None: 256
        MB). A call that the store or the network ended continues when it is repeated. Other arguments as for
        `Draft.sync` and `Draft.finalize`; `sending` is told of the upload as `progress` is of the folder.
        """
        from dataver._one_step import OneStep
        from dataver.ingest.streaming import SPOOL, check_spool

        size = 0 if self.store.local_root is not None else check_spool(SPOOL if spool is None else spool)
        step = OneStep(
            self, self._given_url, _workspace(workspace), name, f"{_absolute(folder)} -> {dest}", size
        )
        return step.run(
            lambda draft: draft.sync(
                folder, dest, exclude=exclude, include=include, follow_links=follow_links, progress=progress
            ),
            lambda draft: draft.finalize(
                message, label=label, bump=bump, metadata=metadata, allow_empty=True
            ),
            sending,
        )

    # looking

    def datasets(self, prefix: str = "") -> list[DatasetSummary]:
        """Return the datasets whose name starts with `prefix`, by name."""
        found = self.records.datasets(prefix)
        newest = self.records.many(
            (name, latest(self.records, name, labels)) for name, labels in found.items()
        )
        return [
            DatasetSummary(name, len(labels), Version.of(self, published))
            for (name, labels), published in zip(found.items(), newest, strict=True)
        ]

    def versions(self, name: str) -> list[Version]:
        """Return the versions of a dataset, oldest first.

        Raises:
            NotFound: there is no such dataset.
        """
        if not self.records.labels(name):
            self.resolve(name)  # raises, and says what comes near
        return [Version.of(self, published) for published in self.records.versions(name)]

    def version(self, ref: str) -> Version:
        """Return the version named `name`, `name@label`, `name@tag`, `name@latest` or `dv1:<prefix>`.

        Raises:
            NotFound: nothing by that name.
            InvalidInput: no reference, or an ambiguous digest.
        """
        return Version.of(self, self.resolve(ref))

    def files(self, ref: str, *, run: object = None) -> "Files":
        """Return the files of a version, to be read where they are: nothing is fetched beforehand.

        Args:
            ref: the version.
            run: the run that what is read is linked to, as `fetch` takes it; None means the current one.

        Raises:
            NotFound: no such version.
            InvalidInput: `run` is no run.
        """
        from dataver.reading import Files

        key = None
        if run is not None:
            from dataver.lineage.which_run import key_of

            key, _ = key_of(run)
        return Files(self, self.resolve(ref), run=key)

    def diff(self, old: str, new: str) -> Diff:
        """Return what changes from one version to another, at a cost that grows with the difference."""
        before, after = self.resolve(old).record.tree, self.resolve(new).record.tree
        return Diff.of(diff(before, after, self.blocks.load))

    # tags

    def tag(self, ref: str, tag: str) -> Version:
        """Point a tag at a version; return the version."""
        published = self.resolve(ref)
        self.tags.move(published, tag, author=author(), write_id=os.urandom(16).hex())
        return Version.of(self, published)

    def untag(self, name: str, tag: str) -> None:
        """Remove a tag; its history stays.

        Raises:
            NotFound: there is no such tag.
        """
        self.tags.remove(name, tag, author=author(), write_id=os.urandom(16).hex())

    def tagged(self, name: str) -> dict[str, str]:
        """Return the tags of a dataset and the labels they point to."""
        return {tag: move.label for tag, move in self.tags.current(name).items() if move.label}

    def tag_history(self, name: str, tag: str) -> list[TagMove]:
        """Return all moves of a tag, oldest first."""
        return self.tags.history(name, tag)


def init(
    url: str | Path | None = None,
    *,
    chunk_size: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Repository:
    """Make a repository and open it.

    Args:
        url: a folder or any fsspec URL, such as `s3://bucket/prefix`; None means the user's default folder.
        chunk_size: average chunk in bytes, a power of two; the default suits nearly everything.
        storage_options: handed to the file system (`endpoint_url`, `profile`, `anon` …).

    Raises:
        AlreadyExists: there is one already.
        StoreError: the store cannot be reached or written.
    """
    where = _absolute(url if url is not None else default_repository())
    store, config = init_repository(where, options_for(where, storage_options), chunk_size=chunk_size)
    return Repository(store, config, where)


def open(  # noqa: A001  # dataver.open reads as gzip.open does
    url: str | Path | None = None, *, storage_options: Mapping[str, Any] | None = None
) -> Repository:
    """Open a repository.

    Args:
        url: the repository; None means `DATAVER_REPO`, else what `.dataver/config.toml` here or upwards
            names, else what the user's configuration names, else the user's default folder, which is made
            when it is first opened.
        storage_options: handed to the file system, on top of what the configuration has for this URL.

    Raises:
        NotFound: there is no repository.
        FormatTooNew: a newer dataver made it.
    """
    where = _absolute(url) if url is not None else configured_url()
    if where is None:
        where = str(default_repository())
        try:
            return Repository(*open_repository(where, storage_options), where)
        except NotFound:
            return init(where)
    return Repository(*open_repository(where, options_for(where, storage_options)), where)


def fetch(
    ref: str,
    *,
    dest: str | Path | None = None,
    paths: str | Iterable[str] | None = None,
    shard: tuple[int | Iterable[int], int] | str | None = None,
    verify: str = "stat",
    overwrite: bool = False,
    locked: bool = False,
    run: object = None,
    repo: str | Path | Repository | None = None,
) -> Path:
    """Fetch a version and return its folder; see `Repository.fetch`.

    Args:
        ref: the version, such as `vision/cats@1.0.0`.
        dest: an own, writable copy goes there; None gives a read-only folder in the cache.
        paths: globs; only what matches is fetched.
        shard: `(rank, world)`, "rank" or "node": of what matches, only the part of that reader of several.
        verify: "stat" or "full".
        overwrite: replace files in `dest` that differ.
        locked: take the version that the project's `dataver.lock` has for `ref`, wherever `ref` points now.
        run: the run to link it to, as `Repository.fetch` takes it; None means the current one.
        repo: the repository, or its URL; None means what `dataver.open()` opens.
    """
    opened = repo if isinstance(repo, Repository) else open(repo)
    if locked:
        from dataver._lock import LockFile

        ref = LockFile.find().pinned(opened, ref)
    report = opened.fetch(
        ref, dest=dest, paths=paths, shard=shard, verify=verify, overwrite=overwrite, run=run
    )
    return report.path


def _absolute(url: str | Path) -> str:
    """Return a folder's absolute path, so that drafts find it from anywhere; any other URL as it is."""
    text = str(url)
    return text if "://" in text else str(Path(text).expanduser().absolute())


def _workspace(chosen: str | Path | None) -> Path:
    if chosen is not None:
        return Path(chosen).absolute()
    return find_workspace() or Path.cwd()
