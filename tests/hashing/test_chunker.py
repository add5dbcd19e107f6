"""Cut points: pinned, independent of how a stream is read, and local in their changes."""

import hashlib
import io
import random
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataver.errors import FormatTooNew, InvalidInput
from dataver.hashing import Chunker, ChunkingParameters, chunk_stream, digest
from properties import examples

SMALL = ChunkingParameters(average=256, minimum=64, maximum=1024)

GOLDEN = [12905, 37385, 68955, 89261, 119598, 141524, 156677, 182792, 212510, 219260, 247401, 284822, 300000]
GOLDEN_SMALL = (319, "4f9f50fbfa41bc4aa861eca8148df61b")


def noise(seed: int, size: int) -> bytes:
    """Return bytes that look random and are the same everywhere: BLAKE3's extendable output."""
    from blake3 import blake3

    return blake3(b"dataver test noise %d" % seed).digest(size)


def feed(data: bytes, sizes: list[int], params: ChunkingParameters) -> list[int]:
    """Cut a stream that arrives in pieces of these sizes, carrying the rest as ingest does."""
    chunker, ends, held, start, rest = Chunker(params), [], b"", 0, data
    for size in [*sizes, len(data)]:
        held, rest = held + rest[:size], rest[size:]
        found = chunker.cut(held, final=not rest)
        ends += [start + end for end in found]
        if found:
            held, start = held[found[-1] :], start + found[-1]
        if not rest:
            break
        assert len(held) < params.maximum
    return ends


def test_cut_points_are_pinned() -> None:
    """These offsets are part of what repositories share; they must never move."""
    ends = Chunker().cut(noise(1, 300_000), final=True)
    assert ends == GOLDEN
    small = Chunker(SMALL).cut(noise(2, 100_000), final=True)
    assert (len(small), digest(repr(small).encode()).hex()[:32]) == GOLDEN_SMALL


def test_chunks_obey_the_limits() -> None:
    """No chunk but the last is below the minimum, none is above the maximum."""
    for data in (noise(3, 400_000), bytes(400_000), b"ab" * 150_000):
        ends = Chunker().cut(data, final=True)
        lengths = [end - start for start, end in zip([0, *ends], ends, strict=False)]
        assert sum(lengths) == len(data)
        assert all(4096 <= length <= 65536 for length in lengths[:-1])
        assert 0 < lengths[-1] <= 65536


@given(st.binary(max_size=20_000), st.lists(st.integers(1, 4000), max_size=20))
def test_cuts_do_not_depend_on_how_the_stream_arrives(data: bytes, sizes: list[int]) -> None:
    """Any split into buffers gives the cuts of the whole."""
    assert feed(data, sizes, SMALL) == Chunker(SMALL).cut(data, final=True)


@settings(max_examples=examples(30))
@given(st.integers(0, 10**6), st.lists(st.integers(1, 5000), min_size=3, max_size=30))
def test_cuts_of_noise_do_not_depend_on_how_it_arrives(seed: int, sizes: list[int]) -> None:
    """The same for bytes that hypothesis would not draw: long ones with many content-defined cuts."""
    data = noise(seed, 40_000)
    assert feed(data, sizes, SMALL) == Chunker(SMALL).cut(data, final=True)


def test_an_insertion_moves_only_cuts_nearby() -> None:
    """Most chunks survive a byte put in the middle: the point of cutting by content."""
    data = noise(4, 2_000_000)
    edited = data[:1_000_000] + b"!" + data[1_000_000:]

    def names(data: bytes) -> set[bytes]:
        return {digest(chunk) for chunk in chunk_stream(io.BytesIO(data).readinto)}

    before, after = names(data), names(edited)
    assert len(after - before) <= 4
    assert len(before) > 80


@given(st.binary(max_size=50_000), st.integers(1, 9000), st.integers(0, 5000))
def test_chunks_joined_are_the_stream(data: bytes, short_read: int, buffer_size: int) -> None:
    """Chunks in order are the stream, however short the reads are."""
    stream = io.BytesIO(data)
    chunks = [
        bytes(chunk)
        for chunk in chunk_stream(lambda view: stream.readinto(view[:short_read]), SMALL, buffer_size)
    ]
    assert b"".join(chunks) == data
    ends = Chunker(SMALL).cut(data, final=True)
    assert [len(chunk) for chunk in chunks] == [
        end - start for start, end in zip([0, *ends], ends, strict=False)
    ]


def test_nothing_gives_no_chunks() -> None:
    """An empty buffer has no cuts, whether the stream ends there or not."""
    assert Chunker().cut(b"", final=True) == []
    assert Chunker().cut(b"", final=False) == []
    assert list(chunk_stream(io.BytesIO(b"").readinto)) == []


@pytest.mark.parametrize(
    "values",
    [
        {"average": 10_000},
        {"average": 128, "minimum": 64},
        {"average": 8 << 20, "maximum": 16 << 20},
        {"minimum": 63},
        {"minimum": 20_000},
        {"maximum": 8192},
        {"maximum": 17 << 20},
        {"normalization": 4},
        {"normalization": True},
        {"average": 16384.0},
        {"algorithm": "rabin"},
    ],
)
def test_parameters_out_of_range_are_refused(values: dict[str, int]) -> None:
    """What FastCDC, or this format, cannot do is refused with a sentence."""
    with pytest.raises(InvalidInput):
        ChunkingParameters(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "bounds"),
    [
        ({"average": 4 << 20, "minimum": 2 << 20, "maximum": 16 << 20}, "2097152 is not from 64 to 1048576"),
        ({"average": 256, "minimum": 64, "maximum": 512}, "512 is not from 1024 to 16777216"),
        ({"average": 256, "minimum": 300, "maximum": 1024}, "300 is not from 64 to 256"),
    ],
)
def test_a_refusal_names_bounds_that_the_value_is_outside_of(values: dict[str, int], bounds: str) -> None:
    """The bounds of the sentence are those that were checked."""
    with pytest.raises(InvalidInput, match=bounds):
        ChunkingParameters(**values)  # type: ignore[arg-type]


def test_parameters_survive_json() -> None:
    """`from_dict` gives back what `to_dict` made; gaps and unknown names are told apart."""
    values = ChunkingParameters.for_average(65536).to_dict()
    assert ChunkingParameters.from_dict(values) == ChunkingParameters(65536, 16384, 262144)
    with pytest.raises(InvalidInput):
        ChunkingParameters.from_dict({"average": 1})
    with pytest.raises(FormatTooNew):
        ChunkingParameters.from_dict({**values, "gear": 2})
    with pytest.raises(FormatTooNew):
        ChunkingParameters.from_dict({**values, "algorithm": "fastcdc2030"})


SLOW = """
import sys, warnings
sys.modules["pyfastcdc.cy"] = None
from dataver.hashing import Chunker
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    data = bytes.fromhex(sys.stdin.read())
    first, second = (Chunker().cut(data, final=True) for _ in range(2))
print(len(caught), caught[0].message)
print(first)
"""


def test_the_slow_form_cuts_alike_and_is_named_once() -> None:
    """Without pyfastcdc's compiled form one warning names the remedy, and the cuts are the same."""
    data = noise(1, 100_000)
    out = subprocess.run(
        [sys.executable, "-c", SLOW], input=data.hex(), capture_output=True, text=True, check=True
    )
    warning, cuts = out.stdout.splitlines()
    assert warning.startswith("1 pyfastcdc is installed without its compiled form")
    assert "PYFASTCDC_REQUIRE_CYTHON=1 pip install" in warning
    assert cuts == repr(Chunker().cut(data, final=True))


def test_importing_does_not_import_the_cutter() -> None:
    """`pyfastcdc` is loaded when a chunker first cuts: neither reading nor an unchanged file needs it."""
    code = "import dataver.hashing, sys; dataver.hashing.Chunker(); print('pyfastcdc' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_a_random_file_has_about_the_average() -> None:
    """The parameters mean what they say: minimum plus average, roughly."""
    ends = Chunker().cut(random.Random(7).randbytes(8_000_000), final=True)
    assert 14_000 < 8_000_000 / len(ends) < 24_000


def reference_cut(data: bytes, params: ChunkingParameters) -> list[int]:
    """Cut as docs/format.md says, byte by byte, with a gear table made from MD5 as it says there."""
    gear = [int.from_bytes(hashlib.md5(bytes([value]) * 64).digest()[:8], "big") for value in range(256)]
    bits = params.average.bit_length() - 1
    strict, loose = MASKS[bits + params.normalization], MASKS[bits - params.normalization]
    start, ends = 0, []
    while start < len(data):
        left = len(data) - start
        end, middle, hashed, length = min(left, params.maximum), min(left, params.average) & ~1, 0, None
        for place in range(params.minimum & ~1, end & ~1) if left > params.minimum else ():
            hashed = (2 * hashed + gear[data[start + place]]) % (1 << 64)
            if not hashed & (strict if place < middle else loose):
                length = place
                break
        start += end if length is None else length
        ends.append(start)
    return ends


MASKS = {
    5: 0x0000000001804110,
    7: 0x0000000018035100,
    8: 0x0000001800035300,
    9: 0x0000019000353000,
    11: 0x0000D90003530000,
    13: 0x0000D90303530000,
    15: 0x0000D90F03530000,
}


@pytest.mark.parametrize(
    ("params", "size"),
    [
        (ChunkingParameters(), 400_001),
        (SMALL, 60_000),
        (ChunkingParameters(average=256, minimum=77, maximum=1025, normalization=3), 30_001),
        (ChunkingParameters(average=256, minimum=65, maximum=1024, normalization=0), 30_000),
    ],
)
def test_the_page_says_how_it_is_cut(params: ChunkingParameters, size: int) -> None:
    """An implementation written from docs/format.md finds the same cuts, gear table and masks included."""
    for data in (noise(5, size), bytes(size)):
        assert reference_cut(data, params) == Chunker(params).cut(data, final=True)
