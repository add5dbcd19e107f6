"""Public drafts: a draft in a workspace, which can become a `Version`."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, TypeAlias, Unpack, overload

from dataver.api.forking import Forking
from dataver.api.profiling import profile_sealed, publish_profiled
from dataver.api.version import UploadReport, Version
from dataver.arguments import check_word
from dataver.errors import InvalidInput
from dataver.formats.names import BUMPS
from dataver.formats.record import ParentRef
from dataver.ingest import AddReport, DraftCore
from dataver.ingest.add_plan import AddPlan, plan_add
from dataver.ingest.pack_uploader import SPOOL
from dataver.ingest.scan import Scan, ScanOptions, require_folder
from dataver.lineage.record.recorder import record_output
from dataver.progress import SILENT, Progress, receiver
from dataver.repository import Published
from dataver.tree import Given, Tree, new_name_problems
from dataver.user import author as default_author

if TYPE_CHECKING:
    from dataver.api.diff import Diff
    from dataver.ingest.external import ExternalPlan, ExternalReport
    from dataver.ingest.upload_plan import UploadPlan

# Imports in functions: `add` and `upload` need none of it.

__all__ = ["Draft", "check_created"]

BytesMode: TypeAlias = Literal["rb", "wb", "xb", "ab", "r+b", "w+b", "x+b", "a+b", "rb+", "wb+", "xb+", "ab+"]
TextMode: TypeAlias = Literal["r", "w", "x", "a", "r+", "w+", "x+", "a+", "rt", "wt", "xt", "at"]


class Draft(Forking):
    """A version under construction: local, mutable, crash-safe.

    Get one from `Repository.create` or `Repository.draft`. A method that changes it raises `Conflict` if the
    draft was finalized or another command holds it, and `StoreError` if the disk or the store fails.

        draft = repo.create("vision/cats", parents="vision/cats@latest")
        draft.add("photos/", dest="train")
        version = draft.finalize("July photos")
        version.upload()
    """

    def __init__(self, core: DraftCore) -> None:
        self._core = core

    def __repr__(self) -> str:
        return f"Draft({self.dataset!r}, id={self.id!r}, {self.status_name})"

    def _repr_html_(self) -> str:
        from dataver.api.notebook import draft

        return draft(self._core)

    @property
    def id(self) -> str:
        """The draft's id, 12 hex characters."""
        return self._core.id

    @property
    def dataset(self) -> str:
        """The dataset this will be a version of."""
        return self._core.dataset

    @property
    def workspace(self) -> Path:
        """The folder whose `.dataver/` holds the draft."""
        return self._core.workspace

    @property
    def status_name(self) -> str:
        """`open`, `sealed` or `uploaded`."""
        return self._core.state.status

    @property
    def sealed(self) -> bool:
        """Whether it was finalized."""
        return self.status_name != "open"

    @property
    def parents(self) -> list[str]:
        """The versions it started from, as `dataset@label`."""
        return self._core.parents

    @property
    def conflicts(self) -> list[str]:
        """Paths that its parents changed differently; the later parent's content was taken."""
        return list(self._core.state.conflicts)

    @property
    def created(self) -> datetime:
        """The time of creation."""
        return datetime.fromisoformat(self._core.state.created)

    @property
    def changed(self) -> bool:
        """Whether its content differs from the tree it started from."""
        return self._core.changed

    @property
    def tree(self) -> Tree:
        """The current files."""
        return self._core.tree

    def status(self) -> "Diff":
        """Return the difference between this draft and its parents."""
        from dataver.api.diff import Diff

        return Diff(self._core.changes)

    def stream(self, spool: int = SPOOL) -> None:
        """Upload packs from now on while files are added, and keep no copy of sent packs.

        Args:
            spool: the limit of bytes of unsent packs; adding waits for the network when it is reached.

        Raises:
            InvalidInput: it is too small.
            Conflict: another command holds the draft, or it was finalized.
        """
        self._core.stream(spool)

    def add(
        self,
        *sources: str | Path,
        dest: str = "",
        exclude: Sequence[str] = (),
        include: Sequence[str] = (),
        follow_links: bool = False,
        checksum: bool = False,
        default_ignore: bool = True,
        workers: int | None = 1,
        progress: Progress | bool = SILENT,
    ) -> AddReport:
        """Add files and the contents of folders; their bytes are durable when this returns (invariant 6).

        Args:
            sources: files and folders. A folder's contents go below `dest`, a file goes into it.
            dest: folder inside the version; "" is its root.
            exclude: gitignore patterns to leave out.
            include: gitignore patterns; when given, only matching files are added. Each must match a file.
            follow_links: store the targets of symbolic links.
            checksum: read every file, also those with unchanged size and times.
            default_ignore: leave out `.dvc`, `__pycache__`, `.ipynb_checkpoints` and `.DS_Store`, unless an
                ignore file re-includes them.
            workers: number of processes that read and store files. None takes one a core, at most four, if
                the sources are large enough and this process has no other thread. A script that gives more
                than 1 needs `if __name__ == "__main__":`.
            progress: receives counts of files and bytes; True shows a bar.

        Raises:
            PathNotFound: a source does not exist, or a pattern of `include` matches no file; nothing was
                added.
            InvalidInput: `dest` is not a valid path.
            Conflict: another command holds the draft, or it was finalized.
        """
        how = Scan(dest, exclude, include, follow_links, checksum, default_ignore)
        with receiver(progress, "Adding", fresh="new") as shown:
            return self._core.add(sources, how, shown, workers=workers)

    def plan_add(self, *sources: str | Path, **options: Unpack[ScanOptions]) -> AddPlan:
        """Return what `add` with these arguments would add and read; reads no content and changes nothing.

        Args:
            sources: as for `add`.
            options: the other arguments of `add`, except for `progress`.

        Raises:
            PathNotFound: a source does not exist, or a pattern of `include` matches no file.
        """
        return plan_add(self._core.repository, self._core.tree, sources, Scan(**options))

    def sync(
        self,
        folder: str | Path,
        dest: str = "",
        *,
        exclude: Sequence[str] = (),
        include: Sequence[str] = (),
        follow_links: bool = False,
        checksum: bool = False,
        default_ignore: bool = True,
        allow_shrink: bool = False,
        workers: int | None = 1,
        progress: Progress | bool = SILENT,
    ) -> AddReport:
        """Make `dest` mirror a folder: add its files, remove all others.

        Args:
            folder: the folder.
            dest: folder inside the version; "" is its root.
            exclude: gitignore patterns to leave out.
            include: gitignore patterns; when given, only matching files are added. Each must match a file.
            follow_links: store the targets of symbolic links.
            checksum: read every file, also those with unchanged size and times.
            default_ignore: leave out clutter, as `add` does.
            allow_shrink: proceed if less than half of the files that `dest` holds would be left.
            workers: number of processes that read and store files, as for `add`.
            progress: receives counts of files and bytes; True shows a bar.

        Raises:
            InvalidInput: `folder` is not a folder, or would leave less than half of the files that `dest`
                holds and `allow_shrink` is not set. The draft is unchanged.
            PathNotFound: a pattern of `include` matches no file; the draft is unchanged.
            Conflict: another command holds the draft, or it was finalized.
        """
        require_folder(folder)
        how = Scan(dest, exclude, include, follow_links, checksum, default_ignore)
        mirror = partial(self._core.add, mirror=True, allow_shrink=allow_shrink, workers=workers)
        with receiver(progress, "Mirroring", fresh="new") as shown:
            return mirror((folder,), how, shown)

    def plan_sync(
        self, folder: str | Path, *, allow_shrink: bool = False, **options: Unpack[ScanOptions]
    ) -> AddPlan:
        """Return what `sync` with these arguments would add, read and remove; changes nothing.

        Args:
            folder: the folder.
            allow_shrink: as for `sync`.
            options: the other arguments of `sync`, except for `progress`.

        Raises:
            InvalidInput: `folder` is not a folder, or leaves too few files.
        """
        require_folder(folder)
        how = Scan(**options)
        return plan_add(
            self._core.repository, self._core.tree, (folder,), how, mirror=True, allow_shrink=allow_shrink
        )

    def add_external(
        self,
        *urls: str | Path,
        dest: str = "",
        exclude: Sequence[str] = (),
        include: Sequence[str] = (),
        progress: Progress | bool = SILENT,
    ) -> "ExternalReport":
        """Record external files: each is read once, to be hashed, and none is copied.

        A fetch of the version reads them from their places and reports changed ones by name. Files that are
        recorded already and unchanged are not read again. This allows this machine to read the places; other
        machines must allow them first, unless they are in the repository's own bucket (`docs/stores.md`).

        Args:
            urls: folders, files, or URLs of prefixes and objects. What is below goes below `dest`.
            dest: folder inside the version; "" is its root.
            exclude: gitignore patterns to leave out.
            include: gitignore patterns; when given, only matching files are recorded. Each must match a file.
            progress: receives counts of files and bytes; True shows a bar.

        Raises:
            PathNotFound: there is nothing at a URL, or a pattern of `include` matches no file; nothing was
                recorded.
            StoreError: a store refuses or cannot be reached; nothing was recorded.
            Conflict: another command holds the draft, or it was finalized.
        """
        how = Scan(dest, exclude, include, default_ignore=False)
        with receiver(progress, "Adding", fresh="new") as shown:
            return self._core.add_external(urls, how, shown)

    def plan_external(
        self, *urls: str | Path, dest: str = "", exclude: Sequence[str] = (), include: Sequence[str] = ()
    ) -> "ExternalPlan":
        """Return what `add_external` with these arguments would record and read; reads no file content.

        Arguments and errors as for `add_external`.
        """
        from dataver.ingest.external import plan_external

        how = Scan(dest, exclude, include, default_ignore=False)
        return plan_external(self._core, self._core.repository, urls, how)

    def plan_remove(self, *patterns: str | os.PathLike[str], exclude: Given = ()) -> list[str]:
        """Return every path that `remove` with these arguments would remove; changes nothing.

        Raises:
            PathNotFound: some patterns match nothing.
            InvalidInput: no pattern is given.
        """
        return self._core.plan_remove(*patterns, exclude=exclude)

    def remove(self, *patterns: str | os.PathLike[str], exclude: Given = ()) -> list[str]:
        """Remove every path that a pattern matches and no pattern of `exclude` does; return them.

        Args:
            patterns: paths, folders (with all below), or globs such as `train/**/*.tmp`.
            exclude: patterns of paths to keep.

        Raises:
            PathNotFound: some patterns match nothing; nothing was removed.
            InvalidInput: no pattern is given.
            Conflict: another command holds the draft, or it was finalized.
        """
        return self._core.remove(*patterns, exclude=exclude)

    def move(self, source: str | os.PathLike[str], target: str | os.PathLike[str]) -> int:
        """Rename a file or a folder inside the draft; return the number of moved paths.

        Raises:
            NotFound: the path does not exist.
            InvalidInput: the target exists, or is inside the source.
            Conflict: another command holds the draft, or it was finalized.
        """
        return self._core.move(source, target)

    @overload
    def open(
        self, path: str | os.PathLike[str], mode: BytesMode = "rb", *, executable: bool | None = None
    ) -> IO[bytes]: ...

    @overload
    def open(
        self,
        path: str | os.PathLike[str],
        mode: TextMode,
        *,
        executable: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[str]: ...

    def open(
        self,
        path: str | os.PathLike[str],
        mode: str = "rb",
        *,
        executable: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[Any]:
        """Open a file of this draft, to read, write or change it without a copy of the dataset.

        Written data is durable in the draft when `close` returns (invariant 6). If an exception leaves the
        `with` block, the file is unchanged. Several files may be open at once; each takes some 30 MB of
        memory while a large file is written. For many small files, write a folder and `add` it.

        Args:
            path: of the file in the version.
            mode: as for the built-in `open`. "w", "x" and "a" take bytes in order and keep no copy on this
                machine; with "+" written data waits in a local file of that size. "a" and "+" read the
                existing content once, since a file's digest covers all its bytes; only new chunks are stored.
            executable: whether the file is executable; None keeps the existing kind.
            encoding: of text; the default is UTF-8.
            errors: as for the built-in `open`.
            newline: as for the built-in `open`.

        Raises:
            PathNotFound: the file does not exist and the mode reads it.
            AlreadyExists: the file exists and the mode is "x".
            InvalidInput: unknown mode, invalid path, or the path is a link or a folder.
            Conflict: the draft was finalized; from `close` also: another writer changed the file meanwhile.
            StoreError: the disk or the store failed.
        """
        from dataver.api.draft_file import open_in_draft

        return open_in_draft(
            self._core, path, mode, executable=executable, encoding=encoding, errors=errors, newline=newline
        )

    def finalize(
        self,
        message: str = "",
        *,
        label: str | None = None,
        bump: str = "patch",
        metadata: Mapping[str, Any] | None = None,
        author: str | None = None,
        created: datetime | None = None,
        allow_empty: bool = False,
    ) -> Version:
        """Seal the draft: its content is fixed and has a digest; it is still local. Repeating it is safe.

        The version is recorded as an output of the current run.

        Args:
            message: the description of this version.
            label: the user's choice; with None, `upload` takes the next free one.
            bump: the part of the highest label to increment: "major", "minor" or "patch".
            metadata: JSON values to attach.
            author: the author; None means `DATAVER_AUTHOR`, else the user's login name.
            created: the time of the version, as for imported data: in the past, and after that of its
                parents. None means now. If others publish meanwhile, `upload` takes a time after theirs.
            allow_empty: make a version even if nothing changed.

        Raises:
            InvalidInput: nothing changed, or the label, the metadata or the time is invalid.
        """
        check_word("bump", bump, BUMPS)
        values = {
            "message": message,
            "author": author or default_author(),
            "created": (created or datetime.now(UTC)).astimezone(UTC).isoformat(),
            "metadata": dict(metadata or {}),
            "write_id": os.urandom(16).hex(),
        }
        if created is not None:
            check_created(created, () if self.sealed else self._known_parents())
        self._core.record(values).encode()  # validates the values before anything is fixed
        self._core.seal(values, label=label, bump=bump, allow_empty=allow_empty)
        profile_sealed(self._core)
        version = self.version()
        record = self._core.record(self._core.state.sealed or values)
        record_output(self._core.repository, record, version.record_id, how="finalize")
        return version

    def _known_parents(self) -> Iterator[Published]:
        of_parent = self._core.repository.records.of_parent
        return filter(None, (of_parent(ParentRef(**each)) for each in self._core.state.parents))

    def portability(self) -> list[tuple[str, str]]:
        """Return `(path, reason)` of names this draft adds that some file systems cannot hold.

        Checks the folders that gained a name, not the whole version.
        """
        added = [change.path for change in self._core.changes() if change.old is None]
        return new_name_problems(self._core.tree, self._core.base_tree, added)

    def version(self) -> Version:
        """Return the sealed version.

        Raises:
            InvalidInput: the draft is not finalized.
        """
        core = self._core
        if core.state.published is None:
            core.refresh()
        state = core.state
        sealed = state.sealed
        if sealed is None:
            raise InvalidInput(
                f"draft {self.id} of {self.dataset} is not finalized.", hint="finalize it first"
            )
        if state.published is not None:
            return Version.of(core.repository, core.repository.records.get(self.dataset, state.published))
        record = replace(core.record(sealed), label=state.label or "")
        return Version(core.repository, record, None, core.tree, partial(publish_profiled, core))

    def upload(
        self, progress: Progress | bool = SILENT, *, rebase: bool = False, allow_fork: bool = False
    ) -> UploadReport:
        """Publish the sealed version atomically. Repeating it is safe.

        If other versions were published since, this draft's changes are applied to the latest version of its
        line, which becomes its parent. A draft without parents in the dataset is published unchanged.

        Args:
            progress: receives counts of packs; True shows a bar.
            rebase: keep this draft's content of a path that both changed, instead of raising.
            allow_fork: publish a fork beside the latest version instead; `latest` does not move.

        Raises:
            InvalidInput: the draft is not finalized.
            Conflict: other versions changed the same paths, or the chosen label was taken meanwhile.
            StoreError: the store failed; call again to continue.
        """
        return self.version().upload(progress, rebase=rebase, allow_fork=allow_fork)

    def plan_upload(self) -> "UploadPlan":
        """Return what `upload` would send, with the time if it can be estimated; sends nothing.

        A draft that is not finalized is planned in its current state.
        """
        from dataver.ingest.upload_plan import plan_upload

        return plan_upload(self._core)

    def discard(self) -> None:
        """Delete the draft and its unpublished data."""
        self._core.discard()


def check_created(moment: datetime, parents: Iterable[Published]) -> None:
    """Raise an error for a time that a version cannot have.

    Raises:
        InvalidInput: it has no time zone, is in the future, or is not after that of a parent.
    """
    if moment.tzinfo is None:
        raise InvalidInput(f"the time {moment} has no time zone.", hint="give one, such as datetime.UTC")
    if moment > datetime.now(UTC):
        raise InvalidInput(f"the time {moment} is in the future.", hint="later versions could not follow it")
    for parent in parents:
        if moment <= parent.record.created:
            raise InvalidInput(
                f"the time {moment} is not after that of {parent.ref}, a parent: {parent.record.created}.",
                hint="versions are ordered by time: import old ones first",
            )
