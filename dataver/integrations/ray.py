"""Ray Data reads versions and makes them.

    from dataver.integrations.ray import VersionDatasink, VersionDatasource, add_files

    data = ray.data.read_datasource(VersionDatasource("weather@1.2.0", columns=["temperature"]))
    data.write_datasink(VersionDatasink("weather", folder="2026", message="July"))

Reading: tasks of equal bytes; of Parquet files only the needed columns and row groups, of other files a row
with `path` and `bytes`. Writing: each task writes one Parquet file and sends it; the driver joins the parts
and publishes once. A job that fails publishes nothing. Workers need dataver, and to write the right to write
to the repository.
"""

from __future__ import annotations

import shutil
import tempfile
from typing import TYPE_CHECKING, Any

import ray
from ray.data import Datasource, ReadTask
from ray.data.block import BlockAccessor, BlockMetadata
from ray.data.datasource import Datasink

import dataver
from dataver.integrations.cluster import Reading, add_task, balanced, found_files, joined, part_path

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from dataver.reading.files import Files
    from dataver.tree.selection import Given

__all__ = ["VersionDatasink", "VersionDatasource", "add_files"]


class VersionDatasource(Datasource):
    """The files of a version, for `ray.data.read_datasource`.

    The name is resolved once, so that all tasks read the same version, and their reads belong to the run of
    this process.

    Args:
        ref: the version.
        columns: columns of Parquet files; None means all.
        filters: as for `pyarrow.parquet.read_table`: row groups that cannot match are not read.
        include: globs; only matching files.
        repo: the repository; None means the one that `dataver.open()` opens.
        storage_options: as for `dataver.open`.

    Raises:
        NotFound: there is no such version.
        PathNotFound: a pattern of `include` matches nothing.
    """

    def __init__(
        self,
        ref: str,
        *,
        columns: Sequence[str] | None = None,
        filters: Any = None,
        include: Given | None = None,
        repo: dataver.Repository | str | os.PathLike[str] | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self._reading = Reading.of(ref, repo, include, storage_options=storage_options)
        self._columns, self._filters = list(columns) if columns is not None else None, filters

    def get_name(self) -> str:
        """Return the name that Ray shows."""
        return f"dataver {self._reading.files.ref}"

    def estimate_inmemory_data_size(self) -> int | None:
        """Return the bytes of the files."""
        return sum(size for _, size in self._reading.listed)

    def get_read_tasks(self, parallelism: int, *_: object, **__: object) -> list[ReadTask]:
        """Return tasks of about equal bytes."""
        files, columns, filters = self._reading.files, self._columns, self._filters
        tasks = []
        for some in balanced(self._reading.listed, parallelism, lambda each: each[1]):
            paths = [path for path, _ in some]
            about = BlockMetadata(
                num_rows=None,
                size_bytes=sum(size for _, size in some),
                exec_stats=None,
                input_files=tuple(f"dataver://{files.ref}/{path}" for path in paths),
            )
            tasks.append(ReadTask(lambda paths=paths: _blocks(files, paths, columns, filters), about))
        return tasks


class VersionDatasink(Datasink):
    """A new version of a dataset, for `Dataset.write_datasink`. Use it once.

    Args:
        dataset: the dataset; it need not exist. The latest version is the parent.
        folder: folder inside the version.
        overwrite: whether the folder's other files are removed.
        message: the description of the version.
        label: its label; None means the next free one.
        repo: the repository's URL; None means the one that `dataver.open()` opens.
        storage_options: as for `dataver.open`, for the driver; workers use their own configuration.
        options: of `pyarrow.parquet.ParquetWriter`.

    Attributes:
        version: the published version, once the write is complete.
    """

    def __init__(
        self,
        dataset: str,
        *,
        folder: str = "",
        overwrite: bool = False,
        message: str = "",
        label: str | None = None,
        repo: str | os.PathLike[str] | None = None,
        storage_options: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self._dataset, self._folder, self._overwrite = dataset, folder, overwrite
        self._message, self._label, self._options = message, label, options
        self._repo, self._storage_options = repo, storage_options
        self._home = self._draft_id = self._token = self._stamp = ""
        self.version: dataver.Version | None = None

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_storage_options": None, "version": None}

    def on_write_start(self, schema: object = None) -> None:  # noqa: ARG002
        """Begin the draft, on the driver."""
        opened = self._opened()
        there = self._dataset in {each.name for each in opened.datasets()}
        self._home = tempfile.mkdtemp(prefix="dataver-ray-")
        parents = [f"{self._dataset}@latest"] if there else ()
        draft = opened.create(self._dataset, parents=parents, workspace=self._home)
        if self._overwrite and any(draft.tree.paths(f"{self._folder}/" if self._folder else "")):
            draft.remove(f"{self._folder}/**" if self._folder else "**")
        (self._token,) = draft.fork(1)
        self._draft_id = draft.id
        self._stamp = f"{draft.id}-" if there and not self._overwrite else ""

    def write(self, blocks: Iterable[Any], ctx: Any) -> str:
        """Write the rows of one task as one file; the same path in every attempt."""
        import pyarrow as pa

        tables = [BlockAccessor.for_block(block).to_arrow() for block in blocks]
        path = part_path(self._folder, ctx.task_idx, ".parquet").replace("part-", f"part-{self._stamp}")
        with dataver.join_draft(self._token, name=f"task {ctx.task_idx}") as worker:
            if any(len(each) for each in tables):
                worker.add_table(pa.concat_tables(tables), path, **self._options)
            return worker.finish().to_json()

    def on_write_complete(self, write_result: Any) -> None:
        """Join the parts, and publish the version."""
        draft = self._draft()
        joined(draft, write_result.write_returns)
        draft.finalize(self._message, label=self._label, allow_empty=True)
        self.version = draft.upload().version
        shutil.rmtree(self._home, ignore_errors=True)

    def on_write_failed(self, error: Exception) -> None:  # noqa: ARG002
        """Discard the draft; gc deletes what tasks have sent."""
        if self._draft_id:
            self._draft().discard()
            shutil.rmtree(self._home, ignore_errors=True)

    def get_name(self) -> str:
        """Return the name that Ray shows."""
        return f"dataver {self._dataset}"

    def _opened(self) -> dataver.Repository:
        return dataver.open(self._repo, storage_options=self._storage_options)  # type: ignore[arg-type]  # any path

    def _draft(self) -> dataver.Draft:
        return self._opened().draft(self._draft_id, workspace=self._home)


def add_files(
    draft: dataver.Draft, *sources: str | Path, dest: str = "", tasks: int | None = None, **options: Any
) -> dataver.JoinReport:
    """Add files and folders that all nodes see at the same place, such as a shared disk.

    Args:
        draft: the draft, which gets the files.
        sources: files and folders, as for `Draft.add`; links and empty folders are left out.
        dest: folder inside the version.
        tasks: the number of tasks, each with as many bytes; None makes one for every 128 MiB.
        options: of Ray's tasks, such as `num_cpus` and `max_retries`.

    Raises:
        PathNotFound: a source does not exist.
        Incomplete: a file cannot be added; nothing was joined.
    """
    groups = balanced(found_files(sources, dest), tasks, lambda each: each[2])
    (token,) = draft.fork(1)
    task: Any = ray.remote(add_task)
    if options:
        task = task.options(**options)
    try:
        return joined(draft, ray.get([task.remote(token, some, at) for at, some in enumerate(groups)]))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, dataver.DataverError):
            raise error.cause from error
        raise


def _blocks(files: Files, paths: Sequence[str], columns: list[str] | None, filters: Any) -> Iterator[Any]:
    import pyarrow as pa
    from pyarrow import parquet

    for path in paths:
        if path.endswith((".parquet", ".parq", ".pq")):
            with files.open(path) as file:
                yield parquet.read_table(file, columns=columns, filters=filters)
        else:
            data = files.read(path)
            yield pa.table({"path": [path], "bytes": pa.array([data], pa.large_binary())})
