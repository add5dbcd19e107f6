"""Profiles of arrays: names, shapes and types, from the headers of NumPy and safetensors files."""

from __future__ import annotations

import ast
import json
import struct
import zipfile
from itertools import islice
from math import prod
from typing import IO, TYPE_CHECKING, Any, Final

from dataver.errors import InvalidInput
from dataver.profiles.archives import LISTING, listing_size
from dataver.profiles.text import clean

if TYPE_CHECKING:
    from dataver.profiles.kinds import Profile, Source

__all__ = ["cheap", "full", "safetensors_header"]

_MOST: Final = 1000  # arrays that are named
_NPY: Final = 10_000  # bytes of a header; the limit of NumPy
_SAFETENSORS: Final = 16 << 20
_TYPE: Final = 500  # characters of the types of a structured array


def cheap(source: Source) -> Profile:
    """Return the arrays, from the headers."""
    with source.open() as file:
        if source.name.lower().endswith(".npy"):
            arrays, count = [_npy("", file, source.size)], 1
        elif source.name.lower().endswith(".npz"):
            arrays, count = _npz(file, source.size)
        else:
            arrays, count = _safetensors(file, source.size)
    partial = {} if count <= _MOST else {"partial": f"{_MOST:,} of its {count:,} arrays are named"}
    return {"count": count, "arrays": arrays, **partial}


full = cheap


def _npy(name: str, file: IO[bytes], size: int) -> Profile:
    magic = file.read(8)
    if magic[:6] != b"\x93NUMPY":
        raise InvalidInput("it does not begin as a NumPy file does")
    wide = magic[6] > 1
    (length,) = struct.unpack("<I" if wide else "<H", file.read(4 if wide else 2))
    if length > _NPY:
        raise InvalidInput(f"its header states a length of {length:,} bytes")
    header = ast.literal_eval(file.read(length).decode("utf-8" if magic[6] > 2 else "latin-1"))
    shape, kind = [int(each) for each in header["shape"]], header["descr"]
    if isinstance(kind, str) and kind[1] in "biufc":
        _require_bytes(name, prod(shape) * int(kind[2:]), size - len(magic) - length - 2 - 2 * wide)
    return {"name": clean(name), "shape": shape, "dtype": str(kind)[:_TYPE]}


def _npz(file: IO[bytes], size: int) -> tuple[list[Profile], int]:
    if listing_size(file, size) > LISTING:
        raise InvalidInput("its listing is too long")
    with zipfile.ZipFile(file) as archive:
        members = [each for each in archive.infolist() if each.filename.endswith(".npy")]
        arrays = []
        for each in members[:_MOST]:
            with archive.open(each) as member:
                arrays.append(_npy(each.filename.removesuffix(".npy"), member, each.file_size))
    return arrays, len(members)


def _safetensors(file: IO[bytes], size: int) -> tuple[list[Profile], int]:
    header, start = safetensors_header(file, min(_SAFETENSORS, size))
    for name, each in header.items():
        _require_bytes(name, each["data_offsets"][1], size - start)
    arrays = [
        {
            "name": clean(name),
            "shape": [int(one) for one in each["shape"]],
            "dtype": clean(str(each["dtype"])),
        }
        for name, each in islice(header.items(), _MOST)
    ]
    return arrays, len(header)


def safetensors_header(file: IO[bytes], most: int) -> tuple[dict[str, Any], int]:
    """Return what a safetensors file says of its tensors, by name, and the place of the first one.

    Raises:
        InvalidInput: the header states more than `most` bytes.
        struct.error, ValueError: it is cut off, or it is not JSON.
    """
    (length,) = struct.unpack("<Q", file.read(8))
    if length > most:
        raise InvalidInput(f"its header states a length of {length:,} bytes")
    header: dict[str, Any] = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return header, 8 + length


def _require_bytes(name: str, stated: int, there: int) -> None:
    if stated > there:
        raise InvalidInput(f"the array '{name}' states {stated:,} bytes, and the file has {there:,} for it")
