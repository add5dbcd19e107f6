"""The columns of a table from its footer or its first lines.

The idea: names matter most, so that search finds them, and `finalize` must not take longer; the first lines
of text are read by Python alone, and their types guessed. Types have the names of Arrow, the same for every
format of a table (`type_name`).
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

# Imports in functions: pyarrow is optional.

__all__ = [
    "THRIFT_LIMITS", "Column", "arrow_columns", "binary_schema", "class_labels", "head_columns", "open_arrow",
    "plain_text", "type_name",
]  # fmt: skip

_HEAD: Final = 64 << 10  # bytes
_LINES: Final = 100
_SAMPLES: Final[Sequence[tuple[str, Any]]] = (
    ("int64", int),
    ("double", float),
    ("bool", {"true": True, "false": False}.__getitem__),
    ("date32[day]", date.fromisoformat),
    ("timestamp[us]", datetime.fromisoformat),
)


THRIFT_LIMITS: Final = {"thrift_string_size_limit": 16 << 20, "thrift_container_size_limit": 16 << 20}
"""Bytes of a string and items of a list in the footer of a Parquet file, as pyarrow is told."""


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        name: its name.
        type: Arrow's name of its type, as of `type_name`.
        nullable: whether it may lack values.
    """

    name: str
    type: str
    nullable: bool


def binary_schema(file: BinaryIO, name: str) -> tuple[pa.Schema, int | None]:
    """Return the schema of Parquet or Arrow, and of Parquet the number of rows, without reading rows.

    Raises:
        InvalidInput: a footer contradicts itself.
        pyarrow.ArrowInvalid: it is damaged.
    """
    from pyarrow.parquet import ParquetFile

    if format_of(name) == "arrow":
        return open_arrow(file).schema, None
    footer = ParquetFile(file, **THRIFT_LIMITS).metadata
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
    return [Column(clean(field.name), clean(type_name(field.type)), field.nullable) for field in schema]


def type_name(kind: pa.DataType) -> str:
    """Return Arrow's name of a type of values, such as `string`, `timestamp[us]` or `list<double>`.

    How the values lie in memory is left out: `large_`, `_view`, dictionaries, the size of lists and the name
    of their items, which differ between formats of the same table.
    """
    from pyarrow import types

    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return type_name(kind.value_type)
    if types.is_map(kind):
        return f"map<{type_name(kind.key_type)}, {type_name(kind.item_type)}>"
    if types.is_struct(kind):
        return f"struct<{', '.join(f'{field.name}: {type_name(field.type)}' for field in kind)}>"
    if hasattr(kind, "value_type"):  # the kinds of lists
        return f"list<{type_name(kind.value_type)}>"
    return str(kind).removeprefix("large_").removesuffix("_view")


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
    head = plain_text(file, name).read(_HEAD)
    utf16 = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if b"\0" in head and not utf16:
        raise InvalidInput("it has NUL bytes and may not be text")
    text = head.decode("utf-16" if utf16 else "utf-8-sig", "replace")
    if len(head) == _HEAD:  # the last line is incomplete
        text = text[: text.rfind("\n") + 1]
        if not text:
            raise InvalidInput(f"its first line is longer than {_HEAD >> 10} KiB")
    lines = text.splitlines()
    if format_of(name) == "jsonl":
        return _of_objects(lines), None
    return _of_csv(lines, tabs=format_of(name) == "tsv")


def _of_csv(lines: Sequence[str], *, tabs: bool) -> tuple[list[Column], str | None]:
    if not lines:
        return [], None
    delimiter = "\t" if tabs else max(",;\t|", key=lines[0].count)
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
