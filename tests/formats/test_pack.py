"""Packs: footers that authenticate, can be lost, and are not believed."""

import struct
import tracemalloc
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataver.errors import FormatTooNew, IntegrityError, InvalidInput
from dataver.formats.compression import make_compressor, make_decompressor
from dataver.formats.frame import decode_frame, encode_frame, parse_header
from dataver.formats.pack import (
    MAGIC,
    MAX_PACK_CHUNKS,
    TRAILER_SIZE,
    Footer,
    FooterBuilder,
    check_pack,
    parse_footer,
    parse_trailer,
    rebuild_footer,
)
from dataver.hashing import CONTEXT_PACK, checksum, derived, digest
from properties import examples

CHUNK = st.one_of(st.binary(min_size=1, max_size=60), st.integers(1, 90).map(lambda n: b"pattern " * n))
FRAMES = st.lists(st.lists(CHUNK, min_size=1, max_size=6), min_size=1, max_size=6)
SAMPLE = [[b"first chunk", b"2nd"], [b"words " * 40], [digest(b"noise") * 2, b"x", b"end"]]


def pack(frames: list[list[bytes]]) -> tuple[bytes, bytes]:
    """Return the id and the object of a pack of these chunks."""
    builder, parts = FooterBuilder(), [MAGIC]
    for chunks in frames:
        lengths = [len(chunk) for chunk in chunks]
        header, stored = encode_frame(b"".join(chunks), lengths, make_compressor())
        parsed = parse_header(header)
        digests = b"".join(map(digest, chunks))
        builder.add_frame(parsed.checksum, parsed.stored_length, parsed.raw_length, lengths, digests)
        parts += [header, stored]
        assert builder.size == sum(map(len, parts))
    pack_id, tail = builder.encode()
    return pack_id, b"".join(parts) + tail


def with_footer(raw: bytes, frames: bytes = b"") -> bytes:
    """Return an object with this footer proper, its checksums right, whatever it claims."""
    count = struct.unpack_from("<I", raw, 4)[0] if len(raw) >= 8 else 0
    return (
        MAGIC
        + frames
        + raw
        + struct.pack("<IIQII8s", len(raw), len(raw), checksum(raw), count, 0, b"DVFOOT\x00\x01")
    )


@given(FRAMES)
def test_a_footer_says_what_is_in_the_pack(frames: list[list[bytes]]) -> None:
    """Every chunk is found where the footer says, with its digest, and every frame by its offset."""
    pack_id, data = pack(frames)
    footer = parse_footer(data, pack_id, len(data))
    chunks = [chunk for frame in frames for chunk in frame]
    assert (footer.frame_count, footer.chunk_count) == (len(frames), len(chunks))
    for number, chunk in enumerate(chunks):
        frame, skip, length = footer.locate(number)
        offset = footer.frame_offsets[frame]
        raw, end = decode_frame(memoryview(data), offset, make_decompressor())
        assert raw[skip : skip + length] == chunk
        assert footer.chunk_digest(number) == digest(chunk)
        assert footer.frame_at(offset) == frame
        assert end - offset == footer.frame_stored[frame]
        assert len(raw) == footer.frame_raw[frame]
        assert (
            footer.chunk_starts[number] == sum(map(len, chunks[:number])) == footer.raw_starts[frame] + skip
        )
    assert list(footer.raw_starts) == list(accumulate((sum(map(len, frame)) for frame in frames), initial=0))


@given(FRAMES)
def test_a_lost_footer_is_rebuilt_bit_for_bit(frames: list[list[bytes]]) -> None:
    """Walking the frames gives the same footer, whether the old one is still there or not."""
    pack_id, data = pack(frames)
    footer = parse_footer(data, pack_id, len(data))
    frames_end = footer.frame_offsets[-1]
    assert rebuild_footer(data, pack_id).encode() == data[frames_end:]
    assert rebuild_footer(data[:frames_end], pack_id).raw == footer.raw
    assert rebuild_footer(data[: frames_end + 5], pack_id).pack_id == pack_id


@given(FRAMES)
def test_reading_takes_the_tail_only(frames: list[list[bytes]]) -> None:
    """The last 32 bytes say how much to read; that much is enough, a byte less is not."""
    pack_id, data = pack(frames)
    size = parse_trailer(data[-TRAILER_SIZE:], len(data)).tail_size
    assert parse_footer(data[-size:], pack_id, len(data)).pack_id == pack_id
    with pytest.raises(IntegrityError):
        parse_footer(data[1 - size :], pack_id, len(data))


def test_every_flipped_bit_of_a_pack_is_noticed() -> None:
    """No single bit of a pack can change unseen (invariant 1), with and without hashing chunks."""
    pack_id, data = pack(SAMPLE)
    for bit in range(8 * len(data)):
        bad = bytearray(data)
        bad[bit // 8] ^= 1 << bit % 8
        for digests in (False, True):
            with pytest.raises((IntegrityError, FormatTooNew)):
                check_pack(bad, pack_id, digests=digests)


def test_every_truncation_of_a_pack_is_noticed() -> None:
    """Any prefix and any suffix of a pack is refused."""
    pack_id, data = pack(SAMPLE)
    assert check_pack(data, pack_id).chunk_count == 6
    for size in range(len(data)):
        for bad in (data[:size], data[len(data) - size :], data + bytes(size + 1)):
            with pytest.raises((IntegrityError, FormatTooNew)):
                check_pack(bad, pack_id)


def test_damaged_frames_are_not_rebuilt_over() -> None:
    """A rebuilt footer of a pack with a damaged frame does not pass for the original."""
    pack_id, data = pack(SAMPLE)
    bad = bytearray(data)
    bad[parse_footer(data, pack_id, len(data)).frame_offsets[1] + 30] ^= 1
    with pytest.raises(IntegrityError):
        rebuild_footer(bad, pack_id)
    assert rebuild_footer(bad).frame_count == 1


def test_another_pack_is_noticed() -> None:
    """A sound pack under the wrong name is refused."""
    _, data = pack(SAMPLE)
    other, _ = pack(SAMPLE[:1])
    with pytest.raises(IntegrityError, match="contents of pack"):
        parse_footer(data, other, len(data))


@given(st.binary(max_size=300))
def test_random_bytes_are_refused(data: bytes) -> None:
    """Nothing but our two errors comes of bytes that are no pack, even behind right magics and checksums."""
    for bad in (data, MAGIC + data, data + b"DVFOOT\x00\x01", with_footer(data)):
        with pytest.raises((IntegrityError, FormatTooNew)):
            check_pack(bad, bytes(32))
        with pytest.raises((IntegrityError, FormatTooNew)):
            rebuild_footer(bad, bytes(32))
        with pytest.raises((IntegrityError, FormatTooNew)):
            parse_footer(bad, bytes(32), len(bad))


@settings(max_examples=examples(200))
@given(st.data())
def test_footers_that_do_not_fit_together_are_refused(data: st.DataObject) -> None:
    """A footer with any number changed either is refused or says something consistent."""
    pack_id, object_ = pack(SAMPLE)
    raw = bytearray(parse_footer(object_, pack_id, len(object_)).raw)
    place = data.draw(st.integers(0, len(raw) // 4 - 1)) * 4
    raw[place : place + 4] = data.draw(st.integers(0, 0xFFFFFFFF)).to_bytes(4, "little")
    try:
        footer = Footer(bytes(raw))
    except (IntegrityError, FormatTooNew):
        return
    assert footer.raw_starts[-1] == sum(footer.lengths) == sum(footer.frame_raw)
    assert footer.first_chunk[-1] == footer.chunk_count == 6
    for number in range(footer.chunk_count):
        frame, skip, length = footer.locate(number)
        assert 0 <= skip <= skip + length <= footer.frame_raw[frame]


def test_hostile_counts_allocate_nothing() -> None:
    """Counts and lengths that no object bears out are refused before memory is taken for them."""
    head = struct.pack("<IIII", 1, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    bombs = [with_footer(head), with_footer(struct.pack("<IIII", 1, 1 << 20, 1 << 20, 0))]
    packed = make_compressor()(bytes(64 << 20))
    bombs += [
        MAGIC + packed + struct.pack("<IIQII8s", len(packed), raw, checksum(packed), 9, 0, b"DVFOOT\x00\x01")
        for raw in (0xFFFFFFFF, 37_000_000, 1000)
    ]
    tracemalloc.start()
    try:
        for bomb in bombs:
            with pytest.raises(IntegrityError):
                parse_footer(bomb, None, len(bomb))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_newer_versions_are_refused_by_number() -> None:
    """A later magic or footer version says so instead of looking like damage."""
    pack_id, data = pack(SAMPLE)
    with pytest.raises(FormatTooNew, match="trailer version 2"):
        parse_footer(data[:-1] + b"\x02", pack_id, len(data))
    with pytest.raises(FormatTooNew, match="magic number version 2"):
        rebuild_footer(data[:7] + b"\x02" + data[8:])
    newer = with_footer(struct.pack("<IIII", 2, 0, 0, 0))
    with pytest.raises(FormatTooNew, match="footer version 2"):
        parse_footer(newer, None, len(newer))


def test_the_bytes_of_a_footer_are_pinned() -> None:
    """A footer written by hand from docs/format.md is the one that comes out."""
    pack_id, data = pack([[b"ab", b"c"]])
    frame_check = data[24:32]
    raw = (
        struct.pack("<IIII", 1, 1, 2, 0)
        + frame_check
        + struct.pack("<III", 11, 3, 2)
        + digest(b"ab")
        + digest(b"c")
        + struct.pack("<II", 2, 1)
    )
    assert pack_id == derived(CONTEXT_PACK, raw)
    assert data == with_footer(raw, data[8 : 8 + 24 + 11])


def test_a_frame_that_is_none_is_refused_by_place() -> None:
    """An extent that does not begin at a frame of its pack is damage."""
    pack_id, data = pack(SAMPLE)
    footer = parse_footer(data, pack_id, len(data))
    for offset in (0, 9, footer.frame_offsets[-1], 1 << 40):
        with pytest.raises(IntegrityError, match="no frame at byte"):
            footer.frame_at(offset)


def test_a_builder_refuses_what_a_pack_cannot_hold() -> None:
    """Bad values of a caller are InvalidInput, and the builder stays as it was."""
    builder = FooterBuilder()
    for stored, lengths, digests in ((1, [], b""), (1, [1], b"short"), (100_000_000, [1], bytes(32))):
        with pytest.raises(InvalidInput):
            builder.add_frame(0, stored, sum(lengths), lengths, digests)
    many = [1] * 65535
    for _ in range(MAX_PACK_CHUNKS // 65535):
        builder.add_frame(0, 1, 65535, many, bytes(32 * 65535))
    before = builder.chunk_count
    with pytest.raises(InvalidInput, match="more than a pack may hold"):
        builder.add_frame(0, 1, 65535, many, bytes(32 * 65535))
    assert builder.chunk_count == before
