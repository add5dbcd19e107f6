"""A pack: many frames in one immutable object, and a footer that lists them and their chunks.

    magic(8) · frame* · footer · trailer(32)

The idea: the footer lists every chunk's digest and every frame's checksum, and the pack's name is the
footer's hash, so the name authenticates the whole object. Readers of a version need no footer: a tree's
extents locate frames directly. Footers serve deduplication, partial reads, checks and repacking.

    trailer: offset | size | field          | meaning
                  0 |    4 | footer_stored  | bytes of the stored footer, right before the trailer
                  4 |    4 | footer_raw     | bytes of the footer proper; equal to footer_stored if stored raw
                  8 |    8 | checksum       | XXH3-64 of the stored footer
                 16 |    4 | frame_count    | as in the footer
                 20 |    4 | zero           |
                 24 |    8 | magic          | "DVFOOT" 00 01

    footer:  u32 version (1), u32 F, u32 N, u32 zero, then flat arrays without gaps:
             checksum u64[F] · stored_length u32[F] · raw_length u32[F] · chunk_count u32[F] ·
             digest 32 bytes[N] · chunk length u32[N]

Keeps invariants 1 and 7. Counts are bounded by the sizes they imply before anything is allocated, and no
Python object is made per chunk. Writers decide the size of a pack; only the maximum is defined here.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left, bisect_right
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from dataver.errors import FormatTooNew, IntegrityError, InvalidInput
from dataver.formats.compression import decompress_exactly, make_compressor, make_decompressor
from dataver.formats.frame import (
    HEADER_SIZE,
    MAX_CHUNKS,
    MAX_RAW,
    frame_lengths,
    iter_frames,
    u32_array,
)
from dataver.hashing.digest import CONTEXT_PACK, DIGEST_SIZE, checksum, derived, digest
from dataver.web_page import refuse_web_page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Buffer

    from dataver.formats.compression import Decompressor
    from dataver.formats.frame import FrameHeader

__all__ = [
    "MAGIC",
    "MAX_PACK_CHUNKS",
    "MAX_PACK_FRAMES",
    "MAX_PACK_SIZE",
    "TRAILER_SIZE",
    "Footer",
    "FooterBuilder",
    "Trailer",
    "check_frame",
    "check_magic",
    "check_pack",
    "memory_of",
    "parse_footer",
    "parse_trailer",
    "rebuild_footer",
]

MAGIC: Final = b"DVPACK\x00\x01"
TRAILER_MAGIC: Final = b"DVFOOT\x00\x01"
TRAILER_SIZE: Final = 32
MAX_PACK_SIZE: Final = 100_000_000  # one PUT on every store; all offsets fit 32 bits
MAX_PACK_FRAMES: Final = 1 << 20
MAX_PACK_CHUNKS: Final = 1 << 20

_TRAILER: Final = struct.Struct("<IIQII8s")
_HEAD: Final = struct.Struct("<IIII")
_VERSION: Final = 1
_FRAME_COLUMNS: Final = 8 + 4 + 4 + 4
_CHUNK_COLUMNS: Final = DIGEST_SIZE + 4
_FOOTER_LEVEL: Final = 3


class Trailer(NamedTuple):
    """The last 32 bytes of a pack, bounded. The last `tail_size` bytes contain footer and trailer."""

    footer_stored: int
    footer_raw: int
    checksum: int
    frame_count: int

    @property
    def tail_size(self) -> int:
        """Number of bytes from the end of the object that `parse_footer` needs."""
        return self.footer_stored + TRAILER_SIZE


class Footer:
    """A pack's chunk and frame tables as flat arrays. Numbers of frames and chunks count from 0.

    Attributes:
        pack_id: the pack's name, 32 bytes.
        raw: the footer proper, as hashed.
        frame_count: number of frames.
        chunk_count: number of chunks.
        checksums: of each frame (u64).
        frame_offsets: offset of each frame's header in the object (u64); one more for the end of the last.
        frame_stored: bytes of each frame, header included (u32).
        frame_raw: bytes of each frame's chunks (u32).
        first_chunk: number of each frame's first chunk (u32); one more with `chunk_count`.
        raw_starts: offset of each frame in the pack's raw stream, the concatenation of all chunks (u64); one
            more for the end. It maps an extent to an interval of that stream.
        chunk_starts: offset of each chunk in the raw stream (u64); one more for the end.
        digests: all chunk digests, concatenated, 32 bytes each.
        lengths: of each chunk (u32).
    """

    __slots__ = (
        "checksums",
        "chunk_count",
        "chunk_starts",
        "digests",
        "first_chunk",
        "frame_count",
        "frame_offsets",
        "frame_raw",
        "frame_stored",
        "lengths",
        "pack_id",
        "raw",
        "raw_starts",
    )

    def __init__(self, raw: bytes) -> None:
        """Parse a footer proper; callers use `parse_footer` or `rebuild_footer`.

        Raises:
            IntegrityError: counts, lengths and sums that do not match.
            FormatTooNew: another version of the footer.
        """
        frames, chunks = _counts(raw)
        columns = _columns(memoryview(raw), frames, chunks)
        self.raw = raw
        self.pack_id = derived(CONTEXT_PACK, raw)
        self.frame_count = frames
        self.chunk_count = chunks
        self.checksums = array("Q", struct.unpack(f"<{frames}Q", columns[0]))
        stored, self.frame_raw, counts = map(u32_array, columns[1:4])
        if max(stored, default=0) > MAX_PACK_SIZE or sum(counts) != chunks:
            raise IntegrityError("the pack footer's frame table does not match its chunk table")
        self.frame_stored = array("I", [length + HEADER_SIZE for length in stored])
        self.digests = columns[4]
        self.lengths = u32_array(columns[5])
        self.frame_offsets = array("Q", accumulate(self.frame_stored, initial=len(MAGIC)))
        self.raw_starts = array("Q", accumulate(self.frame_raw, initial=0))
        self.chunk_starts = array("Q", accumulate(self.lengths, initial=0))
        self.first_chunk = array("I", accumulate(counts, initial=0))
        self._check(counts)

    def _check(self, counts: array[int]) -> None:
        """Compare the frame table with the chunk table; no frame or chunk may be empty or too large."""
        starts = self.chunk_starts
        if (
            not all(1 <= count <= MAX_CHUNKS for count in counts)
            or not all(0 < length <= MAX_RAW for length in self.frame_raw)
            or (self.chunk_count and not min(self.lengths))
            or any(starts[first] != raw for first, raw in zip(self.first_chunk, self.raw_starts, strict=True))
        ):
            raise IntegrityError("the pack footer's frame table does not match its chunk table")
        if self.frame_offsets[-1] > MAX_PACK_SIZE:
            raise IntegrityError("the pack footer lists more bytes than a pack may hold")

    def chunk_digest(self, number: int) -> bytes:
        """Return the digest of a chunk."""
        return bytes(self.digests[32 * number : 32 * number + 32])

    def locate(self, number: int) -> tuple[int, int, int]:
        """Return a chunk's location: its frame's number, the raw bytes before it in the frame, its length."""
        frame = bisect_right(self.first_chunk, number) - 1
        return frame, self.chunk_starts[number] - self.raw_starts[frame], self.lengths[number]

    def frame_at(self, offset: int) -> int:
        """Return the number of the frame whose header begins at `offset`.

        Raises:
            IntegrityError: no frame begins there, so the offset does not belong to this pack.
        """
        number = bisect_left(self.frame_offsets, offset, 0, self.frame_count)
        if number == self.frame_count or self.frame_offsets[number] != offset:
            raise IntegrityError(f"pack {self.pack_id.hex()} has no frame at byte {offset}")
        return number

    def describes(self, number: int, offset: int, header: FrameHeader) -> bool:
        """Return whether frame `number` has this header at this offset."""
        return (offset, header.stored_length, header.raw_length, header.checksum, header.chunk_count) == (
            self.frame_offsets[number],
            self.frame_stored[number] - HEADER_SIZE,
            self.frame_raw[number],
            self.checksums[number],
            self.first_chunk[number + 1] - self.first_chunk[number],
        )

    def encode(self) -> bytes:
        """Return the stored footer and the trailer, the end of a pack object."""
        compressed = make_compressor(_FOOTER_LEVEL)(self.raw)
        stored = compressed if len(compressed) < len(self.raw) else self.raw
        return stored + _TRAILER.pack(
            len(stored), len(self.raw), checksum(stored), self.frame_count, 0, TRAILER_MAGIC
        )


class FooterBuilder:
    """Collects the footer's tables, frame by frame, while a pack is written.

    Attributes:
        size: bytes of the object so far: the magic and the frames; also the offset of the next frame.
        frame_count: number of frames so far.
        chunk_count: number of chunks so far.
    """

    __slots__ = (
        "_checksums",
        "_counts",
        "_digests",
        "_lengths",
        "_raw",
        "_stored",
        "chunk_count",
        "frame_count",
        "size",
    )

    def __init__(self) -> None:
        self._checksums: list[int] = []
        self._stored = array("I")
        self._raw = array("I")
        self._counts = array("I")
        self._digests: list[bytes] = []
        self._lengths = array("I")
        self.size = len(MAGIC)
        self.frame_count = 0
        self.chunk_count = 0

    def add_frame(
        self, check: int, stored_length: int, raw_length: int, lengths: Sequence[int], digests: bytes
    ) -> None:
        """Add the next frame: its header's values, and its chunks' lengths and digests in order."""
        size = self.size + HEADER_SIZE + stored_length
        chunks = self.chunk_count + len(lengths)
        if len(digests) != DIGEST_SIZE * len(lengths) or not lengths:
            raise InvalidInput(f"{len(lengths)} chunks have {len(digests)} bytes of digests")
        if size > MAX_PACK_SIZE or chunks > MAX_PACK_CHUNKS or self.frame_count == MAX_PACK_FRAMES:
            raise InvalidInput(f"a pack of {chunks} chunks and {size} bytes is more than a pack may hold")
        self._checksums.append(check)
        self._stored.append(stored_length)
        self._raw.append(raw_length)
        self._counts.append(len(lengths))
        self._digests.append(digests)
        self._lengths.extend(lengths)
        self.size, self.chunk_count = size, chunks
        self.frame_count += 1

    def footer(self) -> Footer:
        """Return the footer of the frames added."""
        numbers = (*self._stored, *self._raw, *self._counts)
        parts = (
            _HEAD.pack(_VERSION, self.frame_count, self.chunk_count, 0),
            struct.pack(f"<{self.frame_count}Q", *self._checksums),
            struct.pack(f"<{len(numbers)}I", *numbers),
            *self._digests,
            struct.pack(f"<{self.chunk_count}I", *self._lengths),
        )
        return Footer(b"".join(parts))

    def encode(self) -> tuple[bytes, bytes]:
        """Return the pack's id, and the footer and trailer that complete the object."""
        footer = self.footer()
        return footer.pack_id, footer.encode()


def memory_of(footer: Footer) -> int:
    """Return the approximate memory of a footer: its bytes, and the tables derived from them.

    0.1 MB for a pack of large files, 3 MB for one of tiny files.
    """
    return len(footer.raw) + 12 * footer.chunk_count + 40 * footer.frame_count


def parse_trailer(tail: Buffer, object_size: int) -> Trailer:
    """Return the trailer from the last bytes of a pack (at least 32).

    Raises:
        IntegrityError: not the end of a pack of this size.
        FormatTooNew: a trailer of another version.
    """
    view = memoryview(tail)
    if len(view) < TRAILER_SIZE or object_size < len(MAGIC) + TRAILER_SIZE:
        refuse_web_page(view, "the pack")
        raise IntegrityError(f"a pack of {object_size} bytes is truncated")
    stored, raw, check, frames, zero, magic = _TRAILER.unpack_from(view, len(view) - TRAILER_SIZE)
    if magic[:7] != TRAILER_MAGIC[:7]:
        refuse_web_page(view, "the pack")
    _expect_magic(magic, TRAILER_MAGIC, "trailer")
    smallest = _HEAD.size + frames * (_FRAME_COLUMNS + _CHUNK_COLUMNS)
    largest = _HEAD.size + frames * _FRAME_COLUMNS + MAX_PACK_CHUNKS * _CHUNK_COLUMNS
    if not (
        zero == 0
        and frames <= MAX_PACK_FRAMES
        and 0 < stored <= min(raw, object_size - len(MAGIC) - TRAILER_SIZE)
        and smallest <= raw <= largest
    ):
        raise IntegrityError("the pack's trailer has lengths out of range")
    return Trailer(stored, raw, check, frames)


def parse_footer(tail: Buffer, expect: bytes | None, object_size: int) -> Footer:
    """Return a pack's footer from the last bytes of its object.

    Args:
        tail: at least `parse_trailer(...).tail_size` bytes from the end.
        expect: the pack's id, which must be the footer's hash; None if unknown.
        object_size: bytes of the whole object, the sum of frames and footer.

    Raises:
        IntegrityError: damaged, truncated, or of another pack.
        FormatTooNew: written by a newer version.
    """
    view = memoryview(tail)
    trailer = parse_trailer(view, object_size)
    if len(view) < trailer.tail_size:
        raise IntegrityError(f"the footer takes {trailer.tail_size} bytes, but only {len(view)} were read")
    stored = view[len(view) - trailer.tail_size : len(view) - TRAILER_SIZE]
    if checksum(stored) != trailer.checksum:
        raise IntegrityError("the pack's footer does not match its checksum")
    if trailer.footer_raw == trailer.footer_stored:
        raw = bytes(stored)
    else:
        raw = decompress_exactly(stored, trailer.footer_raw, make_decompressor(), "the pack's footer")
    footer = Footer(raw)
    _expect_id(footer, expect)
    if footer.frame_count != trailer.frame_count:
        raise IntegrityError("the pack's trailer and footer disagree about the number of frames")
    if footer.frame_offsets[-1] + trailer.tail_size != object_size:
        raise IntegrityError(f"the footer's frames do not add up to the object's {object_size} bytes")
    return footer


def rebuild_footer(pack: Buffer, expect: bytes | None = None) -> Footer:
    """Return a pack's footer by walking its frames and hashing its chunks; the stored footer is not read.

    The walk ends at the first byte that does not begin an undamaged frame, usually the footer. The result is
    the original footer, bit for bit, if every frame is present; `expect` (the pack's id) verifies that.

    Raises:
        IntegrityError: not a pack, or frames are damaged or missing.
    """
    view = memoryview(pack)
    builder = FooterBuilder()
    check_magic(view)
    decompressor = make_decompressor()
    while builder.size < len(view):
        try:
            header, lengths, raw = frame_lengths(view, builder.size, decompressor)
        except IntegrityError:
            break
        end = builder.size + HEADER_SIZE + header.stored_length
        if end > MAX_PACK_SIZE or builder.chunk_count + len(lengths) > MAX_PACK_CHUNKS:
            raise IntegrityError("the object holds more than a pack may hold")
        digests = _digests(lengths, raw)
        builder.add_frame(header.checksum, header.stored_length, header.raw_length, lengths, digests)
    footer = builder.footer()
    _expect_id(footer, expect)
    return footer


def check_pack(pack: Buffer, expect: bytes, *, digests: bool = True) -> Footer:
    """Check a whole pack object and return its footer.

    Args:
        pack: the object's bytes.
        expect: the pack's id.
        digests: hash every chunk, too; otherwise only the checksums of the stored bytes are compared.

    Raises:
        IntegrityError: any byte differs from the original.
        FormatTooNew: written by a newer version.
    """
    view = memoryview(pack)
    footer = parse_footer(view, expect, len(view))
    check_magic(view)
    decompressor = make_decompressor() if digests else None
    for number in range(footer.frame_count):
        check_frame(footer, number, view, footer.frame_offsets[number], decompressor)
    return footer


def check_magic(pack: Buffer) -> None:
    """Check that a pack object's first bytes are those of a pack.

    Raises:
        IntegrityError: they do not match.
        FormatTooNew: written by a newer version.
    """
    _expect_magic(bytes(memoryview(pack)[: len(MAGIC)]), MAGIC, "magic number")


def check_frame(
    footer: Footer, number: int, data: memoryview, offset: int, decompressor: Decompressor | None
) -> memoryview | None:
    """Compare a frame with its pack's footer: checksum, header, and every chunk's length and digest.

    Args:
        footer: the pack's.
        number: of the frame.
        data: bytes of the pack that include the whole frame.
        offset: the frame's offset in `data`.
        decompressor: of the calling thread; without one, chunks are not checked.

    Returns:
        The chunks' bytes; None without a decompressor.

    Raises:
        IntegrityError: any byte differs from the original.
        FormatTooNew: written by a newer version.
    """
    data = data[: offset + footer.frame_stored[number]]
    if decompressor is None:
        lengths, raw = None, None
        header = next(iter_frames(data, offset))[1]
    else:
        header, lengths, raw = frame_lengths(data, offset, decompressor)
    if not footer.describes(number, footer.frame_offsets[number], header):
        raise IntegrityError(f"pack {footer.pack_id.hex()}: frame {number} is not the one in its footer")
    if lengths is None or raw is None:
        return None
    first, behind = footer.first_chunk[number : number + 2]
    same = _digests(lengths, raw) == footer.digests[32 * first : 32 * behind]
    if not same or lengths != footer.lengths[first:behind]:
        raise IntegrityError(
            f"pack {footer.pack_id.hex()}: frame {number} has other chunks than its footer lists"
        )
    return raw


def _counts(raw: bytes) -> tuple[int, int]:
    """Return a footer's numbers of frames and chunks, checked against its size."""
    if len(raw) < _HEAD.size:
        raise IntegrityError("the pack's footer is truncated")
    version, frames, chunks, zero = _HEAD.unpack_from(raw)
    if version > _VERSION:
        raise _too_new(f"footer version {version}")
    size = _HEAD.size + frames * _FRAME_COLUMNS + chunks * _CHUNK_COLUMNS
    if (
        version != _VERSION
        or zero
        or frames > MAX_PACK_FRAMES
        or chunks > MAX_PACK_CHUNKS
        or size != len(raw)
    ):
        raise IntegrityError("the pack's footer has counts out of range")
    return frames, chunks


def _columns(view: memoryview, frames: int, chunks: int) -> list[memoryview]:
    widths = (8 * frames, 4 * frames, 4 * frames, 4 * frames, DIGEST_SIZE * chunks, 4 * chunks)
    ends = list(accumulate(widths, initial=_HEAD.size))
    return [view[start:end] for start, end in pairwise(ends)]


def _digests(lengths: Sequence[int], raw: memoryview) -> bytes:
    return b"".join(digest(raw[start:end]) for start, end in pairwise(accumulate(lengths, initial=0)))


def _expect_id(footer: Footer, expect: bytes | None) -> None:
    if expect is not None and footer.pack_id != expect:
        raise IntegrityError(f"pack {expect.hex()} has the contents of pack {footer.pack_id.hex()}")


def _too_new(what: str) -> FormatTooNew:
    return FormatTooNew(
        f"the pack has {what}, which is unknown to this version", hint="install a newer dataver"
    )


def _expect_magic(found: bytes, magic: bytes, part: str) -> None:
    if found == magic:
        return
    if found[:7] == magic[:7] and found[7:] > magic[7:]:
        raise _too_new(f"{part} version {found[7]}")
    raise IntegrityError(f"the object's {part} is not that of a pack")
