"""Parquet files of a version as pieces for the tasks of a cluster: pruned, divided, and read in place.

    pieces → pruned (by partitions) → divided (by row groups) → balanced (by bytes) → tables, in each task

The idea: pyarrow's datasets do the reading. Selected columns and filters reach them, and a version's files
are files to them, so that only the ranges that are needed are read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pyarrow as pa
from pyarrow import dataset as arrow
from pyarrow import parquet
from pyarrow.fs import LocalFileSystem

from dataver import parallel

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dataver.reading import Files

__all__ = ["Piece", "divided", "pruned", "schema_of", "tables"]

_FORMAT: Final = arrow.ParquetFileFormat(pre_buffer=True)
_SPLIT: Final = 8 << 20  # smaller files are read by one task


class Piece(NamedTuple):
    """A file, or some row groups of one, with its partition and its number of rows if it is known."""

    path: str
    size: int
    partition: tuple[tuple[str, Any], ...] = ()
    groups: tuple[int, ...] | None = None
    rows: int | None = None

    def fragment(self, file: Any, filesystem: Any = None) -> Any:
        """Return the fragment of an open file, or of a path that is not opened."""
        expression = None
        for name, value in self.partition:
            equal = arrow.field(name) == value
            expression = equal if expression is None else expression & equal
        found = _FORMAT.make_fragment(file, filesystem, expression)
        return found if self.groups is None else found.subset(row_group_ids=self.groups)  # keeps their order


def schema_of(files: Files, pieces: Sequence[Piece]) -> Any:
    """Return the columns of the first file, and those of its partition that it lacks."""
    if not pieces:
        return pa.schema([])
    with files.open(pieces[0].path) as file:
        found = parquet.read_schema(file)
    for name, value in pieces[0].partition:
        if name not in found.names:
            found = found.append(pa.field(name, pa.scalar(value).type))
    return found


def pruned(pieces: Sequence[Piece], schema: Any, wanted: Any) -> list[Piece]:
    """Return the files whose partitions a filter does not exclude; without a filter, all."""
    if wanted is None:
        return list(pieces)
    nowhere = LocalFileSystem()  # no file is opened
    known = {piece.path: piece for piece in pieces}
    whole = arrow.FileSystemDataset(
        [piece.fragment(piece.path, nowhere) for piece in pieces], schema, _FORMAT
    )
    return [known[fragment.path] for fragment in whole.get_fragments(wanted)]


def divided(files: Files, pieces: Sequence[Piece], count: int) -> list[Piece]:
    """Divide the files that are larger than one of `count` shares by their row groups."""
    share = max(sum(piece.size for piece in pieces) // count, _SPLIT)
    with parallel.pool(parallel.REQUESTS, "footers") as pool:
        found = pool.map(
            lambda piece: _groups(files, piece, share) if piece.size > share else [piece], pieces
        )
        return [each for some in found for each in some]


def _groups(files: Files, piece: Piece, share: int) -> list[Piece]:
    """Return the pieces of one file, with whole row groups, each of about a share."""
    with files.open(piece.path) as file:
        about = parquet.read_metadata(file)
    found: list[Piece] = []
    groups: list[int] = []
    size = rows = 0
    for number in range(about.num_row_groups):
        group = about.row_group(number)
        groups.append(number)
        size += sum(group.column(at).total_compressed_size for at in range(group.num_columns))
        rows += group.num_rows
        if size >= share or number == about.num_row_groups - 1:
            found.append(piece._replace(size=size, groups=tuple(groups), rows=rows))
            groups, size, rows = [], 0, 0
    return found or [piece]


def tables(
    files: Files, pieces: Sequence[Piece], *, schema: Any, columns: Sequence[str] | None, wanted: Any
) -> Iterator[pa.Table]:
    """Yield the rows that a filter selects of the selected columns; None selects all."""
    for piece in pieces:
        with files.open(piece.path) as file:
            found = piece.fragment(file).scanner(schema, columns=columns, filter=wanted)
            for batch in found.to_batches():
                if batch.num_rows:
                    yield pa.Table.from_batches([batch])
