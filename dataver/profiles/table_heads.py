"""The columns of a table from its footer or its first lines.

The idea: names matter most, so that search finds them, and `finalize` must not take longer; the first lines
of text are read by Python alone. DuckDB's and Arrow's types are found only by a full profile.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
from datetime import date, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple, cast

import zstandard

from dataver.errors import InvalidInput
from dataver.printable import count
from dataver.profiles.text import clean
from dataver.tables import format_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pyarrow as pa

    from dataver.profiles.kinds import Source

# Imports in functions: pyarrow is optional.

__all__ = [
    "Column",
    "arrow_columns",
    "binary_schema",
    "class_labels",
    "head_columns",
    "open_arrow",
    "plain_text",
]

_HEAD: Final = 64 << 10  # bytes
_LINES: Final = 100
_THRIFT: Final = 16 << 20  # bytes of a string, items of a list in a footer
_SAMPLES: Final[Sequence[tuple[str, Any]]] = (
    ("int64", int),
    ("double", float),
    ("bool", {"true": True, "false": False}.__getitem__),
    ("date32[day]", date.fromisoformat),
    ("timestamp[us]", datetime.fromisoformat),
)


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        name: its name.
        type: its type, by Arrow's name: `int64`, `string`, `timestamp[us]`, `list<item: double>`.
        nullable: whether it may lack values.
    """

    name: str
    type: str
    nullable: bool


def binary_schema(file: BinaryIO, source: Source) -> tuple[pa.Schema, int | None]:
    """Return the schema of Parquet or Arrow, and of Parquet the number of rows, without reading rows.

    Raises:
        InvalidInput: a footer contradicts itself.
        pyarrow.ArrowInvalid: it is damaged.
    """
    from pyarrow.parquet import ParquetFile

    if format_of(source.name) == "arrow":
        return open_arrow(file).schema, None
    limits = {"thrift_string_size_limit": _THRIFT, "thrift_container_size_limit": _THRIFT}
    footer = ParquetFile(file, **limits).metadata
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    if sum(group.num_rows for group in groups) != footer.num_rows:
        raise InvalidInput(f"its footer says {footer.num_rows:,} rows, its row groups have others")
    return footer.schema.to_arrow_schema(), footer.num_rows


def open_arrow(file: BinaryIO) -> pa.RecordBatchFileReader | pa.RecordBatchStreamReader:
    """Open an Arrow file or an Arrow stream."""
    import pyarrow as pa

    is_file = file.read(6) == b"ARROW1"
    file.seek(0)
    return pa.ipc.open_file(file) if is_file else pa.ipc.open_stream(file)


def plain_text(file: BinaryIO, name: str) -> BinaryIO:
    """Return a text file, decompressed if its name says that it is compressed."""
    if name.lower().endswith(".gz"):
        return cast("BinaryIO", gzip.GzipFile(fileobj=file))
    return zstandard.ZstdDecompressor().stream_reader(file) if name.lower().endswith(".zst") else file


def arrow_columns(schema: pa.Schema) -> list[Column]:
    """Return the columns of an Arrow schema."""
    return [Column(clean(field.name), clean(str(field.type)), field.nullable) for field in schema]


def class_labels(schema: pa.Schema) -> Mapping[str, Sequence[str]]:
    """Return the names of the values of class labels, which Hugging Face's `datasets` writes into schemas."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {
            name: [str(label) for label in feature["names"]]
            for name, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def head_columns(file: BinaryIO, name: str) -> tuple[list[Column], str | None]:
    """Return the columns of a text table by its first lines, their types guessed, and what is irregular.

    Raises:
        InvalidInput: it is not text of this format.
    """
    lowered, head = name.lower(), plain_text(file, name).read(_HEAD)
    utf16 = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if b"\0" in head and not utf16:
        raise InvalidInput("it has NUL bytes and may not be text")
    text = head.decode("utf-16" if utf16 else "utf-8-sig", "replace")
    if len(head) == _HEAD:  # the last line is incomplete
        text = text[: text.rfind("\n") + 1]
        if not text:
            raise InvalidInput(f"its first line is longer than {_HEAD >> 10} KiB")
    lines = text.splitlines()
    if ".jsonl" in lowered or ".ndjson" in lowered:
        return _of_objects(lines), None
    return _of_csv(lines, lowered)


def _of_csv(lines: Sequence[str], name: str) -> tuple[list[Column], str | None]:
    if not lines:
        return [], None
    delimiter = "\t" if ".tsv" in name else max(",;\t|", key=lines[0].count)
    rows = islice(csv.reader(io.StringIO("\n".join(lines), newline=""), delimiter=delimiter), _LINES)
    try:
        header, *values = rows
    except csv.Error as error:
        raise InvalidInput(f"its first lines are not CSV: {error}") from None
    odd = [number for number, row in enumerate(values, 2) if 0 < len(row) != len(header)]
    problem = f"{count(len(odd), 'row')} of the first have other columns, first row {odd[0]}" if odd else None
    columns = [[row[at] for row in values if at < len(row)] for at in range(len(header))]
    types = [_guess(cells) for cells in columns]
    if values and {"string"} != set(types) and types == [_guess([cell]) for cell in header]:
        header = [f"column{at}" for at in range(len(header))]  # the first line has values: DuckDB's names
    return [Column(clean(name), type_, True) for name, type_ in zip(header, types, strict=True)], problem


def _guess(cells: Iterable[str]) -> str:
    """Return the type that all cells with a value have."""
    given = [cell for cell in cells if cell]
    for type_, parse in _SAMPLES if given else ():
        try:
            for cell in given:
                parse(cell)
        except (ValueError, KeyError):
            continue
        return type_
    return "string"


def _of_objects(lines: Sequence[str]) -> list[Column]:
    found: dict[str, set[str]] = {}
    try:
        for line in lines[:_LINES]:
            for key, value in json.loads(line).items() if line.strip() else ():
                found.setdefault(key, set()).add(_json_type(value))
    except (ValueError, AttributeError, RecursionError):
        raise InvalidInput("its first lines are not JSON objects") from None
    mixed = {frozenset({"int64", "double"}): "double"}
    types = {key: types - {"null"} for key, types in found.items()}
    return [
        Column(clean(key), mixed.get(frozenset(some), min(some) if len(some) == 1 else "string"), True)
        for key, some in types.items()
    ]


def _json_type(value: object) -> str:
    names = {bool: "bool", int: "int64", float: "double", str: "string", list: "list", dict: "struct"}
    return names.get(type(value), "null")
