"""Versions as datasets of Ray Data, and versions made by the tasks of a Ray cluster.

    from dataver.integrations.ray import VersionDatasink, VersionDatasource, add_files

    rain = ray.data.read_datasource(VersionDatasource("weather@1.2.0", columns=["day", "rain"]))
    rain.filter(expr=col("rain") > 0).write_datasink(VersionDatasink("rainy", message="rainy days"))

    add_files(draft, "/shared/photos", folder="train")    # a task for each 128 MiB of files

The idea: the driver opens the version, or forks a draft; tasks get picklable files, or a token. Neither
contains a secret: each node uses its own credentials. A task that is repeated writes the same paths, and only
what its last attempt returned is joined.

Lineage: the driver's run, by its key, is the run of all tasks, and each task adds the files that it read.

Needs Ray Data: `pip install 'dataver[ray]'`.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import ray
from ray.data.block import BlockAccessor, BlockMetadata
from ray.data.datasource import Datasink, Datasource, Partitioning, PathPartitionParser, ReadTask, SaveMode

import dataver
from dataver.arguments import check_word
from dataver.errors import InvalidInput, NotFound
from dataver.integrations.cluster import (
    Job,
    Reading,
    add_task,
    balanced,
    empty,
    found_files,
    holds_files,
    is_parquet,
    joined,
    opened,
    published,
)
from dataver.integrations.parquet_pieces import Piece, divided, pruned, schema_of, tables
from dataver.lineage.record.recorder import begin_run, end_run, key_for_tasks
from dataver.machine.cache_root import private_cache_root
from dataver.machine.locked_folder import LockedFolder
from dataver.reading.samples import contents
from dataver.tree import path_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from ray.data.block import Block
    from ray.data.context import DataContext
    from ray.data.datasource import PathPartitionFilter, WriteResult

    from dataver.reading import Files
    from dataver.repository import Ref
    from dataver.tree.selection import Given

__all__ = ["VersionDatasink", "VersionDatasource", "add_files"]

_RATIO: Final = 5  # bytes in memory for a byte of Parquet, as Ray estimates without a sample
_TOGETHER: Final = 16 << 20  # bytes of files that a task reads together, and the next ones meanwhile
_MODES: Final = (SaveMode.APPEND, SaveMode.OVERWRITE, SaveMode.ERROR)
_ROWS: Final = pa.schema({"bytes": pa.binary(), "path": pa.string()})


class VersionDatasource(Datasource):
    """The files of one version, for `ray.data.read_datasource`.

    Parquet files are tables: selected columns, filters by `ray.data.expressions`, and partitions in paths
    (`day=2026-01-01/`) reach the reader, so that only the parts of files that they need are read. If there
    are none, files are rows with `path` and `bytes`, as of `ray.data.read_binary_files`; else other files are
    left out, as are symbolic links. Tasks have equal shares of the bytes; a Parquet file that is larger than
    a share is divided by its row groups.
    """

    def __init__(
        self,
        ref: Ref,
        *,
        include: Given | None = None,
        exclude: Given = (),
        columns: Sequence[str] | None = None,
        partitioning: Partitioning | None = Partitioning("hive"),  # noqa: B008  # immutable
        partition_filter: PathPartitionFilter | None = None,
        run: str | None = None,
        repo: str | Path | dataver.Repository | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        """Select files and columns.

        Args:
            ref: the version, such as `weather@1.2.0`. A tag is resolved now, once for all tasks.
            include: globs, as in `fetch`; None means all files.
            exclude: globs of files to leave out.
            columns: names of columns of the first file; None means all.
            partitioning: how paths contain values of columns; None if they do not.
            partition_filter: selects paths by these values, as in `ray.data.read_parquet`.
            run: key of the run to link the reads to; None means the driver's current one.
            repo: the repository, or its URL; None means the one that `dataver.open()` opens.
            storage_options: as for `dataver.open`; secrets among them are not sent to tasks.

        Raises:
            NotFound: no such version.
            PathNotFound: the globs match no file.
            InvalidInput: an argument is not valid, or there is no such column.
        """
        super().__init__()
        reading = Reading.of(ref, repo, include, exclude, storage_options, run)
        self._files, self._run = reading.files, run
        self._tables = any(is_parquet(path) for path, _ in reading.listed)
        parse = PathPartitionParser(partitioning) if partitioning and self._tables else lambda _: {}
        pieces = [
            Piece(path, size, tuple(sorted(parse(path).items())))
            for path, size in (reading.tables() if self._tables else reading).listed
        ]
        self._schema = schema_of(reading.files, pieces) if self._tables else _ROWS
        self._check(columns)
        kept = {piece.path for piece in pieces}
        if partition_filter is not None:
            kept.intersection_update(partition_filter([piece.path for piece in pieces]))
        self._pieces = [piece for piece in pieces if piece.path in kept]
        self._projection_map = None if columns is None else {name: name for name in columns}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_run": self._run or key_for_tasks()}

    def supports_projection_pushdown(self) -> bool:
        """Return whether selected columns reach the reader: they do."""
        return True

    def supports_predicate_pushdown(self) -> bool:
        """Return whether filters reach the reader: those of tables do."""
        return self._tables

    def estimate_inmemory_data_size(self) -> int:
        """Return an estimate of the bytes of all rows in memory."""
        return sum(piece.size for piece in self._pieces) * (_RATIO if self._tables else 1)

    def get_read_tasks(
        self,
        parallelism: int,
        per_task_row_limit: int | None = None,
        data_context: DataContext | None = None,  # noqa: ARG002  # Ray's signature
    ) -> list[ReadTask]:
        """Return at most `parallelism` tasks with equal shares of the bytes, in path order."""
        run = self._run or key_for_tasks()
        files, columns = self._files.in_run(run), self._get_data_columns()
        wanted = self._predicate_expr.to_pyarrow() if self._predicate_expr is not None else None
        pieces, schema = self._pieces, self._schema
        self._check(columns)
        read: Callable[..., Iterator[Block]]
        if self._tables:
            pieces = divided(files, pruned(pieces, schema, wanted), parallelism)
            read = partial(_tables, schema=schema, columns=columns, wanted=wanted)
        else:
            read = partial(_rows, columns=columns)
        if columns is not None:
            schema = pa.schema([schema.field(name) for name in columns])
        found = []
        for share in balanced(pieces, parallelism, attrgetter("size")):
            work = partial(_in_run, run, partial(read, files, share))
            about = self._metadata(share, known=wanted is None)
            found.append(ReadTask(work, about, schema=schema, per_task_row_limit=per_task_row_limit))
        return found

    def _check(self, columns: Sequence[str] | None) -> None:
        """Raise an error if there is no such column."""
        missing = [name for name in columns or () if name not in self._schema.names]
        if missing:
            raise InvalidInput(
                f"{self._files.ref} has no column {missing[0]!r}.",
                hint=f"choose from {', '.join(self._schema.names)}",
            )

    def _metadata(self, share: Sequence[Piece], *, known: bool) -> BlockMetadata:
        rows = [piece.rows for piece in share if piece.rows is not None] if self._tables else [1] * len(share)
        return BlockMetadata(
            num_rows=sum(rows) if known and len(rows) == len(share) else None,
            size_bytes=sum(piece.size for piece in share) * (_RATIO if self._tables else 1),
            input_files=tuple(piece.path for piece in share),
            exec_stats=None,
        )


def _in_run(run: str | None, read: Callable[[], Iterator[Block]]) -> Iterator[Block]:
    """Yield blocks; afterwards this process sends what it read in the run: Ray ends workers by force."""
    scope = begin_run(run, None) if run is not None else None
    try:
        yield from read()
    finally:
        end_run(scope, "finished")  # of this process's part: the driver knows the outcome


def _tables(files: Files, share: Sequence[Piece], **how: Any) -> Iterator[Block]:
    return map(_counted, tables(files, share, **how))


def _rows(files: Files, pieces: Sequence[Piece], *, columns: list[str] | None) -> Iterator[Block]:
    """Yield a row for each file; bytes that are not selected are not read."""
    groups = [[(piece.path, piece.size) for piece in share] for share in _grouped(pieces)]
    read = contents(files, groups)
    wanted = columns is None or "bytes" in columns
    for group in groups:
        found = [next(read)[1] for _ in group] if wanted else None
        yield _rows_of([path for path, _ in group], found, columns)


def _grouped(pieces: Sequence[Piece]) -> list[list[Piece]]:
    return balanced(pieces, sum(piece.size for piece in pieces) // _TOGETHER + 1, attrgetter("size"))


def _rows_of(paths: Sequence[str], found: Sequence[bytes] | None, columns: list[str] | None) -> Any:
    data = pa.array(found, pa.binary()) if found is not None else pa.nulls(len(paths), pa.binary())
    table = pa.table([data, pa.array(paths, pa.string())], _ROWS)
    return _counted(table if columns is None else table.select(columns))


def _counted(table: Any) -> Any:
    """Return a table that Ray can count: one without columns has a stub."""
    return table if table.num_columns else BlockAccessor.for_block(table).select([])


class VersionDatasink(Datasink):
    """A new version of a dataset with the rows of a Ray dataset, for `Dataset.write_datasink`.

    Each write task writes one Parquet file, cut by content, so that versions share what is equal. The version
    is published once, when all tasks have ended, and is then the attribute `version`; if the job fails,
    nothing is visible.

    Names are `<folder>/<task>.parquet`; with SaveMode.APPEND, as with Ray's own sinks, the id of the write
    comes first. The rows of equal input have equal names if `DataContext.execution_options.preserve_order` is
    set.
    """

    version: dataver.Version | None = None

    def __init__(
        self,
        dataset: str,
        *,
        folder: str = "",
        mode: SaveMode = SaveMode.APPEND,
        message: str = "",
        label: str | None = None,
        arrow_parquet_args: Mapping[str, Any] | None = None,
        min_rows_per_file: int | None = None,
        hours: float = 12,
        repo: str | Path | dataver.Repository | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        """Name the dataset.

        Args:
            dataset: its name; the version starts from its latest one, if there is one.
            folder: folder inside the version.
            mode: APPEND keeps the files that the folder holds, OVERWRITE removes them, ERROR requires that it
                holds none.
            message: the description of the version.
            label: the version's label; None takes the next free one.
            arrow_parquet_args: options of `pyarrow.parquet.ParquetWriter`.
            min_rows_per_file: the wanted number of rows of a task.
            hours: the time within which tasks must begin, at most 24.
            repo: the repository, or its URL; None means the one that `dataver.open()` opens.
            storage_options: as for `dataver.open`; secrets among them are not sent to tasks.

        Raises:
            InvalidInput: an argument is not valid.
            NotFound: there is no repository.
        """
        check_word("mode", str(mode.value), tuple(str(each.value) for each in _MODES))
        self._repository: dataver.Repository | None = opened(repo, storage_options)
        self._dataset, self._folder, self._mode = dataset, path_of(folder), mode
        self._message, self._label, self._hours = message, label, hours
        self._parquet = dict(arrow_parquet_args or {})
        self._rows = min_rows_per_file
        self._draft: dataver.Draft | None = None
        self._home: LockedFolder | None = None
        self._job: Job | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_repository": None, "_draft": None, "_home": None, "version": None}

    @property
    def min_rows_per_write(self) -> int | None:
        """The wanted number of rows of a task."""
        return self._rows

    def on_write_start(self, schema: Any = None) -> None:  # noqa: ARG002  # Ray's signature
        """Begin a draft and fork it; Ray calls it on the driver."""
        assert self._repository is not None, "only the driver begins a write"
        self._end()
        parents = []
        with suppress(NotFound):
            parents.append(self._repository.version(f"{self._dataset}@latest").ref)
        self._home = LockedFolder(private_cache_root() / "workers")
        self._draft = self._repository.create(self._dataset, parents=parents, workspace=self._home.path)
        if self._mode == SaveMode.ERROR and holds_files(self._draft, self._folder):
            raise InvalidInput(
                f"'{self._folder or '.'}' of {self._dataset} holds files.",
                hint="choose another mode or folder",
            )
        if self._mode == SaveMode.OVERWRITE:
            empty(self._draft, self._folder)
        self._job = Job.of(self._draft, self._hours)

    def write(self, blocks: Iterable[Block], ctx: Any) -> dataver.Part | None:
        """Write the blocks of one task as a file; return the part, or None without rows."""
        tables = [BlockAccessor.for_block(block).to_arrow() for block in blocks]
        filled = [table for table in tables if table.num_rows]
        if not filled:
            return None
        table = pa.concat_tables(filled, promote_options="permissive")
        name = f"{ctx.task_idx:06}.parquet"
        if self._mode == SaveMode.APPEND:
            name = f"{ctx.kwargs['write_uuid']}_{name}"
        assert self._job is not None, "Ray calls on_write_start first"
        with self._job.worker(f"write task {ctx.task_idx}") as worker:
            worker.add_dataframe(table, f"{self._folder}/{name}" if self._folder else name, **self._parquet)
            return worker.finish()

    def on_write_complete(self, write_result: WriteResult[dataver.Part | None]) -> None:
        """Join the parts of all tasks and publish the version; if nothing changed, it is the latest one.

        Raises:
            InvalidInput: there are no rows, and the dataset has no version.
            Conflict: others changed the same paths meanwhile.
        """
        if self._draft is None:  # there was no block
            self.on_write_start()
        assert self._draft is not None
        assert self._repository is not None
        self._draft.join(part for part in write_result.write_returns if part is not None)
        self.version = published(self._repository, self._draft, self._message, self._label)
        self._end()

    def on_write_failed(self, error: Exception) -> None:  # noqa: ARG002  # Ray's signature
        """Discard the draft: only packs that no version needs are left, which gc deletes."""
        self._end()

    def _end(self) -> None:
        if self._draft is not None and self._draft.status_name != "uploaded":
            self._draft.discard()
        if self._home is not None:
            self._home.remove()
        self._draft = self._home = None


def add_files(
    draft: dataver.Draft, *sources: str | Path, folder: str = "", tasks: int | None = None, **options: Any
) -> dataver.JoinReport:
    """Add files and folders that all nodes see at the same place, such as a shared disk.

    Args:
        draft: the draft, which gets the files.
        sources: files and folders, as for `Draft.add`; links and empty folders are left out.
        folder: folder inside the version.
        tasks: the number of tasks, each with as many bytes; None makes one for every 128 MiB.
        options: of Ray's tasks, such as `num_cpus` and `max_retries`.

    Raises:
        PathNotFound: a source does not exist.
        Incomplete: a file cannot be added; nothing was joined.
    """
    groups = balanced(found_files(sources, folder), tasks, lambda each: each[2])
    job = Job.of(draft)
    task: Any = ray.remote(add_task)
    if options:
        task = task.options(**options)
    try:
        return joined(draft, ray.get([task.remote(job, some, at) for at, some in enumerate(groups)]))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, dataver.DataverError):
            raise error.cause from error
        raise
