"""The memory that the compressed columns of an Arrow file take, as its headers state it.

The idea: 50 KB of Arrow may state 1.6 GB of zeros, which pyarrow unpacks at once, outside the limit of
DuckDB. Each compressed buffer begins with its unpacked size, so that all are known before one is unpacked.
pyarrow names neither them nor a file's batches, so their flatbuffers are read here: tables whose fields lie
at offsets. https://arrow.apache.org/docs/format/Columnar.html describes them.
"""

from __future__ import annotations

import heapq
import struct
from typing import TYPE_CHECKING, Any, Final

from dataver.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

# Imports in functions: pyarrow is optional.

__all__ = ["batch_sizes", "unpacked_size"]

_TOGETHER: Final = 4  # batches of a file that are in memory at once: pyarrow reads ahead


def unpacked_size(source: pa.NativeFile, *, stream: bool) -> int:
    """Return the bytes that compressed buffers take at once: of a stream all, of a file some batches.

    Args:
        source: an Arrow file or stream.
        stream: whether it is a stream, which is read as a whole.

    Raises:
        InvalidInput, pyarrow.ArrowInvalid, OSError: it is damaged.
    """
    kept, batches = 0, []
    try:
        for message in _in_stream(source) if stream else _in_file(source):
            size = _unpacked(message) if message.type in ("record batch", "dictionary") else 0
            if stream or message.type == "dictionary":
                kept += size
            else:
                batches.append(size)
    except (struct.error, EOFError):
        raise InvalidInput("a header points to a place that it does not have") from None
    return kept + sum(heapq.nlargest(_TOGETHER, batches))


def batch_sizes(source: pa.NativeFile, *, stream: bool) -> Iterator[int]:
    """Yield for each batch the bytes that its compressed buffers take, with those of dictionaries before it.

    Raises:
        InvalidInput, pyarrow.ArrowInvalid, OSError: it is damaged.
    """
    size = 0
    try:
        for message in _in_stream(source) if stream else _in_file(source):
            size += _unpacked(message) if message.type in ("record batch", "dictionary") else 0
            if message.type == "record batch":
                yield size
                size = 0
    except (struct.error, EOFError):
        raise InvalidInput("a header points to a place that it does not have") from None


def _in_stream(source: pa.NativeFile) -> Iterator[Any]:
    import pyarrow as pa

    source.seek(0)
    while True:
        try:
            yield pa.ipc.read_message(source)
        except EOFError:
            return


def _in_file(source: pa.NativeFile) -> Iterator[Any]:
    """Yield the dictionaries and batches that the footer names."""
    import pyarrow as pa

    pa.ipc.open_file(source)  # checks the footer
    (length,) = struct.unpack("<i", source.read_at(4, source.size() - 10))
    footer = source.read_at(length, source.size() - 10 - length)
    for field in (2, 3):
        if vector := _field(footer, _target(footer, 0), field):
            start, count = _vector(footer, vector)
            for number in range(count):
                source.seek(*struct.unpack_from("<q", footer, start + 24 * number))
                yield pa.ipc.read_message(source)


def _unpacked(message: Any) -> int:
    """Return the bytes that the compressed buffers of a batch or dictionary state; 0 if it has none."""
    data, body = memoryview(message.metadata), memoryview(message.body)
    batch = _target(data, _field(data, _target(data, 0), 2))
    if message.type == "dictionary":
        batch = _target(data, _field(data, batch, 1))
    if not _field(data, batch, 3):  # its compression
        return 0
    size, (start, count) = 0, _vector(data, _field(data, batch, 2))
    for offset, length in struct.iter_unpack("<qq", data[start : start + 16 * count]):
        if offset < 0 or length < 0 or offset + length > len(body):
            raise InvalidInput("a header names bytes that it does not have")
        size += max(0, struct.unpack_from("<q", body, offset)[0]) if length else 0
    return size


def _field(data: Any, table: int, number: int) -> int:
    """Return the position of a field of a table; 0 if the table lacks it."""
    fields = table - struct.unpack_from("<i", data, table)[0]
    place = 4 + 2 * number
    if place >= struct.unpack_from("<H", data, fields)[0]:
        return 0
    offset: int = struct.unpack_from("<H", data, fields + place)[0]
    return table + offset if offset else 0


def _target(data: Any, at: int) -> int:
    target: int = at + struct.unpack_from("<I", data, at)[0]
    return target


def _vector(data: Any, field: int) -> tuple[int, int]:
    """Return the position of a vector's first item and the number of its items."""
    at = _target(data, field)
    return at + 4, struct.unpack_from("<I", data, at)[0]
