"""What the engines have in common: tasks of equal size, the part of one task, files of a version by share.

The idea: one token serves all tasks of a job, and a task is named by the engine's own number, so that an
attempt that is repeated writes the same paths. Parts travel as JSON text: engines pickle them by different
means. Reads of all tasks belong to the run of the driver. Options of the store travel without secrets.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import dataver
from dataver.checkout.selection import FILES
from dataver.errors import Incomplete, InvalidInput, StoreError
from dataver.ingest.scan import Scan, scan
from dataver.lineage.attribution.owner import whose
from dataver.lineage.record.recorder import record_output
from dataver.tree.selection import Selection, literal, path_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from dataver.reading.files import Files
    from dataver.repository import Ref
    from dataver.tree.selection import Given

__all__ = [
    "TASK_SIZE",
    "Job",
    "Reading",
    "add_task",
    "balanced",
    "empty",
    "found_files",
    "holds_files",
    "is_parquet",
    "joined",
    "opened",
    "part_path",
    "published",
    "table_task",
]

TASK_SIZE: Final = 128 << 20
"""Bytes of files that one task adds or reads, unless the caller gives a number of tasks."""

_OVERHEAD: Final = 16 << 10  # bytes that take as long as opening a file
_UPLOADS: Final = 3  # attempts
T = TypeVar("T")


def opened(
    repo: dataver.Repository | str | os.PathLike[str] | None, storage_options: Mapping[str, Any] | None
) -> dataver.Repository:
    """Return an open repository, or open one by its URL; None means that of `dataver.open()`."""
    if isinstance(repo, dataver.Repository):
        return repo
    return dataver.open(None if repo is None else os.fspath(repo), storage_options=storage_options)


class Job(NamedTuple):
    """A forked draft, to which tasks add. Can be pickled.

    Attributes:
        token: of the fork.
        options: of the driver's store, such as an endpoint; without secrets.
    """

    token: str
    options: Mapping[str, Any] | None

    @classmethod
    def of(cls, draft: dataver.Draft, hours: float = 12) -> Job:
        """Fork a draft; errors as for `Draft.fork`."""
        (token,) = draft.fork(1, hours=hours)
        return cls(token, draft._core.repository.store.plain_options)

    def worker(self, name: str) -> dataver.Worker:
        """Begin a task; errors as for `dataver.join_draft`."""
        return dataver.join_draft(self.token, name=name, storage_options=self.options)


class Reading(NamedTuple):
    """Files of a version, which tasks read. Can be pickled.

    Attributes:
        files: the version; reads are linked to the run of the process that made this.
        listed: paths and sizes of the chosen files, in path order.
        url: the repository's URL.
        options: of its store, without secrets.
        run: the key of the run that reads; None without lineage.
    """

    files: Files
    listed: list[tuple[str, int]]
    url: str
    options: Mapping[str, Any] | None
    run: str | None

    @classmethod
    def of(
        cls,
        ref: Ref,
        repo: dataver.Repository | str | os.PathLike[str] | None,
        include: Given | None,
        exclude: Given = (),
        storage_options: Mapping[str, Any] | None = None,
        run: str | None = None,
    ) -> Reading:
        """Choose files of a version; `run` None means the current run.

        Raises:
            NotFound: there is no such version.
            PathNotFound: a pattern of `include` matches no file, or `exclude` leaves none.
        """
        repository = opened(repo, storage_options)
        version = repository.version(ref)
        owner = whose(run)
        run = None if owner is None else owner.key
        tree = version.tree
        selection = Selection.of(tree, include, exclude)
        selection.require(tree, FILES, where=version.ref)
        listed = [
            (entry.path, entry.size)
            for leaf, numbers in selection.parts(tree)
            for entry in map(leaf.entry, numbers)
            if entry.kind in FILES
        ]
        options = repository._core.store.plain_options
        return cls(version.files(run=run), listed, repository.url, options, run)

    def tables(self) -> Reading:
        """Return the Parquet files of these.

        Raises:
            InvalidInput: there are none.
        """
        found = [each for each in self.listed if is_parquet(each[0])]
        if not found:
            raise InvalidInput(
                f"{self.files.ref} has no Parquet file here.", hint="choose others with include="
            )
        return self._replace(listed=found)

    def shares(self, tasks: int | None) -> list[list[str]]:
        """Return the paths of each task; every task reads about as many bytes."""
        return [[path for path, _ in some] for some in balanced(self.listed, tasks, lambda each: each[1])]


def is_parquet(path: str) -> bool:
    """Return whether a path names a Parquet file, by the suffixes that Dask knows too."""
    return path.endswith((".parquet", ".parq", ".pq"))


def balanced(items: Sequence[T], tasks: int | None, size: Callable[[T], int]) -> list[list[T]]:
    """Split a sequence into at most `tasks` runs of about equal bytes; None takes one for every 128 MiB."""
    sizes = [size(each) + _OVERHEAD for each in items]
    total = sum(sizes)
    count = min(len(items), tasks or -(-total // TASK_SIZE))
    found: list[list[T]] = [[] for _ in range(count)]
    done = 0
    for each, length in zip(items, sizes, strict=True):
        found[min(count - 1, (done + length // 2) * count // total)].append(each)
        done += length
    return [some for some in found if some]


def found_files(sources: Iterable[str | Path], folder: str) -> list[tuple[str, str, int]]:
    """Return `(source, path, size)` of every file in sources, as `Draft.add` finds them.

    Raises:
        PathNotFound: a source does not exist.
        Incomplete: some files cannot be added.
    """
    how = Scan(folder)
    found = [
        (each.source, each.path, each.stat.size)
        for source in sources
        for some in scan(os.path.abspath(source), how)  # noqa: PTH100  # links are kept
        for each in some
        if each.kind in FILES
    ]
    refuse(how.problems)
    return found


def refuse(problems: Sequence[tuple[str, str]]) -> None:
    """Raise an error if files could not be added."""
    if problems:
        more = f", and {len(problems) - 1:,} more" if len(problems) > 1 else ""
        raise Incomplete(f"{problems[0][0]}: {problems[0][1]}{more}.", hint="nothing was joined")


def add_task(job: Job, files: Sequence[tuple[str, str, int]], number: int) -> str:
    """Add files in a task; return its part as JSON."""
    with job.worker(f"task {number}") as worker:
        refuse(worker.add_files((source, path) for source, path, _ in files).problems)
        return worker.finish().to_json()


def table_task(job: Job, table: object, path: str, options: Mapping[str, Any]) -> str:
    """Write a table as a Parquet file in a task; return its part as JSON."""
    with job.worker(path) as worker:
        worker.add_dataframe(table, path, **options)
        return worker.finish().to_json()


def part_path(folder: str | os.PathLike[str], number: int, suffix: str) -> str:
    """Return the path of the file that a task writes: the same in every attempt."""
    above = path_of(folder)
    return f"{above}/part-{number:05}{suffix}" if above else f"part-{number:05}{suffix}"


def holds_files(draft: dataver.Draft, folder: str) -> bool:
    """Return whether a draft has files in a folder; "" is the whole draft."""
    return any(True for _ in draft.tree.paths(f"{folder}/" if folder else ""))


def empty(draft: dataver.Draft, folder: str) -> None:
    """Remove everything in a folder of a draft, by its name and not as a pattern; "" is the whole draft."""
    if holds_files(draft, folder):
        draft.remove(literal(folder) if folder else "**")


def joined(draft: dataver.Draft, parts: Iterable[str]) -> dataver.JoinReport:
    """Join parts that tasks returned as JSON."""
    return draft.join(map(dataver.Part.from_json, parts))


def published(
    repo: dataver.Repository, draft: dataver.Draft, message: str, label: str | None
) -> dataver.Version:
    """Publish a draft; if nothing changed, return the version that it started from.

    Raises:
        InvalidInput: nothing was added, and the dataset has no version.
        Conflict: others changed the same paths meanwhile.
    """
    if draft.parents and not draft.changed:
        parent = repo.version(draft.parents[0])
        record_output(repo._core, parent._record, parent.record_id, how="unchanged")
        return parent
    draft.finalize(message, label=label)
    for left in reversed(range(_UPLOADS)):  # a repetition recognises a version whose reply was lost
        try:
            return draft.upload().version
        except StoreError:
            if not left:
                raise
    raise AssertionError  # the loop returns or raises
