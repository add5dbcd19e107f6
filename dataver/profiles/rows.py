"""Columns and rows of a table as Arrow: the first rows, for which its beginning is read, or all."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from dataver import tables
from dataver.arrow_memory import batch_sizes
from dataver.errors import InvalidInput
from dataver.profiles.table_heads import (
    THRIFT_LIMITS,
    Column,
    arrow_columns,
    binary_schema,
    open_arrow,
    plain_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa
    from pyarrow import parquet

    from dataver.profiles.kinds import Head, Source

# Imports in functions: pyarrow is optional.

__all__ = ["all_rows", "columns_of", "decoded_size", "first_rows", "rows_at"]

_THIN: Final = 64 << 10  # bytes of a column of Parquet that are read at once where few may be read
_FIRST: Final = 256 << 10  # bytes of text that are read at first; then four times as many, and so on
_BUFFER: Final = 256 << 10  # bytes of a column of Parquet that are read at once
_BATCH: Final = 64 << 10  # rows
_FAR: Final = 2_000_000  # rows of a row group, which are decoded before others
_DECODED: Final = 256 << 20  # bytes of a column of a row group that is read for a few rows
_TYPED: Final = 100  # rows of text by which the types of columns are found, at least


def columns_of(source: Source) -> tuple[list[Column], str | None]:
    """Return the columns, from the footer or the first rows, and a problem; see `first_rows`."""
    if tables.format_of(source.name) not in ("parquet", "arrow"):
        found, problem = first_rows(source, _TYPED)
        return arrow_columns(found.schema), problem
    with source.open() as file:
        return arrow_columns(binary_schema(file, source.name)[0]), None


def first_rows(source: Source, count: int) -> tuple[pa.Table, str | None]:
    """Return the first rows, and which irregular lines of the text that was read were left out.

    Raises:
        InvalidInput: they cannot be read as a table.
        pyarrow.ArrowException, OSError: they are damaged.
    """
    import pyarrow as pa

    with source.open() as file:
        if tables.format_of(source.name) not in ("parquet", "arrow"):
            return _first_of_text(plain_text(file, source.name), source, count)
        schema, batches = _batches(file, source, count)
        found: list[pa.RecordBatch] = []
        while sum(map(len, found)) < count and (batch := next(batches, None)) is not None:
            found.append(batch)
        return pa.Table.from_batches(found, schema).slice(0, count), None


def rows_at(head: Head, start: int, count: int, names: Sequence[str]) -> tuple[pa.Table, str | None]:
    """Return some rows of Parquet, of one row group, or of another table from its first rows; and a problem.

    Args:
        head: the table, of which a number of bytes can be read.
        start: the number of the first row.
        count: the number of rows at most.
        names: of Parquet, the columns to read; those that store most are left out if too few bytes can be
            read for all. Of others, all columns are returned.

    Raises:
        InvalidInput: none can be read.
        pyarrow.ArrowException, OSError: they are damaged, or need more bytes.
    """
    import pyarrow as pa

    if tables.format_of(head.name) != "parquet":
        found, problem = first_rows(head, start + count)
        return found.slice(start), problem
    with head.open() as file:
        opened = _open_parquet(file, _THIN)
        groups = [opened.metadata.row_group(number) for number in range(opened.num_row_groups)]
        group = 0
        while group < len(groups) and start >= groups[group].num_rows:
            start, group = start - groups[group].num_rows, group + 1
        sizes = _column_sizes(groups[group]) if group < len(groups) else {}
        if start > _FAR:
            raise InvalidInput(f"rows after {_FAR:,} of a row group are not shown", hint="fetch the file")
        wanted = min(count, groups[group].num_rows - start) if sizes else 0
        columns: dict[str, pa.ChunkedArray] = {}
        few = (name for name in names if wanted and sizes.get(name, 0) < sys.maxsize)
        for name in sorted(few, key=lambda name: sizes.get(name, 0)):
            try:
                batches = opened.iter_batches(
                    start + count, row_groups=[group], columns=[name], use_threads=False
                )
                found = pa.Table.from_batches([next(batches)]).column(0).slice(start)
            except (pa.ArrowException, OSError, StopIteration):
                if head.left >= 0:
                    raise
                break
            if len(found) < wanted:
                break
            columns[name] = found
    table = pa.table({name: columns[name] for name in names if name in columns})
    return table, None if columns or not wanted else "its rows are not shown: its columns have large pages"


def _column_sizes(group: parquet.RowGroupMetaData) -> dict[str, int]:
    """Return the stored bytes of each column, nested ones with all below them; huge ones as `maxsize`."""
    sizes: dict[str, int] = {}
    for number in range(group.num_columns):
        found = group.column(number)
        path = found.path_in_schema
        for name in {path, path.partition(".")[0]}:
            sizes[name] = sizes.get(name, 0) + found.total_compressed_size
            if found.total_uncompressed_size > _DECODED:
                sizes[name] = sys.maxsize
    return sizes


def decoded_size(file: BinaryIO, name: str) -> tuple[int, int]:
    """Return the bytes and the number of values of Parquet that is decoded, by its footer; else 0 and 0."""
    if tables.format_of(name) != "parquet":
        return 0, 0
    found = _open_parquet(file, _THIN).metadata
    sizes = [found.row_group(number).total_byte_size for number in range(found.num_row_groups)]
    return sum(sizes), found.num_rows * found.num_columns


def _open_parquet(file: BinaryIO, buffer: int) -> parquet.ParquetFile:
    from pyarrow import parquet

    return parquet.ParquetFile(file, buffer_size=buffer, pre_buffer=False, **THRIFT_LIMITS)


def all_rows(source: Source, columns: Sequence[str] | None) -> pa.Table:
    """Return all rows of some columns, or of all.

    Raises:
        InvalidInput: there is no such column, a line of text is irregular, or the file is not a table.
        pyarrow.ArrowException, OSError: it is damaged.
    """
    if tables.format_of(source.name) in ("parquet", "arrow"):
        return _all_of_binary(source, columns)
    path = source.path()

    def use(table: str) -> pa.Table:
        found = db.sql(f"SELECT * FROM {table}")
        _check(columns, found.columns)
        return (
            found if columns is None else found.select(*map(tables.quoted_name, columns))
        ).to_arrow_table()

    with tables.connect(path) as db:
        found, problem = tables.read(db, path, use, name=source.name)
    if problem:
        raise InvalidInput(problem)
    return found


def _all_of_binary(source: Source, columns: Sequence[str] | None) -> pa.Table:
    from pyarrow import parquet

    with source.open() as file:
        if tables.format_of(source.name) == "arrow":
            opened = open_arrow(file)
            _check(columns, opened.schema.names)
            found = opened.read_all()
            found.validate(full=True)
        else:
            opened = parquet.ParquetFile(file, pre_buffer=True)
            _check(columns, opened.schema_arrow.names)
            found = opened.read(columns)
    return found if columns is None else found.select(list(columns))


def _check(columns: Sequence[str] | None, known: Sequence[str]) -> None:
    for name in columns or ():
        if name not in known:
            raise InvalidInput(f"it has no column '{name}'", hint=f"its columns are {', '.join(known[:20])}")


def _batches(file: BinaryIO, source: Source, count: int) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    if tables.format_of(source.name) == "parquet":
        opened = _open_parquet(file, _BUFFER)
        return opened.schema_arrow, opened.iter_batches(batch_size=max(1, min(count, _BATCH)))
    stream = open_arrow(file)
    is_stream = not hasattr(stream, "get_batch")
    found = iter(stream) if is_stream else map(stream.get_batch, range(stream.num_record_batches))
    return stream.schema, _checked(source, found, is_stream=is_stream)


def _checked(
    source: Source, batches: Iterator[pa.RecordBatch], *, is_stream: bool
) -> Iterator[pa.RecordBatch]:
    """Yield batches that do not take too much memory, and whose buffers are inside of the file."""
    import pyarrow as pa

    with source.open() as file:
        for size in batch_sizes(pa.PythonFile(file, "r"), stream=is_stream):
            if size > tables.MEMORY // 4:
                raise InvalidInput(f"its compressed columns take {size >> 20:,} MiB of memory")
            if (batch := next(batches, None)) is None:
                return
            batch.validate(full=True)
            yield batch


def _first_of_text(file: BinaryIO, source: Source, count: int) -> tuple[pa.Table, str | None]:
    """Copy whole lines from the beginning to a temporary file until they have enough rows."""
    suffix = f".{tables.format_of(source.name)}"
    packed = source.name.lower().endswith((".gz", ".zst"))
    name = source.name.rpartition(".")[0] if packed else source.name
    with tempfile.NamedTemporaryFile(prefix="dataver-", suffix=suffix) as copy:
        size, rest = _FIRST, b""
        while True:
            data = file.read(size)
            ended, rest = len(data) < size, rest + data
            end = len(rest) if ended else rest.rfind(b"\n") + 1
            copy.write(rest[:end])
            copy.flush()
            rest = rest[end:]
            found = _rows(Path(copy.name), name, count) if copy.tell() else None
            if found is not None and (ended or len(found[0]) >= count):
                return found
            if ended:
                raise InvalidInput("it is empty")
            if found is None and len(rest) > tables.LONGEST:
                raise InvalidInput(f"its first line is longer than {tables.LONGEST >> 20} MiB")
            size *= 4


def _rows(path: Path, name: str, count: int) -> tuple[pa.Table, str | None]:
    with tables.connect(path) as db:
        query = "SELECT * FROM {} LIMIT {}"
        return tables.read(
            db, path, lambda table: db.sql(query.format(table, count)).to_arrow_table(), name=name
        )
