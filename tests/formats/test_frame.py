"""Frames: what goes in comes out, and hostile bytes get nowhere."""

import tracemalloc

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from dataver.errors import FormatTooNew, IntegrityError, InvalidInput
from dataver.formats.compression import decompress_exactly, make_compressor, make_decompressor
from dataver.formats.frame import (
    CODEC_RAW,
    CODEC_ZSTD,
    HEADER_SIZE,
    MAX_CHUNKS,
    MAX_RAW,
    decode_frame,
    decode_frames,
    encode_frame,
    frame_lengths,
    iter_frames,
    parse_header,
)
from dataver.hashing import checksum, digest

CHUNKS = st.lists(st.binary(min_size=1, max_size=400), min_size=1, max_size=12)


def frame(chunks: list[bytes], *, compress: bool = True) -> bytes:
    """Return a whole frame of these chunks."""
    lengths = [len(chunk) for chunk in chunks]
    return b"".join(encode_frame(b"".join(chunks), lengths, make_compressor() if compress else None))


def header(codec: int, count: int, stored: int, raw: int, zero: int = 0, body: bytes = b"") -> bytes:
    """Return a header with a right checksum, whatever else it claims."""
    covered = b"".join(
        (
            codec.to_bytes(2, "little"),
            count.to_bytes(2, "little"),
            *(n.to_bytes(4, "little") for n in (stored, raw, zero)),
        )
    )
    return covered + checksum(covered, body).to_bytes(8, "little") + body


@given(CHUNKS, st.booleans(), st.integers(0, 30))
def test_chunks_survive_a_frame(chunks: list[bytes], compress: bool, before: int) -> None:
    """Encoding and decoding gives the chunks back, wherever the frame lies in a buffer."""
    buffer = memoryview(bytes(before) + frame(chunks, compress=compress) + b"behind")
    raw, end = decode_frame(buffer, before, make_decompressor())
    _, lengths, again = frame_lengths(buffer, before, make_decompressor())
    assert raw == b"".join(chunks) == again
    assert buffer[end:] == b"behind"
    assert list(lengths) == [len(chunk) for chunk in chunks]


def test_bytes_of_a_frame_are_pinned() -> None:
    """A raw frame's bytes, one by one: the table in docs/format.md."""
    assert frame([b"ab", b"c"], compress=False).hex() == (
        "00000200" + "0b000000" + "03000000" + "00000000" + "75bf8423761253a0" + "616263" + "0200000001000000"
    )


def test_noise_is_stored_raw_and_text_is_not() -> None:
    """Compression is used only where it saves 2 % or more."""
    noise = b"".join(digest(bytes([number])) for number in range(200))
    assert parse_header(frame([noise])).codec == CODEC_RAW
    assert parse_header(frame([b"the same words " * 400])).codec == CODEC_ZSTD


@given(st.lists(CHUNKS, max_size=4))
def test_adjacent_frames_are_walked(groups: list[list[bytes]]) -> None:
    """A run of frames, as an extent names it, decodes frame by frame."""
    buffer = memoryview(b"".join(map(frame, groups)))
    assert [bytes(raw) for raw in decode_frames(buffer, make_decompressor())] == [
        b"".join(group) for group in groups
    ]
    walked = list(iter_frames(buffer))
    assert [head.chunk_count for _, head in walked] == [len(group) for group in groups]
    assert [offset for offset, _ in walked] == [
        sum(map(len, map(frame, groups[:n]))) for n in range(len(groups))
    ]


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data: bytes) -> None:
    """Nothing but our two errors comes of bytes that are no frame."""
    with pytest.raises((IntegrityError, FormatTooNew)):
        decode_frame(memoryview(data), 0, make_decompressor())
    with pytest.raises((IntegrityError, FormatTooNew)):
        frame_lengths(memoryview(data), 0, make_decompressor())


@given(
    st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), *[st.integers(0, 0xFFFFFFFF)] * 2, st.binary(max_size=100)
)
def test_headers_with_right_checksums_are_not_trusted(
    codec: int, count: int, stored: int, raw: int, body: bytes
) -> None:
    """A hostile writer can compute checksums: lengths that do not fit are refused all the same."""
    for claimed in (stored, len(body)):
        data = memoryview(header(codec, count, claimed, raw, body=body))
        try:
            decoded, _ = decode_frame(data, 0, make_decompressor())
        except (IntegrityError, FormatTooNew):
            continue
        assert len(decoded) == raw <= len(body)


@given(CHUNKS, st.booleans(), st.data())
def test_every_flipped_bit_and_every_cut_is_noticed(
    chunks: list[bytes], compress: bool, data: st.DataObject
) -> None:
    """A frame that is not whole and exact is refused (invariant 1)."""
    good = frame(chunks, compress=compress)
    bit = data.draw(st.integers(0, 8 * len(good) - 1))
    flipped = bytearray(good)
    flipped[bit // 8] ^= 1 << bit % 8
    cut = good[: data.draw(st.integers(0, len(good) - 1))]
    for bad in (bytes(flipped), cut):
        with pytest.raises((IntegrityError, FormatTooNew)):
            decode_frame(memoryview(bad), 0, make_decompressor())


def test_an_unknown_codec_is_refused_by_number() -> None:
    """A sound frame of a later version says what it needs; a damaged one is damage."""
    sound = header(7, 1, 3, 10, body=b"abc")
    with pytest.raises(FormatTooNew, match="codec 7"):
        decode_frame(memoryview(sound), 0, make_decompressor())
    with pytest.raises(FormatTooNew, match="codec 7"):
        parse_header(sound)
    with pytest.raises(IntegrityError, match="checksum"):
        decode_frame(memoryview(sound[:-1] + b"x"), 0, make_decompressor())
    assert [head.codec for _, head in iter_frames(sound)] == [7]


def test_a_bomb_allocates_nothing() -> None:
    """A zstd frame that claims or holds more than the header says is refused before it is decompressed."""
    bomb = make_compressor()(bytes(200 << 20))
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1 << 20))
    tracemalloc.start()
    try:
        for body in (bomb, unsized):
            with pytest.raises(IntegrityError):
                decode_frame(memoryview(header(1, 1, len(body), 1 << 20, body=body)), 0, make_decompressor())
        with pytest.raises(IntegrityError):
            parse_header(header(1, 1, 100, MAX_RAW + 1))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_table_that_does_not_add_up_is_refused() -> None:
    """Chunk lengths must sum to the frame's bytes, and none may be zero."""
    for table in ((5, 6), (0, 10), (11, 0xFFFFFFFF)):
        body = bytes(10) + b"".join(length.to_bytes(4, "little") for length in table)
        with pytest.raises(IntegrityError, match="add up"):
            frame_lengths(memoryview(header(0, 2, len(body), 10, body=body)), 0, make_decompressor())


def test_what_no_frame_can_hold_is_refused() -> None:
    """Bad values of a caller are InvalidInput, before anything is encoded."""
    for data, lengths in (
        (b"", []),
        (b"ab", [2, 0]),
        (b"abc", [2]),
        (bytes(MAX_CHUNKS + 1), [1] * (MAX_CHUNKS + 1)),
    ):
        with pytest.raises(InvalidInput):
            encode_frame(data, lengths, None)
    with pytest.raises(InvalidInput):
        encode_frame(b"", [MAX_RAW + 1], None)


def test_a_raw_frame_is_not_copied() -> None:
    """Decoding a raw frame gives a view into the buffer."""
    buffer = memoryview(frame([b"abc"], compress=False))
    raw, end = decode_frame(buffer, 0, make_decompressor())
    assert raw.obj is buffer.obj
    assert end == len(buffer) == HEADER_SIZE + 3 + 4


def test_a_dictionary_is_needed_again() -> None:
    """What was compressed against other bytes is read back with them, and refused without."""
    base = b"".join(digest(bytes([number])) for number in range(100))
    stored = make_compressor(3, dictionary=base)(base + b"!")
    assert len(stored) < 60
    assert decompress_exactly(stored, len(base) + 1, make_decompressor(dictionary=base), "it") == base + b"!"
    with pytest.raises(IntegrityError):
        decompress_exactly(stored, len(base) + 1, make_decompressor(), "it")
