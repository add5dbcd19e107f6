"""An external pack: a pack that is not stored, because the bytes of its files stay where they are.

The idea: it contains a pack's footer, and the objects outside the repository that contain the bytes of each
frame. A reader makes the frames from these objects, each frame a *piece* of one object, stored raw. So all
code that reads packs reads external ones, by the same extents. Every piece has its digest in the footer, so a
range of a large object is checked before it is returned (invariant 1).

    offset | size | field         | meaning
         0 |    8 | magic         | "DVEXTN" 00 01
         8 |    4 | head_stored   | bytes of the stored head
        12 |    4 | head_raw      | bytes of the head
        16 |    4 | footer_stored | bytes of the stored footer
        20 |    4 | footer_raw    | bytes of the footer proper, as of a pack
        24 |    8 | checksum      | XXH3-64 of bytes 0 to 23 and both stored parts
        32 |      | the head, then the footer; one zstd frame each that states its content size

The head is canonical JSON: `format`, `piece` (bytes of a piece), `place` (a URL) and `files`: ranges of
objects below that place, in the order of their pieces. The name is the hash of the length of the head, the
head and the footer proper. In memory a byte 1 precedes it, so that it never equals a pack's id.

Keeps invariants 1 and 7. Counts are bounded by the size of the input. `dataver.repository.external_trust`
decides whether a place may be read.
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NamedTuple

from dataver.errors import FormatTooNew, IntegrityError, InvalidInput
from dataver.formats.canonical_json import MAX_JSON, Fields, decode_json, encode_checked
from dataver.formats.compression import decompress_exactly, make_compressor, make_decompressor
from dataver.formats.entry import external_id
from dataver.formats.frame import HEADER_SIZE, MAX_RAW, encode_frame
from dataver.formats.pack import MAX_PACK_SIZE, Footer, FooterBuilder
from dataver.hashing.digest import CONTEXT_EXTERNAL, DIGEST_SIZE, checksum, derived, digest
from dataver.web_page import refuse_web_page

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from typing_extensions import Buffer

    from dataver.formats.entry import Extent

__all__ = [
    "FULL",
    "MAX_EXTERNAL",
    "PIECE",
    "ExternalBuilder",
    "ExternalPack",
    "ExternalPiece",
    "ExternalSource",
    "PieceRun",
    "check_place",
    "parse_external",
    "piece_of",
    "uri_of",
]

MAGIC: Final = b"DVEXTN\x00\x01"
FORMAT: Final = 1
PIECE: Final = 1 << 20
"""Bytes of a piece: the smallest range of a large object that can be verified."""

MAX_SOURCES: Final = 4096
MAX_FRAMES: Final = 8192
_LEAST_PIECE: Final = 4096
FULL: Final = 64 << 20  # bytes of frames at which a writer ends an external pack
_HEAD_ROOM: Final = 512 << 10  # bytes of the head at which a writer ends it
_LEVEL: Final = 3

_HEAD: Final = struct.Struct("<8sIIII")
_CHECK: Final = struct.Struct("<Q")
_HEADER_SIZE: Final = _HEAD.size + _CHECK.size
_FOOTER_HEAD: Final = 16
_FRAME_ROW: Final = 8 + 4 + 4 + 4 + DIGEST_SIZE + 4
MAX_EXTERNAL: Final = 2 << 20  # bytes of the object: its head is at most 1 MiB, its footer 0.5 MiB

_PLACE: Final = re.compile(
    r"(?:file:///|(?:s3|gs|abfss?|az|oss|sftp|https?)://(?!/|[^/]*:[^/]*@))[^?#\\\x00-\x1f\x7f-\x9f]+"
)
_UPGRADE: Final = "install a newer dataver"


class ExternalSource(NamedTuple):
    """A range of an object outside the repository, and the object's state when it was recorded.

    Attributes:
        key: the object's key below the place.
        size: bytes of the object.
        start: the first byte of the range.
        length: bytes of the range.
        etag: its entity tag, as the store writes it; None if the store has none.
        version: its version id; None if the store keeps no versions.
        modified: time of writing, in the form of `canonical_json.format_time`; None if the store does not
            report it.
    """

    key: str
    size: int
    start: int
    length: int
    etag: str | None = None
    version: str | None = None
    modified: str | None = None


class ExternalPiece(NamedTuple):
    """The recorded attributes of a piece: its length, its digest, and the checksum of its frame."""

    length: int
    digest: bytes
    check: int


class PieceRun(NamedTuple):
    """Adjacent frames whose pieces are adjacent in one object.

    Attributes:
        source: the range of the object that they belong to.
        start: the offset of the first byte in the object.
        length: number of bytes in the object.
        first: number of the first frame.
        behind: number of the frame after the last.
    """

    source: ExternalSource
    start: int
    length: int
    first: int
    behind: int


class ExternalPack:
    """One external pack.

    Attributes:
        id: its id, 33 bytes.
        place: the URL below which the keys of its sources are.
        sources: in the order of their frames.
        footer: the footer, as of a pack; `pack_id` is this one's.
    """

    __slots__ = ("_firsts", "footer", "id", "place", "sources")

    def __init__(
        self, name: bytes, place: str, sources: Sequence[ExternalSource], piece: int, footer: Footer
    ) -> None:
        self.id = name
        self.place = place
        self.sources = sources
        self.footer = footer
        footer.pack_id = name
        self._firsts = list(accumulate((-(-source.length // piece) for source in sources), initial=0))
        self._check(piece)

    def runs(self, first: int, behind: int) -> Iterator[PieceRun]:
        """Yield the ranges of objects that the frames `first` to `behind` (exclusive) are made of."""
        starts = self.footer.raw_starts
        while first < behind:
            number = bisect_right(self._firsts, first) - 1
            source = self.sources[number]
            until = min(behind, self._firsts[number + 1])
            begin = source.start + starts[first] - starts[self._firsts[number]]
            yield PieceRun(source, begin, starts[until] - starts[first], first, until)
            first = until

    def frames_of(self, extent: Extent) -> tuple[int, int]:
        """Return the numbers of an extent's first frame and of the frame after its last.

        Raises:
            IntegrityError: the extent does not match the frames.
        """
        footer = self.footer
        first = footer.frame_at(extent.offset)
        behind = bisect_right(footer.frame_offsets, extent.offset + extent.stored - 1)
        if (
            behind > footer.frame_count
            or footer.frame_offsets[behind] != extent.offset + extent.stored
            or footer.raw_starts[first] + extent.skip + extent.length > footer.raw_starts[behind]
        ):
            raise IntegrityError(f"an extent does not fit the external pack {self.id[1:].hex()} it names")
        return first, behind

    def uri(self, source: ExternalSource) -> str:
        """Return an object's location, for display."""
        return uri_of(self.place, source.key)

    def _check(self, piece: int) -> None:
        """Compare the frames with the object ranges that they are made of."""
        footer = self.footer
        if footer.frame_count != self._firsts[-1] or footer.chunk_count != footer.frame_count:
            raise IntegrityError("its footer's frames do not match its files' pieces")
        for source, first, behind in zip(self.sources, self._firsts, self._firsts[1:], strict=False):
            last = source.length - (behind - first - 1) * piece
            if any(footer.lengths[n] != piece for n in range(first, behind - 1)) or (
                footer.lengths[behind - 1] != last
            ):
                raise IntegrityError("its footer's frames do not match its files' pieces")
        if any(
            stored != raw + HEADER_SIZE + 4
            for stored, raw in zip(footer.frame_stored, footer.frame_raw, strict=True)
        ):
            raise IntegrityError("its footer lists frames that are not stored raw")


class ExternalBuilder:
    """Collects ranges of objects below one place until an external pack is full."""

    def __init__(self, place: str) -> None:
        self._place = check_place(place)
        self._sources: list[ExternalSource] = []
        self._footer = FooterBuilder()
        self._head_size = 0

    @property
    def empty(self) -> bool:
        """Whether no range was added yet."""
        return not self._sources

    @property
    def full(self) -> bool:
        """Whether the next range should go into another pack."""
        return (
            self._footer.size >= FULL
            or self._head_size >= _HEAD_ROOM
            or len(self._sources) >= MAX_SOURCES
            or self._footer.frame_count >= MAX_FRAMES // 2
        )

    def append(self, source: ExternalSource, pieces: Sequence[ExternalPiece]) -> tuple[int, int, int]:
        """Add as many pieces of a range as fit.

        Args:
            source: the range; its `length` is the total of the pieces.
            pieces: of `PIECE` bytes each, except the object's last.

        Returns:
            The number of pieces added, the offset of their frames in the pack, and the frames' bytes.
        """
        begin = self._footer.size
        count = length = 0
        for piece in pieces:
            if count and (self._footer.size >= FULL or self._footer.frame_count >= MAX_FRAMES):
                break
            self._footer.add_frame(piece.check, piece.length + 4, piece.length, [piece.length], piece.digest)
            count += 1
            length += piece.length
        self._sources.append(source._replace(length=length))
        self._head_size += (
            160 + 6 * len(source.key) + len(source.etag or "") + len(source.version or "")
        )  # at most
        return count, begin, self._footer.size - begin

    def encode(self) -> tuple[bytes, bytes]:
        """Return the id (33 bytes) and the object.

        Raises:
            InvalidInput: a key or an entity tag that readers would reject.
        """
        values = {
            "files": [source._asdict() for source in self._sources],
            "format": FORMAT,
            "piece": PIECE,
            "place": self._place,
        }
        head = encode_checked(values, "an external pack", _head_of, summed=False)
        footer = self._footer.footer().raw
        compress = make_compressor(_LEVEL)
        stored = (compress(head), compress(footer))
        front = _HEAD.pack(MAGIC, len(stored[0]), len(head), len(stored[1]), len(footer))
        data = b"".join((front, _CHECK.pack(checksum(front, *stored)), *stored))
        return _name(head, footer), data


def piece_of(data: Buffer) -> ExternalPiece:
    """Return the recorded attributes of a piece."""
    size = memoryview(data).nbytes
    header, _ = encode_frame(data, [size], None)
    return ExternalPiece(size, digest(data), int.from_bytes(header[16:24], "little"))


def uri_of(place: str, key: str) -> str:
    """Return the location of an object below a place, for display."""
    return f"{place.rstrip('/')}/{key}"


def check_place(place: str) -> str:
    """Return `place` if it is valid: the URL of a folder or a store, without secrets, options or chains.

    Raises:
        InvalidInput: it is not.
    """
    if not _PLACE.fullmatch(place) or len(place) > 2048 or "::" in place:
        raise InvalidInput(
            f"{place[:200]!r} is not a valid place of external files.", hint="write s3://bucket/prefix"
        )
    return place


def parse_external(data: bytes, expect: bytes) -> ExternalPack:
    """Return the external pack in an object.

    Args:
        data: the object.
        expect: the id that it must have, 33 bytes.

    Raises:
        IntegrityError: the object is damaged or another external pack.
        FormatTooNew: written by a newer dataver.
    """
    try:
        return _parse(data, expect)
    except (IntegrityError, FormatTooNew) as error:
        what = f"external pack {expect[1:].hex()} is unusable: {error.message.rstrip('.')}."
        raise type(error)(what, hint=error.hint) from error


def _parse(data: bytes, expect: bytes) -> ExternalPack:
    if len(data) < _HEADER_SIZE:
        refuse_web_page(data, "it")
        raise IntegrityError("it is truncated")
    magic, head_stored, head_raw, footer_stored, footer_raw = _HEAD.unpack_from(data)
    if magic != MAGIC:
        if magic[:7] == MAGIC[:7] and magic[7] > MAGIC[7]:
            raise FormatTooNew(f"it has format {magic[7]}, and this dataver reads {MAGIC[7]}", hint=_UPGRADE)
        refuse_web_page(data, "it")
        raise IntegrityError("it does not begin with the header of an external pack")
    if len(data) != _HEADER_SIZE + head_stored + footer_stored:
        raise IntegrityError("it is truncated, or has extra bytes")
    if head_raw > MAX_JSON or not _FOOTER_HEAD <= footer_raw <= _FOOTER_HEAD + MAX_FRAMES * _FRAME_ROW:
        raise IntegrityError("its header has a size out of range")
    body = memoryview(data)[_HEADER_SIZE:]
    if checksum(data[: _HEAD.size], body) != _CHECK.unpack_from(data, _HEAD.size)[0]:
        raise IntegrityError("its bytes do not match its checksum")
    decompressor = make_decompressor()
    head = decompress_exactly(body[:head_stored], head_raw, decompressor, "its head")
    footer = decompress_exactly(body[head_stored:], footer_raw, decompressor, "its footer")
    if _name(head, footer) != expect:
        raise IntegrityError("it has the content of another external pack")
    place, piece, sources = _head_of(Fields(decode_json(head, "its head"), "its head"))
    return ExternalPack(expect, place, sources, piece, Footer(footer))


def _name(head: bytes, footer: bytes) -> bytes:
    return external_id(derived(CONTEXT_EXTERNAL, len(head).to_bytes(8, "little") + head + footer))


def _head_of(fields: Fields) -> tuple[str, int, list[ExternalSource]]:
    fields.expect_format(FORMAT)
    piece = fields.number("piece", least=_LEAST_PIECE)
    if piece > MAX_RAW:
        raise IntegrityError(f"{fields.what}: a piece has {piece} bytes; the limit is {MAX_RAW}")
    try:
        place = check_place(fields.text("place"))
    except InvalidInput as error:
        raise IntegrityError(f"{fields.what}: {error.message}") from error
    sources = [_source(each) for each in fields.tables("files", most=MAX_SOURCES)]
    if not sources or sum(source.length for source in sources) > MAX_PACK_SIZE:
        raise IntegrityError(f"{fields.what} lists no files, or more bytes than a pack may hold")
    return place, piece, sources


def _source(fields: Fields) -> ExternalSource:
    key = fields.text("key")
    if not _is_key(key):
        raise IntegrityError(f"{fields.what}: {key[:80]!r} is not a valid key")
    size, start = fields.number("size", least=1), fields.number("start")
    length = fields.number("length", least=1)
    if start + length > size:
        raise IntegrityError(f"{fields.what}: {key[:80]!r} has bytes after its end")
    etag, version = _word(fields, "etag", 256), _word(fields, "version", 1024)
    modified = None
    if not fields.is_null("modified"):
        fields.time("modified")
        modified = fields.text("modified")
    return ExternalSource(key, size, start, length, etag, version, modified)


def _word(fields: Fields, name: str, most: int) -> str | None:
    text = fields.optional_text(name)
    if text is not None and not (0 < len(text) <= most and text.isascii() and text.isprintable()):
        raise IntegrityError(f"{fields.what}: {name!r} is not text that a header can hold")
    return text


def _is_key(key: str) -> bool:
    """Return whether every kind of store can hold the key, as `dataver.storage.base.check_key` does."""
    return (
        all(part not in ("", ".", "..") for part in key.split("/"))
        and "\\" not in key
        and not any(ord(each) < 32 or ord(each) == 127 for each in key)
        and len(key.encode("utf-8", "surrogatepass")) <= 1024
    )
