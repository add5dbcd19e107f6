"""A frame: chunks that are compressed together, after a header with their sizes and a checksum.

    offset | size | field          | meaning
         0 |    2 | codec          | 0 raw, 1 zstd; 2, 4, 8 grouped with that stride
         2 |    2 | chunk_count    | 1 to 65535
         4 |    4 | stored_length  | bytes after the header
         8 |    4 | raw_length     | sum of the chunks' lengths, at most 16 MiB
        12 |    4 | zero           |
        16 |    8 | checksum       | XXH3-64 of header[0:16] and the stored bytes

All little-endian. The *payload* (the chunks' bytes, then a table of u32 chunk lengths) is stored raw, as one
zstd frame, or grouped (`dataver.formats.byte_shuffle`). Thanks to the table, a pack whose footer is lost can
be rebuilt by walking its frames.

Keeps invariants 1 (the checksum is compared before the stored bytes are used) and 7. Lengths are bounded
before anything is allocated. It does not hash chunks: their digests are in the pack's footer.
"""

from __future__ import annotations

import struct
import sys
from array import array
from typing import TYPE_CHECKING, Final, NamedTuple

from dataver.errors import FormatTooNew, IntegrityError, InvalidInput
from dataver.formats.byte_shuffle import STRIDES, group, ungroup
from dataver.formats.compression import decompress_exactly
from dataver.hashing.digest import checksum
from dataver.web_page import refuse_web_page

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from typing_extensions import Buffer

    from dataver.formats.compression import Compressor, Decompressor

__all__ = [
    "CODEC_RAW",
    "CODEC_ZSTD",
    "HEADER_SIZE",
    "MAX_CHUNKS",
    "MAX_RAW",
    "FrameHeader",
    "decode_frame",
    "decode_frames",
    "encode_frame",
    "encode_payload",
    "frame_lengths",
    "iter_frames",
    "length_table",
    "parse_header",
    "u32_array",
]

HEADER_SIZE: Final = 24
MAX_RAW: Final = 16 * 1024 * 1024
MAX_CHUNKS: Final = 65535
CODEC_RAW: Final = 0
CODEC_ZSTD: Final = 1

_COVERED: Final = struct.Struct("<HHIII")
_HEADER: Final = struct.Struct("<HHIIIQ")
_SWAP: Final = sys.byteorder == "big"


class FrameHeader(NamedTuple):
    """A frame's header. `stored_length` excludes the header, `raw_length` the table of lengths."""

    codec: int
    chunk_count: int
    stored_length: int
    raw_length: int
    checksum: int


def encode_frame(
    chunks_bytes: Buffer, lengths: Sequence[int], compressor: Compressor | None, *, stride: int = 1
) -> tuple[bytes, Buffer]:
    """Return the header and the stored bytes of a frame.

    Args:
        chunks_bytes: the chunks, concatenated.
        lengths: the length of each chunk, in order; none is zero.
        compressor: of the calling thread; None stores raw. Raw is also used if compression saves less than
            2 %: such bytes are then read without decompressing.
        stride: 2, 4 or 8 groups the bytes before compression.
    """
    payload = b"".join((chunks_bytes, length_table(lengths)))
    return encode_payload(payload, lengths, compressor, stride=stride)


def encode_payload(
    payload: Buffer, lengths: Sequence[int], compressor: Compressor | None, *, stride: int = 1
) -> tuple[bytes, Buffer]:
    """Return the same as `encode_frame`, from the chunks followed by `length_table(lengths)`.

    The stored bytes of a raw frame are `payload` itself, not a copy.
    """
    raw_length, size = sum(lengths), memoryview(payload).nbytes
    if not 1 <= len(lengths) <= MAX_CHUNKS or raw_length > MAX_RAW or not min(lengths):
        raise InvalidInput(f"a frame cannot hold {len(lengths)} chunks with {raw_length} bytes")
    if size != raw_length + 4 * len(lengths):
        raise InvalidInput(
            f"chunk lengths add up to {raw_length}, but there are {size - 4 * len(lengths)} bytes"
        )
    codec, stored, length = CODEC_RAW, payload, size
    if compressor is not None:
        smaller = compressor(payload) if stride == 1 else group(bytearray(payload), stride, compressor)
        if len(smaller) <= size - size // 50:
            codec, stored, length = CODEC_ZSTD if stride == 1 else stride, smaller, len(smaller)
    covered = _COVERED.pack(codec, len(lengths), length, raw_length, 0)
    return covered + checksum(covered, stored).to_bytes(8, "little"), stored


def length_table(lengths: Sequence[int]) -> array[int]:
    """Return the table that follows the chunks of a frame: their lengths as little-endian u32."""
    try:
        table = array("I", lengths)
    except OverflowError as error:
        raise InvalidInput("a frame cannot hold a chunk of 4 GiB") from error
    if _SWAP:
        table.byteswap()
    return table


def parse_header(buffer: Buffer, offset: int = 0) -> FrameHeader:
    """Return the header at `offset`, its lengths bounded; the stored bytes need not be present.

    Raises:
        IntegrityError: not the header of a frame.
        FormatTooNew: an unknown codec.
    """
    header = _bounded_header(memoryview(buffer), offset)
    _known_codec(header.codec, offset)
    return header


def decode_frame(buffer: memoryview, offset: int, decompressor: Decompressor) -> tuple[memoryview, int]:
    """Check the frame at `offset`; return its chunks' bytes and the offset after it.

    The bytes of a raw frame are a view into `buffer`, not a copy.

    Raises:
        IntegrityError: truncated, or a checksum or length does not match.
        FormatTooNew: an intact frame with an unknown codec.
    """
    header, stored, end = _checked_frame(buffer, offset)
    return _payload(header, stored, offset, decompressor)[: header.raw_length], end


def decode_frames(buffer: memoryview, decompressor: Decompressor) -> Iterator[memoryview]:
    """Yield the chunks' bytes of each frame of `buffer`, which holds whole adjacent frames (an extent)."""
    offset = 0
    while offset < len(buffer):
        raw, offset = decode_frame(buffer, offset, decompressor)
        yield raw


def frame_lengths(
    buffer: memoryview, offset: int, decompressor: Decompressor
) -> tuple[FrameHeader, array[int], memoryview]:
    """Check the frame at `offset`; return its header, its chunks' lengths and their bytes.

    Raises:
        IntegrityError: as `decode_frame`, or the table of lengths does not match the bytes.
    """
    header, stored, _ = _checked_frame(buffer, offset)
    payload = _payload(header, stored, offset, decompressor)
    lengths = u32_array(payload[header.raw_length :])
    if sum(lengths) != header.raw_length or not min(lengths):
        raise IntegrityError(f"the frame at byte {offset} has chunk lengths that do not add up to its bytes")
    return header, lengths, payload[: header.raw_length]


def iter_frames(buffer: Buffer, start: int = 0) -> Iterator[tuple[int, FrameHeader]]:
    """Yield the offset and the checked header of each adjacent frame in `buffer[start:]`.

    The checksum of each frame is compared; nothing is decompressed. Frames with an unknown codec are yielded,
    too.

    Raises:
        IntegrityError: the range contains bytes that are not a complete, undamaged frame.
    """
    view, offset = memoryview(buffer), start
    while offset < len(view):
        header, _, behind = _checked_frame(view, offset)
        yield offset, header
        offset = behind


def u32_array(data: Buffer) -> array[int]:
    """Return little-endian u32 values as an array; the size of `data` must be a multiple of four bytes."""
    values = array("I")
    values.frombytes(data)
    if _SWAP:
        values.byteswap()
    return values


def _bounded_header(buffer: memoryview, offset: int) -> FrameHeader:
    if offset < 0 or len(buffer) - offset < HEADER_SIZE:
        refuse_web_page(buffer[max(0, offset) :], f"the frame at byte {offset}")
        raise IntegrityError(f"the frame at byte {offset} is truncated")
    codec, count, stored, raw, zero, check = _HEADER.unpack_from(buffer, offset)
    payload = raw + 4 * count
    fits = stored == payload if codec == CODEC_RAW else 0 < stored <= payload
    if not (fits and 1 <= count <= raw <= MAX_RAW and zero == 0):
        refuse_web_page(buffer[offset:], f"the frame at byte {offset}")
        raise IntegrityError(f"no frame begins at byte {offset}: its header has lengths out of range")
    return FrameHeader(codec, count, stored, raw, check)


def _known_codec(codec: int, offset: int) -> None:
    if codec not in (CODEC_RAW, CODEC_ZSTD, *STRIDES):
        raise FormatTooNew(
            f"the frame at byte {offset} uses codec {codec}, which this version does not know",
            hint="install a newer dataver",
        )


def _checked_frame(buffer: memoryview, offset: int) -> tuple[FrameHeader, memoryview, int]:
    header = _bounded_header(buffer, offset)
    begin = offset + HEADER_SIZE
    end = begin + header.stored_length
    if end > len(buffer):
        raise IntegrityError(
            f"the frame at byte {offset} is truncated: {end - len(buffer)} bytes are missing"
        )
    stored = buffer[begin:end]
    if checksum(buffer[offset : offset + 16], stored) != header.checksum:
        raise IntegrityError(f"the frame at byte {offset} does not match its checksum")
    return header, stored, end


def _payload(header: FrameHeader, stored: memoryview, offset: int, decompressor: Decompressor) -> memoryview:
    if header.codec == CODEC_RAW:
        return stored
    _known_codec(header.codec, offset)
    size = header.raw_length + 4 * header.chunk_count
    what = f"the frame at byte {offset}"
    if header.codec == CODEC_ZSTD:
        return memoryview(decompress_exactly(stored, size, decompressor, what))
    return memoryview(ungroup(stored, header.codec, size, decompressor, what))
