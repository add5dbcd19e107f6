"""A data source for Spark, in Python: versions as tables.

    from dataver.integrations.spark import DataverSource

    spark.dataSource.register(DataverSource)
    frame = spark.read.format("dataver").load("weather@1.2.0")
    frame.write.format("dataver").mode("append").option("message", "July").save("weather")

Reading: the Parquet files of a version, as tasks of equal bytes. Only the columns of the schema are read, and
files whose statistics exclude a filter are not. Writing: each task writes one Parquet file and sends it; the
driver joins the parts of the attempts that Spark committed, and publishes once. `overwrite` leaves only the
new files in the folder. A job that fails, and one that changes nothing, publishes nothing.

Options, which Spark passes as text: `repo` (the repository; else the one that `dataver.open()` opens),
`include` (a glob), `tasks`, `run`; for writing `folder` (inside the version), `message`, `label`,
`compression`. Spark reads in processes that it may have started before the program's run began: `run` names
it (`run.key`), unless the whole application is one run (`dataver run -- spark-submit …`). Workers need
dataver, and to write the right to write to the repository. Needs Spark 4.1.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark import TaskContext
from pyspark.sql.datasource import (
    DataSource,
    DataSourceArrowWriter,
    DataSourceReader,
    InputPartition,
    WriterCommitMessage,
)

import dataver
from dataver.errors import InvalidInput, NotFound
from dataver.integrations.cluster import Job, Reading, balanced, empty, joined, part_path, published
from dataver.tree import path_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pyarrow as pa
    from pyspark.sql.datasource import Filter
    from pyspark.sql.types import StructType

# Imports in functions: each runs in the process, driver or worker, that needs it.

__all__ = ["DataverSource"]

_COMPARED = {
    "EqualTo": "==",
    "GreaterThan": ">",
    "GreaterThanOrEqual": ">=",
    "LessThan": "<",
    "LessThanOrEqual": "<=",
    "In": "in",
}


class DataverSource(DataSource):
    """`spark.read.format("dataver")` and `df.write.format("dataver")`."""

    @classmethod
    def name(cls) -> str:
        """Return the name of the format."""
        return "dataver"

    def schema(self) -> StructType:
        """Return the columns of the first Parquet file; called if the user gives no schema."""
        from pyarrow.parquet import ParquetFile
        from pyspark.sql.pandas.types import from_arrow_schema

        reading = self._reading
        with reading.files.open(reading.listed[0][0]) as file:
            return from_arrow_schema(ParquetFile(file).schema_arrow)

    def reader(self, schema: StructType) -> DataSourceReader:
        """Return a reader of a version."""
        tasks = self.options.get("tasks")
        return _Reader(self._reading, schema, int(tasks) if tasks else None)

    def writer(self, schema: StructType, overwrite: bool) -> DataSourceArrowWriter:  # noqa: ARG002
        """Begin a version on the driver."""
        return _Writer(self._path, dict(self.options), overwrite=overwrite)

    @property
    def _path(self) -> str:
        path: str | None = self.options.get("path")
        if not path:
            raise InvalidInput("no version is named.", hint='write load("weather@1.2.0") or save("weather")')
        return path

    @cached_property
    def _reading(self) -> Reading:
        """The Parquet files of the version, whose name is resolved once."""
        how = {name: self.options.get(name) for name in ("repo", "include", "run")}
        return Reading.of(self._path, **how).tables()


class _Reader(DataSourceReader):
    def __init__(self, reading: Reading, schema: StructType, tasks: int | None) -> None:
        self._reading, self._schema, self._tasks = reading, schema, tasks
        self._filters: list[tuple[str, str, Any]] = []

    def pushFilters(self, filters: list[Filter]) -> Iterable[Filter]:  # noqa: N802  # Spark's name
        """Note comparisons with constants; Spark applies all filters again."""
        for each in filters:
            sign = _COMPARED.get(type(each).__name__)
            column: Any = getattr(each, "attribute", ())
            if sign is not None and len(column) == 1:
                value: Any = getattr(each, "value", None)
                self._filters.append((column[0], sign, list(value) if sign == "in" else value))
            yield each

    def partitions(self) -> Sequence[InputPartition]:
        """Return tasks of about equal bytes, without files that the filters exclude."""
        listed = [each for each in self._reading.listed if self._may_match(each[0])]
        groups = balanced(listed, self._tasks, lambda each: each[1])
        return [InputPartition([path for path, _ in some]) for some in groups] or [InputPartition([])]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a task's files, with the schema's columns and types."""
        import pyarrow as pa
        from pyarrow import parquet
        from pyspark.sql.pandas.types import to_arrow_schema

        schema = to_arrow_schema(self._schema)
        for path in partition.value:
            with self._reading.files.open(path) as file:
                table = parquet.read_table(file, columns=schema.names, filters=self._filters or None)
            missing = [name for name in schema.names if name not in table.column_names]
            if missing:
                raise InvalidInput(
                    f"{path} has no column '{missing[0]}'.",
                    hint="give a schema of columns that all files have",
                )
            yield from table.select(schema.names).cast(pa.schema(schema)).to_batches()

    def _may_match(self, path: str) -> bool:
        """Return whether the statistics of a file allow a row that all filters accept."""
        if not self._filters:
            return True
        from pyarrow.dataset import ParquetFileFormat
        from pyarrow.parquet import filters_to_expression

        with self._reading.files.open(path) as file:
            fragment = ParquetFileFormat().make_fragment(file)
            return bool(fragment.split_by_row_group(filter=filters_to_expression(self._filters)))


@dataclass
class _Message(WriterCommitMessage):
    part: str


class _Writer(DataSourceArrowWriter):
    """One write: a draft on the driver, which `commit` publishes. Spark pickles it between its processes."""

    def __init__(self, dataset: str, options: dict[str, str], *, overwrite: bool) -> None:
        self._options = options
        self._repo = options.get("repo")
        # not a LockedFolder: Spark runs each step in a process of its own, and none lives as long as the job
        self._home = tempfile.mkdtemp(prefix="dataver-spark-")
        self._folder = path_of(options.get("folder", ""))
        repo = dataver.open(self._repo)
        try:
            there = dataset in {each.name for each in repo.datasets()}
            draft = repo.create(dataset, parents=[f"{dataset}@latest"] if there else (), workspace=self._home)
            if overwrite:
                empty(draft, self._folder)
            self._job = Job.of(draft)
        except BaseException:
            shutil.rmtree(self._home, ignore_errors=True)
            raise
        self._draft = draft.id
        self._stamp = "" if overwrite or not there else f"{draft.id}-"  # appended files have new names

    def write(self, iterator: Iterator[pa.RecordBatch]) -> _Message:
        """Write the rows of one task as one file; the same path in every attempt."""
        import pyarrow as pa

        context = TaskContext.get()
        number = 0 if context is None else context.partitionId()
        path = part_path(self._folder, number, ".parquet").replace("part-", f"part-{self._stamp}")
        first = next(iterator, None)
        with self._job.worker(f"partition {number}") as worker:
            if first is not None:
                rest = pa.RecordBatchReader.from_batches(first.schema, _then(first, iterator))
                worker.add_dataframe(rest, path, compression=self._options.get("compression", "snappy"))
            return _Message(worker.finish().to_json())

    def commit(self, messages: list[WriterCommitMessage | None]) -> None:
        """Join the parts of the committed attempts, and publish the version if anything changed."""
        repo = dataver.open(self._repo)
        draft = repo.draft(self._draft, workspace=Path(self._home))
        joined(draft, (each.part for each in messages if isinstance(each, _Message)))
        published(repo, draft, self._options.get("message", ""), self._options.get("label"))
        self._end(draft)

    def abort(self, messages: list[WriterCommitMessage | None]) -> None:  # noqa: ARG002
        """Discard the draft; gc deletes what tasks have sent. Spark also calls it if `commit` failed."""
        with suppress(NotFound):  # it was published, and its reply was lost after that
            self._end(dataver.open(self._repo).draft(self._draft, workspace=Path(self._home)))

    def _end(self, draft: dataver.Draft) -> None:
        if draft.status_name != "uploaded":
            draft.discard()
        shutil.rmtree(self._home, ignore_errors=True)


def _then(first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from rest
