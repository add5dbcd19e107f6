"""Grouped frames: every byte comes back, damage is found, and planes are not trusted."""

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataver.errors import FormatTooNew, IntegrityError
from dataver.formats.byte_shuffle import STRIDES, group, has_noise, ungroup
from dataver.formats.compression import make_compressor, make_decompressor, make_plane_compressor
from dataver.formats.frame import decode_frame, encode_frame, frame_lengths, parse_header
from dataver.formats.pack import MAGIC, FooterBuilder, check_pack, rebuild_footer
from dataver.hashing import checksum, digest


def floats(count: int, seed: int = 1, letter: str = "f") -> bytes:
    """Return weights as a network's are spread."""
    rng = random.Random(seed)
    return struct.pack(f"<{count}{letter}", *(rng.gauss(0, 0.02) for _ in range(count)))


def grouped(data: bytes, stride: int) -> bytes:
    """Return a whole frame of one chunk, its bytes grouped."""
    return b"".join(encode_frame(data, [len(data)], make_plane_compressor(), stride=stride))


@given(
    st.binary(min_size=1, max_size=3000)
    | st.builds(bytes.__mul__, st.binary(min_size=1, max_size=30), st.just(200)),
    st.sampled_from(STRIDES),
    st.sampled_from((1, 12)),
)
def test_any_bytes_survive_grouping(data: bytes, stride: int, level: int) -> None:
    """Whatever the length and whatever the bytes, they come back."""
    stored = group(bytearray(data), stride, make_plane_compressor(level))
    assert ungroup(memoryview(stored), stride, len(data), make_decompressor(), "it") == data


@given(st.integers(1, 4000), st.integers(0, 7), st.sampled_from(STRIDES))
def test_chunks_survive_a_grouped_frame(count: int, cut: int, stride: int) -> None:
    """A frame of numbers is read back with its table, at whichever byte of a number it begins."""
    data = floats(count)[min(cut, 3) :]
    lengths = [1, *([len(data) - 1] if len(data) > 1 else [])]
    frame = memoryview(b"".join(encode_frame(data, lengths, make_plane_compressor(), stride=stride)))
    assert decode_frame(frame, 0, make_decompressor()) == (data, len(frame))
    assert list(frame_lengths(frame, 0, make_decompressor())[1]) == lengths


def test_numbers_become_smaller_and_noise_stays_raw() -> None:
    """Grouping saves what it was made for, and is not used where it saves nothing."""
    data = floats(30_000)
    plain = len(encode_frame(data, [len(data)], make_compressor())[1])
    for stride, share in ((2, 0.98), (4, 0.92), (8, 0.92)):
        frame = grouped(data, stride)
        assert parse_header(frame).codec == stride
        assert len(frame) < share * plain
        assert has_noise(frame[24:], stride, len(data))
    noise = b"".join(digest(bytes([number])) for number in range(250))
    assert parse_header(grouped(noise, 4)).codec == 0
    words = b"the same words again " * 3000
    assert not has_noise(grouped(words, 4)[24:], 4, len(words))


def test_bytes_of_a_grouped_frame_are_pinned() -> None:
    """Twenty bytes by hand: the tables in docs/format.md."""
    data = bytes(range(10)) + bytes(290)
    frame = grouped(data, 2)
    lengths = struct.unpack_from("<2I", frame, 24)
    assert (
        frame[:16].hex() == "02000100" + struct.pack("<I", 8 + sum(lengths)).hex() + "2c010000" + "00000000"
    )
    planes = [frame[32 : 32 + lengths[0]], frame[32 + lengths[0] :]]
    payload = data + struct.pack("<I", 300)
    for first, plane in enumerate(planes):
        assert plane[:4].hex() == "28b52ffd"  # a zstd frame's magic number
        assert make_decompressor().decompress(plane, allow_extra_data=False) == payload[first::2]


@given(st.sampled_from(STRIDES), st.data())
def test_every_flipped_bit_and_every_cut_of_a_grouped_frame_is_noticed(
    stride: int, draw: st.DataObject
) -> None:
    """A grouped frame that is not whole and exact is refused (invariant 1)."""
    good = grouped(floats(200), stride)
    bit = draw.draw(st.integers(0, 8 * len(good) - 1))
    flipped = bytearray(good)
    flipped[bit // 8] ^= 1 << bit % 8
    for bad in (bytes(flipped), good[: draw.draw(st.integers(0, len(good) - 1))]):
        with pytest.raises((IntegrityError, FormatTooNew)):
            decode_frame(memoryview(bad), 0, make_decompressor())


@given(st.sampled_from(STRIDES), st.lists(st.integers(0, 40), min_size=8, max_size=8), st.binary(max_size=90))
def test_planes_with_right_checksums_are_not_trusted(stride: int, lengths: list[int], body: bytes) -> None:
    """A hostile writer can compute checksums: planes that do not fit are refused all the same."""
    for head in (struct.pack(f"<{stride}I", *lengths[:stride]), b""):
        stored = head + body
        covered = struct.pack("<HHIII", stride, 1, len(stored), 100, 0)
        frame = covered + checksum(covered, stored).to_bytes(8, "little") + stored
        try:
            raw, _ = decode_frame(memoryview(frame), 0, make_decompressor())
        except IntegrityError:
            continue
        assert len(raw) == 100


@pytest.mark.parametrize(
    ("lengths", "planes", "complaint"),
    [
        ((5, 5), bytes(9), "add up"),
        ((5, 5), bytes(11), "add up"),
        ((6, 4), bytes(10), "longer than its content"),
        ((4, 5), bytes(9), "cannot be decompressed|states a content"),
        ((5, 0xFFFFFFFF), bytes(10), "add up"),
    ],
)
def test_lengths_of_planes_are_compared(lengths: tuple[int, int], planes: bytes, complaint: str) -> None:
    """Each plane must have the length that the payload's leaves it, or be a zstd frame that states it."""
    stored = memoryview(struct.pack("<2I", *lengths) + planes)
    with pytest.raises(IntegrityError, match=complaint):
        ungroup(stored, 2, 10, make_decompressor(), "it")
    with pytest.raises(IntegrityError, match="too short"):
        ungroup(stored[:7], 2, 10, make_decompressor(), "it")


def test_a_plane_that_holds_more_than_it_may_is_refused() -> None:
    """A plane's bomb is found before it is decompressed."""
    bomb = make_compressor()(bytes(100 << 20))
    stored = struct.pack("<2I", len(bomb), 100_000) + bomb + bytes(100_000)
    with pytest.raises(IntegrityError, match="states a content of 104857600"):
        ungroup(memoryview(stored), 2, 200_000, make_decompressor(), "it")


@pytest.mark.parametrize("stride", STRIDES)
def test_a_pack_of_grouped_frames_is_checked_and_rebuilt(stride: int) -> None:
    """What reads packs without knowing how their frames are stored reads these, too."""
    builder, parts = FooterBuilder(), [MAGIC]
    for seed in range(3):
        data = floats(5000, seed)
        lengths = [7000, len(data) - 7000]
        header, stored = encode_frame(data, lengths, make_plane_compressor(), stride=stride)
        parsed = parse_header(header)
        assert parsed.codec == stride
        names = digest(data[:7000]) + digest(data[7000:])
        builder.add_frame(parsed.checksum, len(stored), len(data), lengths, names)
        parts += [header, stored]
    name, tail = builder.encode()
    pack = b"".join(parts) + tail
    assert check_pack(pack, name).chunk_count == 6
    assert rebuild_footer(pack[: -len(tail)], name).raw == builder.footer().raw
