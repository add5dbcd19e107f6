"""Versions as people hold them: what a record says, its files, and the difference of two."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dataver.errors import InvalidInput, PathNotFound
from dataver.formats.entry import Entry, Kind, portability_problems
from dataver.formats.record import ParentRef, Record
from dataver.progress import SILENT, Progress
from dataver.tree import Change, Tree, find_renames

if TYPE_CHECKING:
    from dataver.ingest import Sent
    from dataver.repository import Published
    from dataver.repository import Repository as RepositoryCore

__all__ = ["Diff", "UploadReport", "Version"]


@dataclass(frozen=True)
class UploadReport:
    """What an upload did.

    Attributes:
        version: the published version.
        packs: packs sent.
        blocks: tree blocks sent.
        size: bytes sent.
        seconds: wall time.
        already: nothing was left to do.
    """

    version: "Version"
    packs: int
    blocks: int
    size: int
    seconds: float
    already: bool


class Version:
    """One version of a dataset: immutable, published or sealed and still local.

    Get one from `Repository.version`, `Repository.versions` or `Draft.finalize`.
    """

    def __init__(
        self,
        repository: "RepositoryCore",
        record: Record,
        record_id: str | None,
        tree: Tree,
        uploader: "Callable[[Progress], Sent] | None" = None,
    ) -> None:
        self._repository = repository
        self._record = record
        self._record_id = record_id
        self._tree = tree
        self._uploader = uploader

    def __repr__(self) -> str:
        return f"Version({self.ref!r}, {self.digest[:16]}…, files={self.files})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Version):
            return NotImplemented
        return (self._record.write_id, self.digest) == (other._record.write_id, other.digest)

    def __hash__(self) -> int:
        return hash((self._record.write_id, self.digest))

    @property
    def dataset(self) -> str:
        """The dataset's name."""
        return self._record.dataset

    @property
    def label(self) -> str | None:
        """Its label, such as `1.0.0`; None while it is local and the label is left to `upload`."""
        return self._record.label or None

    @property
    def ref(self) -> str:
        """`dataset@label`; for a local version without a label, `dataset@(not uploaded)`."""
        return f"{self.dataset}@{self.label or '(not uploaded)'}"

    @property
    def digest(self) -> str:
        """The content's digest, `dv1:` and 64 hex characters: equal for equal content everywhere."""
        return f"dv1:{self._record.tree.hex()}"

    @property
    def record_id(self) -> str | None:
        """The digest of the record, 64 hex characters; None until it is published."""
        return self._record_id

    @property
    def repository_id(self) -> str:
        """The id of its repository, 32 hex characters."""
        return self._repository.id

    @property
    def repository_url(self) -> str:
        """The URL of its repository, without secrets."""
        return self._repository.url

    @property
    def uploaded(self) -> bool:
        """Whether it is published."""
        return self._record_id is not None

    @property
    def parents(self) -> list[ParentRef]:
        """The versions it was made from."""
        return list(self._record.parents)

    @property
    def created(self) -> datetime:
        """When it was finalized (aware, UTC)."""
        return self._record.created

    @property
    def author(self) -> str:
        """Who finalized it."""
        return self._record.author

    @property
    def message(self) -> str:
        """What was said of it."""
        return self._record.message

    @property
    def files(self) -> int:
        """How many files it has."""
        return self._record.files

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return self._record.size

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What was attached to it."""
        return dict(self._record.metadata)

    @property
    def tags(self) -> list[str]:
        """The tags that point to it now (asks the repository)."""
        moves = self._repository.tags.current(self.dataset)
        return [tag for tag, move in moves.items() if move.label == self.label]

    @property
    def tree(self) -> Tree:
        """Its tree."""
        return self._tree

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        """Yield its entries in path order, those whose path starts with `prefix`."""
        return self._tree.iterate(prefix)

    def entry(self, path: str) -> Entry:
        """Return the entry at a path.

        Raises:
            PathNotFound: it has none.
        """
        found = self._tree.get(path)
        if found is None:
            raise PathNotFound(
                f"{self.ref} has no '{path}'.", hint=f"`dataver ls {self.ref}` lists its files"
            )
        return found

    def read(self, path: str) -> bytes:
        """Return the content of one file, checked against its digest."""
        return b"".join(self.chunks(path))

    def chunks(self, path: str) -> Iterator[bytes | memoryview]:
        """Yield the content of one file piece by piece; the last piece comes only if the digest is right."""
        entry = self.entry(path)
        if entry.kind not in (Kind.FILE, Kind.EXECUTABLE):
            raise InvalidInput(f"'{path}' in {self.ref} is a link or an empty folder and has no content.")
        if not self.uploaded:
            raise InvalidInput(
                f"{self.ref} is not uploaded yet, so it cannot be read.", hint="upload it first"
            )
        return self._pieces(path, entry)

    def _pieces(self, path: str, entry: Entry) -> Iterator[bytes | memoryview]:
        from dataver.checkout import read_file
        from dataver.repository.packs import PackMissing

        done = 0
        try:
            for piece in read_file(self._repository, entry):
                yield piece
                done += len(piece)
        except PackMissing:  # was it repacked, and is the layout at hand that of before?
            self._repository.blocks.refresh()
            self._tree = self._repository.tree(self._record.tree)
            for piece in read_file(self._repository, self.entry(path)):
                yield piece[max(0, done) :]
                done -= len(piece)

    def portability(self) -> list[tuple[str, str]]:
        """Return `(path, why)` of names that some file systems cannot hold."""
        return portability_problems(entry.path for entry in self._tree.iterate())

    def upload(self, progress: Progress = SILENT) -> UploadReport:
        """Publish it; a version that is published already is left as it is.

        Raises:
            Conflict: the label the user chose was taken meanwhile.
            StoreError: the store failed; call again to continue.
        """
        if self._uploader is None or self.uploaded:
            return UploadReport(self, 0, 0, 0, 0.0, already=True)
        from dataver.repository.rates import remember

        sent = self._uploader(progress)
        self._record, self._record_id = sent.published
        self._tree = self._repository.tree(self._record.tree)
        remember(self._repository.id, "upload", sent.size, sent.seconds)
        return UploadReport(self, len(sent.packs), sent.blocks, sent.size, sent.seconds, already=False)

    @classmethod
    def of(cls, repository: "RepositoryCore", published: "Published") -> "Version":
        """Return the version of a published record."""
        return cls(repository, published.record, published.record_id, repository.tree(published.record.tree))


@dataclass(frozen=True)
class Diff:
    """What changes from one tree to another.

    Attributes:
        added: new paths.
        removed: paths that are gone.
        modified: paths whose content, kind or link target differs.
        renamed: `(old, new)` entries of equal content that changed their path; in neither list above.
    """

    added: list[Entry] = field(default_factory=list)
    removed: list[Entry] = field(default_factory=list)
    modified: list[Change] = field(default_factory=list)
    renamed: list[tuple[Entry, Entry]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.modified or self.renamed)

    @classmethod
    def of(cls, changes: Iterator[Change]) -> "Diff":
        """Sort a tree diff into its kinds."""
        everything = list(changes)
        pairs = find_renames(everything)
        left = {old.path for old, _ in pairs}
        arrived = {new.path for _, new in pairs}
        diff = cls(renamed=list(pairs))
        for change in everything:
            if change.old is None and change.new is not None:
                if change.path not in arrived:
                    diff.added.append(change.new)
            elif change.new is None and change.old is not None:
                if change.path not in left:
                    diff.removed.append(change.old)
            else:
                diff.modified.append(change)
        return diff

    def summary(self) -> dict[str, int]:
        """Return counts, and bytes added and removed."""
        grown = sum(change.new.size for change in self.modified if change.new)
        shrunk = sum(change.old.size for change in self.modified if change.old)
        return {
            "added": len(self.added),
            "removed": len(self.removed),
            "modified": len(self.modified),
            "renamed": len(self.renamed),
            "size_added": sum(entry.size for entry in self.added) + grown,
            "size_removed": sum(entry.size for entry in self.removed) + shrunk,
        }
