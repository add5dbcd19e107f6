"""How frames are stored: what shrinks most, found out cheaply, and always read back."""

import random
import struct
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from dataver.formats.compression import make_compressor, make_decompressor
from dataver.formats.frame import decode_frame, encode_frame, length_table, parse_header
from dataver.ingest import frame_coder
from dataver.ingest.frame_coder import FrameCoder

SIZE = 128 * 1024


def floats(seed: int, letter: str = "f") -> bytearray:
    """Return a frame of weights."""
    rng = random.Random(seed)
    count = SIZE // struct.calcsize(letter)
    return bytearray(struct.pack(f"<{count}{letter}", *(rng.gauss(0, 0.02) for _ in range(count))))


def half(seed: int) -> bytearray:
    """Return a frame of bfloat16: the high halves of float32."""
    data = floats(seed) + floats(seed + 1)
    return bytearray(b"".join(data[at + 2 : at + 4] for at in range(0, len(data), 4)))


def text(seed: int) -> bytearray:
    """Return a frame of rows."""
    rng = random.Random(seed)
    return bytearray(
        "".join(f"{rng.random():.6f},{rng.randint(0, 99)},word\n" for _ in range(8000))[:SIZE].encode()
    )


def noise(seed: int) -> bytearray:
    """Return a frame that nothing shrinks."""
    return bytearray(random.Random(seed).randbytes(SIZE))


def payload(raw: bytearray, lengths: list[int]) -> memoryview:
    """Return a frame's payload."""
    return memoryview(b"".join((raw, length_table(lengths))))


def encode(coder: FrameCoder, raw: bytearray) -> tuple[int, int]:
    """Encode a frame of eight chunks and read it back; return its codec and stored length."""
    lengths = [len(raw) // 8] * 7
    lengths.append(len(raw) - sum(lengths))
    header, stored = coder.encode(payload(raw, lengths), lengths)
    assert decode_frame(memoryview(b"".join((header, stored))), 0, make_decompressor())[0] == raw
    return parse_header(header).codec, parse_header(header).stored_length


def plain(raw: bytearray) -> int:
    """Return how long zstd alone makes a frame."""
    return len(encode_frame(raw, [len(raw)], make_compressor())[1])


@pytest.mark.parametrize(("make", "stride"), [(half, 2), (floats, 4), (lambda seed: floats(seed, "d"), 8)])
def test_numbers_are_grouped_by_their_width(make, stride):
    """The first frame already is, and each is smaller than zstd alone makes it."""
    coder = FrameCoder(1)
    for seed in range(5):
        raw = make(seed)[seed % 3 :]  # frames begin at any byte
        codec, size = encode(coder, raw)
        assert codec == stride
        assert size < 0.97 * plain(raw)


@pytest.mark.parametrize(("make", "codec"), [(text, 1), (noise, 0)])
def test_text_and_photos_are_never_tried(make, codec, monkeypatch):
    """What cannot win costs no attempt."""
    tries = []
    monkeypatch.setattr(frame_coder, "_best_stride", lambda *_: tries.append(1) or 1)
    coder = FrameCoder(1)
    assert {encode(coder, make(seed))[0] for seed in range(10)} == {codec}
    assert not tries


def test_a_change_of_content_is_noticed_at_once():
    """Text behind weights is not grouped, and weights behind text are again soon."""
    coder = FrameCoder(1)
    codecs = [encode(coder, make(seed))[0] for make in (floats, text, noise, floats) for seed in range(20)]
    assert codecs[:20] == [4] * 20
    assert codecs[20:60] == [1] * 20 + [0] * 20
    assert codecs[63:] == [4] * 17


def test_what_keeps_changing_is_left_in_peace(monkeypatch):
    """Where grouping pays for a few frames at a time, attempts become rare."""
    tries = []
    best = frame_coder._best_stride
    monkeypatch.setattr(frame_coder, "_best_stride", lambda *all_of_it: tries.append(1) or best(*all_of_it))
    coder = FrameCoder(1)
    shrinks = bytearray(b"".join(bytes([byte]) * 2 for byte in noise(1)))[:SIZE]
    for seed in range(200):
        encode(coder, floats(1) if seed % 4 == 0 else shrinks)
    assert len(tries) <= 10


def test_numbers_are_compared_with_zstd_again_after_a_while():
    """A stride that won is not kept for ever: what shrinks better without is found out."""
    coder = FrameCoder(1)
    repeats = floats(1)[: SIZE // 8] * 8  # planes with noise, yet zstd alone finds the repetition
    assert encode(coder, floats(1))[0] == 4
    codecs = Counter(encode(coder, repeats)[0] for _ in range(2 * 128))
    assert codecs[1] > 100


def test_small_chunks_are_compressed_at_the_higher_level():
    """Frames of tiny files are left to zstd, which gains most there."""
    raw, lengths = text(1) + floats(1), [4096] * (2 * SIZE // 4096)
    lengths[-1] += len(raw) - sum(lengths)
    encoded = FrameCoder(1).encode(payload(raw, lengths), lengths)
    assert encoded == encode_frame(raw, lengths, make_compressor(3))


@pytest.mark.parametrize("level", [1, 9, 10, 19])
def test_the_repositorys_level_is_followed(level):
    """Whatever the level, numbers are grouped and come back."""
    assert encode(FrameCoder(level), floats(1))[0] in {4, 8}


def test_threads_share_a_coder():
    """Frames of all kinds, on four threads: every byte comes back."""
    coder = FrameCoder(1)
    frames = [make(seed) for seed in range(8) for make in (floats, text, noise, half)]
    with ThreadPoolExecutor(4) as pool:
        sizes = list(pool.map(lambda raw: encode(coder, raw)[1], frames))
    assert sum(sizes) < sum(map(len, frames))
