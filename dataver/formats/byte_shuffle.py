"""Byte grouping of numbers: all first bytes, all second bytes, …; each group is compressed separately.

    offset | size       | field
         0 | 4 * stride | stored length of each plane
           | …          | the planes, one after the other

Plane i of a payload is its bytes i, i + stride, i + 2 * stride and so on. A plane whose stored length is its
own length is stored raw; a shorter one is one zstd frame that states its content size.

The idea: in floating-point weights, sign and exponent take few values and low mantissa bytes are noise.
Interleaved, neither compresses well. Known as shuffle (Blosc, HDF5) and byte grouping (Hershcovitch et al.,
ZipNN, arXiv:2411.05239). A payload may begin at any byte of a number.

Keeps invariants 1 (its half: lengths are compared before anything is decompressed) and 7. Grouping uses
by slices with a step: 10 µs a plane of 32 KiB (`docs/decisions/0008-bytes-of-numbers-are-grouped.md`).
"""

from __future__ import annotations

import struct
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Final

from dataver.errors import IntegrityError
from dataver.formats.compression import decompress_exactly

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from dataver.formats.compression import Compressor, Decompressor

__all__ = ["STRIDES", "group", "has_noise", "ungroup"]

STRIDES: Final = (2, 4, 8)  # half and bfloat16, float32, float64; each is a codec's number

_LOOK: Final = 1024  # bytes; three mantissa planes of noise cost 10 µs a frame this way instead of 40


def group(payload: bytearray, stride: int, compressor: Compressor) -> bytes:
    """Return `payload` as planes; `compressor` is preferably one of `make_plane_compressor`."""
    planes = [_smaller(payload[first::stride], compressor) for first in range(stride)]
    return b"".join((struct.pack(f"<{stride}I", *map(len, planes)), *planes))


def ungroup(stored: memoryview, stride: int, size: int, decompressor: Decompressor, what: str) -> bytearray:
    """Return the payload of `size` bytes, bounded by the caller; `what` names the object in errors.

    Raises:
        IntegrityError: lengths do not match, or a plane cannot be decompressed.
    """
    head = 4 * stride
    if len(stored) < head:
        raise IntegrityError(f"{what} is too short for the lengths of {stride} planes")
    lengths = struct.unpack_from(f"<{stride}I", stored)
    if head + sum(lengths) != len(stored):
        raise IntegrityError(f"{what} has planes that do not add up to its bytes")
    payload = bytearray(size)
    for first, (start, end) in enumerate(pairwise(accumulate(lengths, initial=head))):
        full = len(range(first, size, stride))
        plane = stored[start:end]
        if end - start > full:
            raise IntegrityError(f"{what} has a plane longer than its content")
        payload[first::stride] = (
            plane if end - start == full else decompress_exactly(plane, full, decompressor, what)
        )
    return payload


def has_noise(stored: Buffer, stride: int, size: int) -> bool:
    """Return whether a plane of the `size` bytes is stored raw, which does not occur for text."""
    longest: int = max(struct.unpack_from(f"<{stride}I", stored))
    return longest >= size // stride


def _smaller(plane: bytearray, compressor: Compressor) -> bytes | bytearray:
    """Return the plane compressed if that saves 2 %, estimated first from two samples."""
    quarter = len(plane) // 4
    if quarter >= _LOOK:
        seen = plane[quarter : quarter + _LOOK] + plane[3 * quarter : 3 * quarter + _LOOK]
        if len(compressor(seen)) >= len(seen):
            return plane
    compressed = compressor(plane)
    return compressed if len(compressed) < len(plane) - len(plane) // 50 else plane
