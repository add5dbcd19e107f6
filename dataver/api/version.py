"""Public versions: their records and files."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from dataver.api.looking import Looking
from dataver.errors import InvalidInput, PathNotFound
from dataver.formats.entry import Entry, Kind, portability_problems
from dataver.formats.record import Record
from dataver.progress import SILENT, Progress, receiver
from dataver.repository.read_again import resumed
from dataver.short_repr import short_repr
from dataver.tree import Selection, Tree, path_of
from dataver.tree.selection import literal
from dataver.user import author

if TYPE_CHECKING:
    from dataver.api.describing import DescriptionFields
    from dataver.api.diff import Diff
    from dataver.checkout import FetchReport
    from dataver.formats.description import Description
    from dataver.ingest import Sent
    from dataver.reading import Files
    from dataver.reading.stream import FileReader
    from dataver.repository import Published, RepositoryCore
    from dataver.tree.selection import Given

# Imports in functions: lists of versions need none of it.

__all__ = ["UploadReport", "Version"]


@dataclass(frozen=True)
class UploadReport:
    """Result of an upload.

    Attributes:
        version: the published version.
        packs: packs sent.
        blocks: tree blocks sent.
        size: bytes sent.
        seconds: wall time.
        already: it was already published.
        onto: the version, published meanwhile, that the changes were applied to, or None.
        beside: the latest version, which this one is a fork of; None on the main line.
        replaced: the previous latest version if this one was not made from it, or None.
    """

    version: "Version"
    packs: int
    blocks: int
    size: int
    seconds: float
    already: bool
    onto: str | None = None
    beside: str | None = None
    replaced: str | None = None

    __repr__ = short_repr


class Version(Looking):
    """One version of a dataset: immutable, published or sealed and still local.

    Get one from `Repository.version`, `Repository.versions` or `Draft.finalize`.
    """

    def __init__(
        self,
        repository: "RepositoryCore",
        record: Record,
        record_id: str | None,
        tree: Tree,
        uploader: "Callable[[Progress, bool, bool], tuple[Sent, Published | None]] | None" = None,
        described: "Callable[[Published], Description | None] | None" = None,
    ) -> None:
        self._repository = repository
        self._record = record
        self._record_id = record_id
        self._tree = tree
        self._uploader = uploader
        self._described = described

    def __repr__(self) -> str:
        return f"Version({self.ref!r}, {self.digest[:16]}…, files={self.file_count})"

    def _repr_html_(self) -> str:
        from dataver.api.notebook import version

        few = self.uploaded and self.file_count <= 10_000  # whose tree is read in 0.1 s
        kinds = self.kinds if few else list
        return version(self._record, self.ref, self.tree, lambda: (self.tags, self.description), kinds)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Version):
            return NotImplemented
        return (self._record.write_id, self.digest) == (other._record.write_id, other.digest)

    def __hash__(self) -> int:
        return hash((self._record.write_id, self.digest))

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The metadata of its description, else of its record: JSON values (reads the repository)."""
        found = self.description
        return dict(self._record.metadata if found is None else found.metadata)

    @cached_property
    def description(self) -> "Description | None":
        """Its description; None if it was not described. Reads the repository once, as `metadata` does."""
        described = self._described or self._repository.descriptions.of
        found = described(self._published()) if self.uploaded else None
        # the label may belong to another version than the one described, in a restored repository
        return found if found is not None and found.record == self._record_id else None

    @property
    def readme(self) -> str | None:
        """Its description's readme, else its `README.md`: Markdown. None if it has neither."""
        found = self.description
        if found is not None and found.readme is not None:
            return found.readme
        from dataver.repository.descriptions import find_readme

        entry = find_readme(self._tree)
        return None if entry is None else self.read(entry.path).decode("utf-8", "replace")

    def describe(self, text: str | None = None, **fields: "Unpack[DescriptionFields]") -> "Description":
        """Describe it; return its new description. Its record, its digest and older descriptions stay.

        Args:
            text: what it is, in a few sentences; None leaves the text as it is.
            fields: `license`, `owner`, `readme`, `set` and `unset` of `DescriptionFields`.

        Raises:
            InvalidInput: it is not uploaded, the license is not an SPDX expression, a value is too large or
                not JSON, or a key of `unset` does not exist.
            Conflict: other writers keep describing it.
        """
        from dataver.api.describing import describe

        self.description = describe(self._repository, self.dataset, self._published(), text, fields)
        return self.description

    def description_history(self) -> "list[Description]":
        """Return all its descriptions, oldest first."""
        return self._repository.descriptions.history(self.dataset, self.label)

    def croissant(self) -> dict[str, Any]:
        """Return its description in Croissant 1.1, a JSON-LD document: files, tables, licence and origin.

        Saved as a file in the folder that the version is fetched to, it can be read by `mlcroissant`, which
        then yields the rows of tables. The columns of tables are known from their profiles, and the run that
        produced the version from the lineage; what is not known is left out.

        Raises:
            InvalidInput: it is not uploaded.
        """
        from dataver.api.croissant import croissant

        return croissant(self._repository, self._published(), self.description, self._tree)

    @property
    def tags(self) -> list[str]:
        """The tags that point to it now (reads the repository)."""
        moves = self._repository.tags.current(self.dataset)
        return [tag for tag, move in moves.items() if move.label == self.label]

    @property
    def tree(self) -> Tree:
        """Its tree."""
        return self._tree

    def entries(
        self, prefix: str = "", *, include: "Given | None" = None, exclude: "Given" = ()
    ) -> Iterator[Entry]:
        """Yield its entries, in path order.

        Args:
            prefix: only entries whose path starts with it.
            include: globs; only matching entries.
            exclude: globs of entries to leave out.

        Raises:
            PathNotFound: a pattern of `include` matches nothing.
        """
        if include is None and not exclude:
            return self._tree.iterate(prefix)
        matches = Selection.across([self._tree], include, exclude).matcher()
        return (entry for entry in self._tree.iterate(prefix) if matches(entry.path))

    def entry(self, path: str | os.PathLike[str]) -> Entry:
        """Return the entry at a path.

        Raises:
            PathNotFound: the path does not exist.
        """
        found = self._tree.get(path_of(path))
        if found is None:
            raise PathNotFound(
                f"{self.ref} has no '{path}'.", hint=f"`dataver ls {self.ref}` lists its files"
            )
        return found

    def read(self, path: str | os.PathLike[str]) -> bytes:
        """Return the content of one file, verified against its digest.

        Raises:
            PathNotFound: the path does not exist.
            InvalidInput: it is not a file, or the version is not uploaded.
            IntegrityError: the repository holds other bytes.
            StoreError: the store failed.
        """
        return b"".join(self.chunks(path))

    def chunks(self, path: str | os.PathLike[str]) -> Iterator[bytes | memoryview]:
        """Yield the content of one file in pieces; the last piece is yielded only if the digest matches.

        Errors as for `read`.
        """
        entry = self.entry(path)
        if entry.kind not in (Kind.FILE, Kind.EXECUTABLE):
            raise InvalidInput(f"'{path}' in {self.ref} is a link or an empty folder and has no content.")
        self._published()
        return self._pieces(entry)

    def _pieces(self, entry: Entry) -> Iterator[bytes | memoryview]:
        from dataver.checkout import read_file

        def again() -> Iterator[bytes | memoryview]:
            self._repository.blocks.refresh()
            self._tree = self._repository.tree(self._record.tree)
            return read_file(self._repository, self.entry(entry.path))

        return resumed(read_file(self._repository, entry), again)

    def open(self, path: str | os.PathLike[str]) -> "FileReader":
        """Open one file for reading, without fetching it; only the parts that are read are transferred.

        Raises:
            PathNotFound: the path does not exist.
            InvalidInput: it is not a file, or the version is not uploaded.
        """
        return self.files().open(path)

    def files(self, *, run: object = None) -> "Files":
        """Return its files for reading on demand, without fetching them first.

        Args:
            run: the run to link the read files to, as for `Repository.fetch`; None means the current one.

        Raises:
            InvalidInput: it is not uploaded, or `run` is invalid.
        """
        from dataver.reading import Files

        published, key = self._published(), None
        if run is not None:
            from dataver.lineage.attribution.owner import key_of

            key, _ = key_of(run)
        return Files(self._repository, published, run=key)

    def path(self, path: str | os.PathLike[str]) -> Path:
        """Fetch one file, or a folder and everything below it, and return its path in the cache, read-only.

        Raises:
            PathNotFound: the path does not exist.
            InvalidInput: it is not uploaded.
            IntegrityError: the repository holds other bytes.
            StoreError: the store failed; repeating the call continues.
        """
        name = path_of(path)
        return self.fetch(include=literal(name)).path / name

    def fetch(
        self,
        *,
        dest: str | Path | None = None,
        include: "Given | Selection | None" = None,
        exclude: "Given" = (),
        shard: "tuple[int | Iterable[int], int] | str | None" = None,
        verify: str = "stat",
        overwrite: bool = False,
        run: object = None,
        progress: Progress | bool = SILENT,
    ) -> "FetchReport":
        """Bring it to this machine and verify every byte. Arguments and errors as for `Repository.fetch`."""
        from dataver.api.fetching import fetch

        self._published()
        return fetch(
            self._repository,
            self,
            dest=dest,
            include=include,
            exclude=exclude,
            shard=shard,
            verify=verify,
            overwrite=overwrite,
            run=run,
            progress=progress,
        )

    def diff(
        self, other: "Version | None" = None, *, include: "Given | None" = None, exclude: "Given" = ()
    ) -> "Diff":
        """Return the changes from this version to another one, or from its first parent to it.

        Args:
            other: a version of the same repository; None compares with the parent. Every path of a version
                without a parent is added.
            include: globs; only changes of matching paths.
            exclude: globs of paths to leave out.

        Raises:
            NotFound: the parent is not in the repository.
            PathNotFound: a pattern of `include` matches no path of either version.
        """
        from dataver.api.diff import Side, compare, find_parent

        old, new = (self, other) if other is not None else (None, self)
        if other is None and (parent := find_parent(self._repository, self._record.parents, self.ref)):
            old = Version.of(self._repository, parent)
        load = (old if old is not None and old._record_id is None else new)._tree._load  # a draft's: of both
        before = None if old is None else Side(old.ref, old._tree, old.path)
        return compare(before, Side(new.ref, new._tree, new.path), load, include, exclude)

    def tag(self, tag: str, *, protect: bool | None = None, force: bool = False, reason: str = "") -> None:
        """Point a tag at it. Arguments as for `Repository.tag`.

        Raises:
            InvalidInput: the tag is not a valid name, the version is not uploaded, or `force` is given
                without a reason.
            Conflict: the tag is protected, or other writers keep moving it.
        """
        found = self._published()
        self._repository.tags.move(found, tag, author=author(), protect=protect, force=force, reason=reason)

    def restore(
        self,
        message: str = "",
        *,
        label: str | None = None,
        bump: str = "patch",
        metadata: Mapping[str, Any] | None = None,
    ) -> UploadReport:
        """Publish its content as the latest version of its dataset; transfer no data.

        The new version is a child of the latest one, and its message names this one. If the latest version
        has that content already, no version is made (`UploadReport.already`).

        Args:
            message: the description of the new version, to which the name of this one is added.
            label: the label; None means the next free one.
            bump: the part of the highest label to increment: "major", "minor" or "patch".
            metadata: JSON values to attach; None means those of this version.

        Raises:
            NotFound: this version was deleted.
            InvalidInput: the label or the metadata is invalid, or this version is not uploaded.
            Conflict: the label is taken.
        """
        from dataver.lineage.record.recorder import record_output
        from dataver.maintenance.restore import restore

        began = time.perf_counter()
        found, made = restore(
            self._repository,
            self._published(),
            author=author(),
            message=message,
            label=label,
            bump=bump,
            metadata=self.metadata if metadata is None else metadata,
        )
        record_output(
            self._repository, found.record, found.record_id, how="finalize" if made else "unchanged"
        )
        version = Version.of(self._repository, found)
        return UploadReport(version, 0, 0, 0, time.perf_counter() - began, already=not made)

    def delete(self, *, force: bool = False, reason: str = "") -> None:
        """Delete it. Arguments and errors as for `Repository.delete`."""
        from dataver.maintenance.delete import execute_delete, plan_delete

        self._published()
        plan = plan_delete(self._repository, [self.ref], children=False)
        execute_delete(self._repository, plan, author=author(), reason=reason, force=force)

    def portability(self) -> list[tuple[str, str]]:
        """Return `(path, reason)` of names that some file systems cannot hold."""
        return portability_problems(entry.path for entry in self._tree.iterate())

    def upload(
        self, progress: Progress | bool = SILENT, *, rebase: bool = False, allow_fork: bool = False
    ) -> UploadReport:
        """Publish it atomically unless it is published. Arguments and errors as for `Draft.upload`."""
        if self._uploader is None or self.uploaded:
            return UploadReport(self, 0, 0, 0, 0.0, already=True)
        from dataver.machine.speeds import record_transfer

        with receiver(progress, "Uploading", "pack") as shown:
            sent, onto = self._uploader(shown, rebase, allow_fork)
        self._record, self._record_id = sent.published
        self._tree = self._repository.tree(self._record.tree)
        record_transfer(self._repository.local_name, "upload", sent.size, sent.seconds)
        position = sent.position
        other = position.before.ref if position and position.before and not position.contained else None
        return UploadReport(
            self,
            len(sent.packs),
            sent.blocks,
            sent.size,
            sent.seconds,
            already=False,
            onto=onto and onto.ref,
            beside=other if self._record.line else None,
            replaced=None if self._record.line else other,
        )

    @classmethod
    def of(
        cls,
        repository: "RepositoryCore",
        published: "Published",
        described: "Callable[[Published], Description | None] | None" = None,
    ) -> "Version":
        """Return the version of a published record; `described` finds its description."""
        record, record_id = published
        return cls(repository, record, record_id, repository.tree(record.tree), described=described)
