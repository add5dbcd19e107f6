"""The public repository: one method an operation on datasets, versions and drafts.

The class holds a `dataver.repository` core, and each method calls the module that does the work.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from dataver.api.dataset import DatasetSummary
from dataver.api.upkeep import Upkeep
from dataver.api.version import Version
from dataver.arguments import check_range, check_word
from dataver.formats.names import BUMPS
from dataver.machine.paths import absolute_url, workspace_of
from dataver.progress import SILENT, Progress, receiver
from dataver.repository import Ref, RepositoryCore
from dataver.repository.lines import latest_of_each
from dataver.tree.selection import Given, Selection

if TYPE_CHECKING:
    from dataver.api.diff import Diff
    from dataver.api.draft import Draft
    from dataver.api.sync import SyncReport
    from dataver.checkout import FetchReport
    from dataver.checkout.fetch_plan import FetchPlan
    from dataver.ingest.add_plan import AddPlan
    from dataver.ingest.scan import ScanOptions
    from dataver.lineage.lineage import Lineage
    from dataver.reading import Files
    from dataver.search.word_search import Hit

# Imports in functions: commands that only read metadata start in two thirds of the time.

__all__ = ["Repository"]


class Repository(Upkeep):
    """A repository: a folder or a bucket prefix that holds datasets.

    Get one from `dataver.open` or `dataver.init`. Besides the errors that a method lists, each that uses the
    store raises `StoreError` if the store fails, and `IntegrityError` if bytes that it needs are damaged.

        repo = dataver.open("s3://ml-data/repo")
        for version in repo.versions("vision/cats"):
            print(version.ref, version.created, version.file_count)
    """

    def __init__(self, core: RepositoryCore, given_url: str) -> None:
        self._core = core
        self._given_url = given_url

    def __repr__(self) -> str:
        return f"Repository({self.url!r})"

    def _repr_html_(self) -> str:
        from dataver.api.notebook import repository

        return repository(self._core)

    @property
    def url(self) -> str:
        """Its URL, without secrets."""
        return self._core.url

    @property
    def id(self) -> str:
        """Its random id, 32 hex characters; copies of a repository have the same."""
        return self._core.id

    @cached_property
    def lineage(self) -> "Lineage":
        """The runs that consumed and produced its versions."""
        from dataver.lineage.lineage import Lineage

        return Lineage(self._core)

    # drafts

    def create(
        self,
        name: str,
        *,
        parents: Ref | Sequence[Ref] = (),
        workspace: str | Path | None = None,
        stream: bool = False,
        spool: int | None = None,
    ) -> "Draft":
        """Start a draft, and make it the current one of this folder.

        Args:
            name: the dataset, such as `vision/cats`.
            parents: versions to start from; a later one takes precedence over an earlier one.
            workspace: the folder that keeps the draft in its `.dataver/`, and in which it is the current one;
                None means the nearest one upwards, else this folder.
            stream: upload packs while files are added and keep no copy of them, so that the data may exceed
                the disk; see `Draft.stream`.
            spool: with `stream`, the limit of bytes of packs in the local spool; None means 256 MB.

        Raises:
            NotFound: a parent does not exist.
            InvalidInput: the spool is too small, or the name differs from a dataset's only in case.
        """
        from dataver.api.drafts import create_draft
        from dataver.ingest.pack_uploader import SPOOL

        size = (SPOOL if spool is None else spool) if stream else 0
        return create_draft(self._core, self._given_url, name, parents, workspace, spool=size)

    def draft(self, draft_id: str | None = None, *, workspace: str | Path | None = None) -> "Draft":
        """Return a draft of a workspace.

        Args:
            draft_id: its id, or an unambiguous prefix; None means the current draft.
            workspace: the folder whose `.dataver/` holds it, or one below; None means the current folder.

        Raises:
            NotFound: there is none.
            InvalidInput: the prefix is ambiguous, or the draft belongs to another repository.
        """
        from dataver.api.drafts import open_draft

        return open_draft(self._core, draft_id, workspace)

    def drafts(self, workspace: str | Path | None = None) -> "list[Draft]":
        """Return the drafts of a workspace for this repository that are not uploaded, oldest first.

        Args:
            workspace: as for `draft`.
        """
        from dataver.api.drafts import open_drafts

        return open_drafts(self._core, workspace)

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
        author: str | None = None,
        created: datetime | None = None,
        exclude: Sequence[str] = (),
        include: Sequence[str] = (),
        follow_links: bool = False,
        checksum: bool = False,
        default_ignore: bool = True,
        allow_shrink: bool = False,
        allow_fork: bool = False,
        workspace: str | Path | None = None,
        spool: int | None = None,
        workers: int | None = 1,
        progress: Progress | bool = SILENT,
        sending: Progress = SILENT,
    ) -> "SyncReport":
        """Create and publish the next version of a dataset as a mirror of a folder, in one step.

        The latest version is the parent; without a change no version is made. If another version is published
        meanwhile, the folder, as it was read, is mirrored onto it: its changes elsewhere remain. With
        `allow_fork` a fork is published instead, and `latest` does not move.

        Unless the store is a local folder, packs are sent while the folder is read. A call that a failure of
        the store or network ended continues when repeated.

            report = repo.sync("photos/", "vision/cats", dest="train", message="July photos")
            print(report.version or "nothing had changed")

        Args:
            folder: the folder to mirror.
            name: the dataset; it need not exist.
            dest: folder inside the version; "" is its root.
            message: the description of the version.
            label: the label; None means the next free one.
            bump: the part of the highest label to increment: "major", "minor" or "patch".
            metadata: JSON values to attach.
            author: the author; None means `DATAVER_AUTHOR`, else the user's login name.
            created: the time of the version, for imported data, as for `Draft.finalize`; None means now.
            exclude: gitignore patterns to leave out.
            include: gitignore patterns; when given, only matching files are added. Each must match a file.
            follow_links: store the targets of symbolic links.
            checksum: read every file, also those with unchanged size and times.
            default_ignore: leave out clutter such as `__pycache__`, as `Draft.add` does.
            allow_shrink: publish also a version with less than half of the files.
            allow_fork: publish a fork if another version was published meanwhile.
            workspace: the folder that keeps the draft meanwhile, as for `create`.
            spool: the limit of bytes of unsent packs; None means 256 MB.
            workers: number of processes that read and store files, as for `Draft.add`.
            progress: receives counts of files and bytes read; True shows a bar.
            sending: receives counts of packs sent.

        Raises:
            InvalidInput: the folder is empty or (without `allow_shrink`) leaves less than half of the files,
                it is not a folder, or the name, the label or the metadata is invalid.
            PathNotFound: a pattern of `include` matches no file.
            Conflict: the label is taken, or other processes keep publishing versions.
            StoreError: the store failed; repeating the call continues.
        """
        from dataver.api.draft import check_created
        from dataver.api.sync import SyncOperation

        check_word("bump", bump, BUMPS)
        if created is not None:  # before the folder is read
            there = self._core.records.labels(name)
            check_created(created, [self._core.resolve(name)] if there else ())
        home = workspace_of(workspace)
        step = SyncOperation(self._core, self._given_url, home, name, absolute_url(folder), dest, spool)
        with receiver(progress is True if sending is SILENT else sending, "Uploading", "pack") as shown:
            return step.run(
                lambda draft: draft.sync(
                    folder,
                    dest,
                    exclude=exclude,
                    include=include,
                    follow_links=follow_links,
                    checksum=checksum,
                    default_ignore=default_ignore,
                    allow_shrink=allow_shrink,
                    workers=workers,
                    progress=progress,
                ),
                lambda draft: draft.finalize(
                    message,
                    label=label,
                    bump=bump,
                    metadata=metadata,
                    author=author,
                    created=created,
                    allow_empty=True,
                ),
                shown,
                allow_fork=allow_fork,
            )

    def plan_sync(
        self, folder: str | Path, name: str, *, allow_shrink: bool = False, **options: "Unpack[ScanOptions]"
    ) -> "AddPlan":
        """Return what `sync` with these arguments would add, read and remove; changes nothing.

        Args:
            folder: the folder to mirror.
            name: the dataset.
            allow_shrink: as for `sync`.
            options: `dest`, `exclude`, `include`, `follow_links`, `checksum` and `default_ignore` of `sync`.

        Raises:
            InvalidInput: `folder` is not a folder, or leaves too few files.
        """
        from dataver.api.sync import plan_sync

        return plan_sync(self._core, folder, name, options, allow_shrink=allow_shrink)

    # queries

    def datasets(self, prefix: str = "") -> list[DatasetSummary]:
        """Return the datasets whose name starts with `prefix`, by name."""
        found = self._core.records.datasets(prefix)
        newest = latest_of_each(self._core.records, found)
        described = self._core.descriptions.lookup(prefix)
        return [
            DatasetSummary(name, len(labels), Version.of(self._core, newest[name], described))
            for name, labels in found.items()
            if name in newest
        ]

    def versions(self, name: str) -> list[Version]:
        """Return the versions of a dataset, oldest first.

        Raises:
            NotFound: the dataset does not exist.
        """
        found = self._core.records.versions(name)
        if not found:
            self._require_dataset(name)
        described = self._core.descriptions.lookup()
        return [Version.of(self._core, each, described) for each in found]

    def version(self, ref: Ref) -> Version:
        """Return the version named `name`, `name@label`, `name@tag`, `name@latest` or `dv1:<prefix>`.

        Raises:
            NotFound: the version does not exist.
            InvalidInput: invalid reference, or an ambiguous digest.
        """
        return Version.of(self._core, self._core.resolve(ref))

    def files(self, ref: Ref, *, run: object = None) -> "Files":
        """Return the files of a version for reading on demand, without fetching them first.

        Args:
            ref: the version.
            run: the run to link the read files to, as for `fetch`; None means the current one.

        Raises:
            NotFound: the version does not exist.
            InvalidInput: `run` is invalid.
        """
        return self.version(ref).files(run=run)

    def diff(
        self, old: Ref, new: Ref | None = None, *, include: Given | None = None, exclude: Given = ()
    ) -> "Diff":
        """Return the changes from one version to another, at a cost proportional to the difference.

        Args:
            old: the older version, or the only one.
            new: the newer version; None compares `old` with its first parent.
            include: as for `Version.diff`.
            exclude: as for `Version.diff`.

        Raises:
            NotFound: a version or the parent does not exist.
            PathNotFound: a pattern of `include` matches nothing.
        """
        other = None if new is None else self.version(new)
        return self.version(old).diff(other, include=include, exclude=exclude)

    # finding

    def search(
        self,
        words: str,
        *,
        prefix: str = "",
        files: bool = True,
        limit: int = 20,
        progress: Progress | bool = SILENT,
    ) -> "list[Hit]":
        """Return the versions, datasets and files that match words, the best first.

        Searches names, messages, descriptions, metadata and readmes, then the paths of files, in the local
        index, after updating it from the repository.

        Args:
            words: all of them must match, each also as the beginning of a word, in any case.
            prefix: the beginning of the dataset's name.
            files: search paths and columns, too; the first such search reads the tree of every version.
            limit: the maximum number of results, of texts and of paths each.
            progress: receives counts of versions read; True shows a bar.

        Raises:
            InvalidInput: there is no word, or `limit` is less than 1.
        """
        from dataver.search.search import search

        check_range("limit", limit, 1)
        with receiver(progress, "Reading", "version") as shown:
            return search(self._core, words, prefix=prefix, files=files, limit=limit, progress=shown)

    def find(self, condition: str, *, prefix: str = "", progress: Progress | bool = SILENT) -> list[Version]:
        """Return the versions that meet a condition, the newest first.

            repo.find("rows > 1000000 and license = 'MIT'")
            repo.find("tag = 'production' and created >= '2026-11'", prefix="vision/")

        Args:
            condition: an SQL expression over `name`, `label`, `tag`, `created`, `author`, `message`, `files`,
                `size`, `description`, `license`, `owner`, `digest`, and the keys of the metadata.
            prefix: the beginning of the dataset's name.
            progress: receives counts of versions read; True shows a bar.

        Raises:
            InvalidInput: the condition is not valid, names an unknown column, or takes too long.
        """
        from dataver.search.search import find

        with receiver(progress, "Reading", "version") as shown:
            found = find(self._core, condition, prefix=prefix, progress=shown)
        described = self._core.descriptions.lookup(prefix)
        return [
            Version.of(self._core, each, described)
            for each in self._core.records.there((*each, None) for each in found)
        ]

    # fetching

    def fetch(
        self,
        ref: Ref,
        *,
        dest: str | Path | None = None,
        include: Given | Selection | None = None,
        exclude: Given = (),
        shard: "tuple[int | Iterable[int], int] | str | None" = None,
        verify: str = "stat",
        overwrite: bool = False,
        run: object = None,
        progress: Progress | bool = SILENT,
    ) -> "FetchReport":
        """Bring a version to this machine, verify every byte, and link it to the current run.

        Args:
            ref: the version.
            dest: the folder for a writable working copy; None returns a read-only view in the cache.
            include: globs; only matching files are fetched.
            exclude: globs; matching files are not fetched, even if `include` matches them.
            shard: `(rank, world)`: only that shard of the matching files; ranks start at 0. "rank" takes both
                from the launcher of this process (torchrun, Slurm, Open MPI), "node" the shards of all ranks
                of this machine. Without a launcher, that is everything.
            verify: how an existing folder is checked: "stat" or "full" (hashes every file).
            overwrite: replace files in `dest` that differ.
            run: the run to link it to: a key such as `mlflow:4f1c…`, a `dataver.Run`, or a tracker's own
                object; None means the current run (`dataver.run` describes how it is found).
            progress: receives counts of files and bytes; True shows a bar.

        Raises:
            NotFound: the version does not exist.
            PathNotFound: a pattern of `include` matches nothing, or `exclude` matches all the rest.
            InvalidInput: `run`, `shard` or `verify` is invalid.
            Conflict: files in `dest` differ and `overwrite` is off; nothing was changed.
            IntegrityError: the repository holds damaged bytes; none of them was left under a file's name.
        """
        from dataver.api.fetching import fetch

        return fetch(
            self._core,
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

    def plan_fetch(
        self,
        ref: Ref,
        *,
        dest: str | Path | None = None,
        include: Given | Selection | None = None,
        exclude: Given = (),
        shard: "tuple[int | Iterable[int], int] | str | None" = None,
        measure: bool = True,
    ) -> "FetchPlan":
        """Return what a fetch with these arguments would transfer; writes nothing and links no run.

        Args:
            ref: the version.
            dest: the folder for a working copy; None means the cache.
            include: globs; only matching files.
            exclude: globs; no matching files.
            shard: as for `fetch`.
            measure: if no speed of this repository is recorded, read up to 8 MB of the data to measure it.

        Raises:
            NotFound: the version does not exist.
            PathNotFound: as for `fetch`.
            InvalidInput: `shard` is invalid.
        """
        from dataver.api.fetching import plan_fetch

        return plan_fetch(
            self._core, ref, dest=dest, include=include, exclude=exclude, shard=shard, measure=measure
        )

    def fetch_run(
        self, run: str, *, dest: str | Path | None = None, progress: Progress | bool = SILENT
    ) -> "dict[str, FetchReport]":
        """Fetch exactly the data that a run read: the same versions, and the same part of each.

        Args:
            run: a run's id in any system, or an unambiguous prefix (`Lineage.run`).
            dest: the folder for writable working copies, each in `name@label` if there are several; None
                returns read-only views in the cache.
            progress: receives counts of files and bytes; True shows a bar.

        Returns:
            One report per version, by `name@label`.

        Raises:
            NotFound: the run does not exist or read nothing, or a version was deleted.
            InvalidInput: several runs match.
            IntegrityError: a label names a different version from the one the run read.
        """
        from dataver.api.fetching import fetch_run

        return fetch_run(self._core, self.lineage, run, dest=dest, progress=progress)
