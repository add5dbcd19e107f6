"""Writing tables as Parquet files whose pages are cut by content."""

import inspect
from typing import IO, Any

from dataver.errors import InvalidInput

# Imports in functions: pyarrow, an extra.

__all__ = ["write_parquet"]


def write_parquet(table: object, file: IO[bytes], options: dict[str, Any]) -> None:
    """Write a table to a file; see `dataver.Worker.add_table`."""
    import pyarrow as pa
    from pyarrow import parquet

    if "use_content_defined_chunking" in inspect.signature(parquet.ParquetWriter).parameters:
        options = {"use_content_defined_chunking": True, **options}  # since pyarrow 21
    if type(table).__module__.partition(".")[0] == "pandas":
        table = pa.Table.from_pandas(table, preserve_index=None)
    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    if not isinstance(table, (pa.Table, pa.RecordBatchReader)):
        raise InvalidInput(
            f"a {type(table).__name__} cannot be written as Parquet.",
            hint="give a pyarrow Table or RecordBatchReader, or a pandas DataFrame",
        )
    with parquet.ParquetWriter(file, table.schema, **options) as writer:
        if isinstance(table, pa.Table):
            writer.write_table(table)
        else:
            for batch in table:
                writer.write_batch(batch)
