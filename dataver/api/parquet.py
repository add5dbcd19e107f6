"""Writing tables as Parquet files whose pages are cut by content."""

from __future__ import annotations

import inspect
import os
from typing import IO, TYPE_CHECKING, Any, ClassVar

from dataver.errors import InvalidInput
from dataver.extras import require_extra
from dataver.tables import format_of

if TYPE_CHECKING:
    from collections.abc import Callable

# Imports in functions: pyarrow is optional, and few drafts and workers get tables.

__all__ = ["TableWriting"]


class TableWriting:
    """Base class of `dataver.Draft` and `dataver.Worker`: tables as Parquet files."""

    open: Callable[..., IO[Any]]
    _any_name: ClassVar[bool] = False  # workers of engines name files as these do

    def add_dataframe(self, table: object, path: str | os.PathLike[str], **options: object) -> None:
        """Write a table as a Parquet file, cut by content, so that the next version of it shares chunks.

            repo.create("prices").add_dataframe(frame, "prices.parquet")

        Args:
            table: a pandas or Polars DataFrame, a `pyarrow.Table`, `RecordBatch` or `RecordBatchReader`, or
                another object with `__arrow_c_stream__`.
            path: of the file in the version, `.parquet` or `.pq`; of a worker, any.
            options: of `pyarrow.parquet.ParquetWriter`, such as `compression="zstd"`.

        Raises:
            InvalidInput: `table` is of another type, or a column mixes types; `path` or an option is not
                valid; or pyarrow is not installed.
            Conflict: the draft was finalized.
        """
        try:
            import pyarrow as pa
        except ModuleNotFoundError:  # pyarrow suffices: DuckDB of the same extra is not needed
            require_extra("tables", "writing a table")
            raise
        if not self._any_name and format_of(os.fspath(path)) != "parquet":
            raise InvalidInput(
                f"'{os.fspath(path)}' does not have the suffix of a Parquet file.",
                hint="name it .parquet or .pq; for another format, write into `draft.open(path)`",
            )
        with self.open(path, "wb") as file:
            try:
                _write(table, file, options)
            except pa.ArrowException as error:
                problem = str(error).rstrip(".")
                raise InvalidInput(f"the table cannot be written as Parquet: {problem}.") from error


def _write(table: object, file: IO[bytes], options: dict[str, Any]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    if "use_content_defined_chunking" in inspect.signature(parquet.ParquetWriter).parameters:
        options = {"use_content_defined_chunking": True, **options}  # since pyarrow 21
    if type(table).__module__.partition(".")[0] == "pandas":
        table = pa.Table.from_pandas(table, preserve_index=None)
    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    if hasattr(table, "__arrow_c_stream__") and not isinstance(table, (pa.Table, pa.RecordBatchReader)):
        table = pa.RecordBatchReader.from_stream(table)
    if not isinstance(table, (pa.Table, pa.RecordBatchReader)):
        raise InvalidInput(
            f"a {type(table).__name__} cannot be written as Parquet.",
            hint="give a pyarrow Table or RecordBatchReader, or a pandas DataFrame",
        )
    try:
        opened = parquet.ParquetWriter(file, table.schema, **options)
    except (TypeError, ValueError, OSError) as error:
        raise InvalidInput(f"an option of Parquet is not valid: {str(error).rstrip('.')}.") from error
    with opened as writer:
        if isinstance(table, pa.Table):
            writer.write_table(table)
        else:
            for batch in table:
                writer.write_batch(batch)
