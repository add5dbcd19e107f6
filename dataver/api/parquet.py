"""Writing tables as Parquet files whose pages are cut by content."""

from __future__ import annotations

import inspect
import os
from typing import IO, TYPE_CHECKING, Any

from dataver.errors import InvalidInput
from dataver.extras import require_extra
from dataver.tables import format_of

if TYPE_CHECKING:
    from dataver.ingest import DraftCore

# Imports in functions: pyarrow is optional, and few drafts get tables.

__all__ = ["TableWriting", "write_parquet"]


class TableWriting:
    """Base class of `dataver.Draft`: tables as Parquet files."""

    _core: DraftCore

    def add_dataframe(self, table: object, path: str | os.PathLike[str], **options: object) -> None:
        """Write a table as a Parquet file, cut by content, so that the next version of it shares chunks.

            repo.create("prices").add_dataframe(frame, "prices.parquet")

        Args:
            table: a pandas or Polars DataFrame, a `pyarrow.Table`, `RecordBatch` or `RecordBatchReader`, or
                another object with `__arrow_c_stream__`.
            path: of the file in the version, `.parquet` or `.pq`.
            options: of `pyarrow.parquet.ParquetWriter`, such as `compression="zstd"`.

        Raises:
            InvalidInput: `table` is of another type, or a column mixes types; `path` or an option is not
                valid; or pyarrow is not installed.
            Conflict: the draft was finalized.
        """
        from dataver.api.draft_file import open_in_draft

        require_extra("tables", "writing a table")
        if format_of(os.fspath(path)) != "parquet":
            raise InvalidInput(
                f"'{os.fspath(path)}' does not have the suffix of a Parquet file.",
                hint="name it .parquet or .pq; for another format, write into `draft.open(path)`",
            )
        file: IO[Any] = open_in_draft(
            self._core, path, "wb", executable=None, encoding=None, errors=None, newline=None
        )
        with file:
            write_parquet(table, file, options)


def write_parquet(table: object, file: IO[bytes], options: dict[str, Any]) -> None:
    """Write a table to a file; arguments and errors as of `dataver.Worker.add_table`."""
    import pyarrow as pa

    try:
        _write(table, file, options)
    except pa.ArrowException as error:
        raise InvalidInput(f"the table cannot be written as Parquet: {str(error).rstrip('.')}.") from error


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
