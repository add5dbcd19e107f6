"""Logs of W&B's runs, `run-<id>.wandb`: records in the format of LevelDB's logs, after a header of 7 bytes.

    offset | size | field  | meaning
    0      | 4    | crc    | CRC-32 of type and data
    4      | 2    | length | bytes of data
    6      | 1    | type   | 1 all of a record, 2 its first part, 3 a middle one, 4 the last
    7      | n    | data   |

No part crosses a block of 32 KiB; fewer than 7 bytes at its end are padding. Numbers are little-endian. A
record is a message `Record` of the package's Protocol Buffers. Checked against wandb 0.31.
"""

import gzip
import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

# Imports in functions: the package is optional.

__all__ = ["entries_of", "records"]

_HEADER: Final = b":W&B\xe1\xbe\x00"
_BLOCK: Final = 32768
_PART: Final = struct.Struct("<IHB")
_MAX_RECORD: Final = 1 << 30


def records(path: Path) -> Iterator[Any]:
    """Yield the records of a log; those of a run that is being written end where the file does.

    The package must be installed.

    Raises:
        ValueError: it is no such log, or damaged from here on.
    """
    from wandb.proto.wandb_internal_pb2 import Record

    with path.open("rb") as file:
        if file.read(len(_HEADER)) != _HEADER:
            raise ValueError("it is no log of a run")
        for data in _joined(file):
            try:
                yield Record.FromString(data)
            except Exception as error:  # DecodeError of one of the packages for Protocol Buffers
                raise ValueError("a record cannot be parsed") from error


def _joined(file: IO[bytes]) -> Iterator[bytes]:
    record = bytearray()
    for kind, data in _parts(file):
        record += data
        if len(record) > _MAX_RECORD:
            raise ValueError("a record is too large")
        if kind in (1, 4):
            yield bytes(record)
            record.clear()


def _parts(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    while True:
        room = _BLOCK - file.tell() % _BLOCK
        if room < _PART.size:
            file.seek(room, 1)
        head = file.read(_PART.size)
        if len(head) < _PART.size:
            return
        crc, length, kind = _PART.unpack(head)
        data = file.read(length)
        if len(data) < length:
            return
        if zlib.crc32(data, zlib.crc32(bytes([kind]))) != crc:
            raise ValueError(f"the record at byte {file.tell() - length} does not have its checksum")
        yield kind, data


def entries_of(artifact: Any) -> dict[str, dict[str, Any]]:
    """Return the entries of the manifest of a logged artifact, as those of a `wandb_manifest.json`.

    Those of more than 100,000 are in a file of their own.
    """
    if path := artifact.manifest.manifest_file_path:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            return {entry["path"]: entry for entry in map(json.loads, file)}
    return {
        each.path: {
            "digest": each.digest,
            "ref": each.ref,
            "size": each.size,
            "local_path": each.local_path,
            "extra": {item.key: json.loads(item.value_json) for item in each.extra},
        }
        for each in artifact.manifest.contents
    }
