"""What an importer reads from another tool: versions, parents first, and the files of each.

The idea: a source only lists what there is. `dataver.importers.importing` compares each version with its
parents by the names that the source gives to contents, reads what is new, verifies it by the source's own
checksums, and publishes. So a source never writes, and never sees a repository.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, Any, NamedTuple, Protocol

from dataver.formats.entry import Kind
from dataver.hashing.checksums import Checksum

__all__ = ["Checksum", "Problems", "Source", "SourceFile", "SourceRun", "SourceVersion"]

Problems = list[tuple[str, str]]
"""Names and reasons of what cannot be brought."""


class SourceFile(NamedTuple):
    """A file of a version.

    Exactly one of `url`, `read` and `missing` is set for a regular file, none for a link or an empty folder.

    Attributes:
        path: its path in the version, with "/" as the separator.
        content: a name of its bytes within the source, such as "md5:…": equal names mean equal bytes.
        size: bytes; None if unknown.
        kind: file, executable, symbolic link or empty folder.
        target: the target of a symbolic link.
        url: a local path, or the URL of an object, whose bytes are exactly the file's.
        object_version: with `url`, the version id of the object in a versioned bucket.
        read: opens the file's bytes, for one that is not an object of its own (a member of an archive); it
            is called on several threads, and raises `DataverError` or `OSError`.
        check: the checksum of the bytes; None if the source has none.
        external: with `url`, the file stays where it is, as it did in the source.
        missing: the reason why the file cannot be read, known without trying.
    """

    path: str
    content: str
    size: int | None = None
    kind: Kind = Kind.FILE
    target: str = ""
    url: str | None = None
    object_version: str | None = None
    read: Callable[[], IO[bytes]] | None = None
    check: Checksum | None = None
    external: bool = False
    missing: str | None = None

    def stays(self, in_place: bool) -> bool:
        """Return whether the file is recorded where it is; `in_place` is what the user asked for."""
        return self.external or (in_place and self.url is not None)


class SourceRun(NamedTuple):
    """A run of a tracker that the source links to a version.

    Attributes:
        key: the run's key in the lineage, such as "wandb:entity/project/id".
        name: its name for people; "" if unknown.
        url: its page; "" if unknown.
    """

    key: str
    name: str = ""
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class SourceVersion:
    """A version in the source.

    Attributes:
        key: its identity in the source, which never changes: a commit, a task id.
        dataset: the name of the dataset, valid in dataver (`dataset_name`).
        files: returns its files, in any order; called again when a child is imported later. It may raise
            `DataverError`: then the version is reported and left out, and its children follow its parents.
        parents: keys of its parents, the nearest first.
        message: the description.
        author: the author; "" if unknown.
        created: the time, aware; None if unknown.
        label: the preferred label; None, an invalid or a taken one means the next free one.
        tags: names that point at this version now, as the source has them.
        metadata: further facts, as JSON values.
        produced_by: runs that made it.
        used_by: runs that read it.
        lasting: whether the names of its contents stand for the same bytes in a later import.
        data: what `join_unchanged` compares: equal for equal data of the dataset; None if they are unknown.
    """

    key: str
    dataset: str
    files: Callable[[], Iterable[SourceFile]]
    parents: tuple[str, ...] = ()
    message: str = ""
    author: str = ""
    created: datetime | None = None
    label: str | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    produced_by: tuple[SourceRun, ...] = ()
    used_by: tuple[SourceRun, ...] = ()
    lasting: bool = True
    data: Hashable = None


class Source(Protocol):
    """The history of a dataset, or of several, in another tool; a base class for its implementations.

    Attributes:
        kind: the tool: "dvc", "clearml", "git-lfs", "wandb", "hf", "folders", "s3-versions".
        location: what it reads, without secrets; shown, and recorded with each version.
        problems: `(name, reason)` of everything outside single files that could not be read, filled by
            `versions`.
        stores: storage options of URLs and of all below, such as an endpoint, as the other tool has them; a
            setting of this machine takes precedence.
    """

    kind: str
    location: str
    problems: Problems
    stores: Mapping[str, Mapping[str, Any]] = {}

    def __init__(self, location: str) -> None:
        self.location, self.problems = location, []

    def versions(self) -> Iterator[SourceVersion]:
        """Yield the versions, every parent before its children.

        A state with the data of its only parent is no version of its own: its tags and its children belong to
        that parent. The line that is the latest one comes first: before a merge, its first parent and all
        before that, then its other parents.

        Raises:
            InvalidInput: it is no such source.
            StoreError: the source cannot be reached.
        """
        ...
