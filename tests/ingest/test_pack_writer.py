"""Packs of a session: every chunk is where its position says, whatever the chunks were."""

import gc
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataver.formats.compression import make_decompressor
from dataver.formats.frame import MAX_RAW, decode_frames
from dataver.formats.pack import Footer, check_pack
from dataver.hashing import digest
from dataver.ingest.pack_writer import FrameBuffer, PackSession
from properties import examples

KINDS = {
    "noise": lambda rng, size: rng.randbytes(size),
    "text": lambda rng, size: (b"%d and so on, " % rng.randint(0, 9) * (size // 5 + 1))[:size],
    "numbers": lambda rng, size: b"".join(
        bytes((rng.randint(0, 255), rng.randint(0, 255), rng.randint(0, 255), 0x3C))
        for _ in range(size // 4 + 1)
    )[:size],
}


def packed(folder, chunks, **options):
    """Write chunks into packs; return the session and where each chunk begins."""
    options = {"level": 1, "pack_size": 1 << 20, "on_pack": lambda _: None} | options
    session = PackSession(folder, **options)
    starts = [session.append(memoryview(chunk), digest(chunk)) for chunk in chunks]
    session.close()
    return session, starts


def read(session, folder, start, length):
    """Return a stretch of the raw stream from the finished packs."""
    found, decompressor = b"", make_decompressor()
    for extent in session.extents(start, length):
        data = memoryview((folder / extent.pack.hex()).read_bytes())
        raw = b"".join(decode_frames(data[extent.offset : extent.offset + extent.stored], decompressor))
        found += raw[extent.skip : extent.skip + extent.length]
    return found


@settings(max_examples=examples(20), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.integers(1, 65_536)), min_size=1, max_size=60),
    st.integers(0, 99),
)
def test_every_chunk_is_read_back(tmp_path_factory, kinds, seed):
    """Noise, text and numbers in any order: what was appended lies at its position, in sound packs."""
    folder, rng = tmp_path_factory.mktemp("spool"), random.Random(seed)
    chunks = [KINDS[kind](rng, size) for kind, size in kinds]
    session, starts = packed(folder, chunks)
    for chunk, start in zip(chunks, starts, strict=True):
        assert read(session, folder, start, len(chunk)) == chunk
    packs = list(folder.iterdir())
    assert sum(check_pack(path.read_bytes(), bytes.fromhex(path.name)).chunk_count for path in packs) == len(
        chunks
    )
    assert session.packs == len(packs)


def test_raw_frames_are_written_before_their_memory_is_used_again(tmp_path):
    """Thousands of incompressible chunks go through a few buffers, and none overwrites another."""
    rng = random.Random(1)
    chunks = [rng.randbytes(rng.randint(4_000, 60_000)) for _ in range(1500)]
    session, starts = packed(tmp_path, chunks, pack_size=4 << 20)
    assert session.packs > 5
    for chunk, start in zip(chunks, starts, strict=True):
        assert read(session, tmp_path, start, len(chunk)) == chunk


def test_kinds_may_change_while_frames_are_on_their_way(tmp_path):
    """Photos, then text, then photos: the text is compressed soon, though noise came before."""
    rng = random.Random(2)
    photos = [rng.randbytes(32_000) for _ in range(400)]
    rows = [KINDS["text"](rng, 32_000) for _ in range(1200)]
    session, starts = packed(tmp_path, photos + rows + photos)
    assert session.stored < 2.05 * sum(map(len, photos)) + 0.25 * sum(map(len, rows))
    for chunk, start in zip(
        (photos[0], rows[0], photos[-1]), (starts[0], starts[400], starts[-1]), strict=True
    ):
        assert read(session, tmp_path, start, len(chunk)) == chunk


def test_the_largest_chunks_fit(tmp_path):
    """Chunks of 16 MiB get a frame of their own, whatever lies before them."""
    chunks = [b"small", bytes(MAX_RAW), b"small again", random.Random(3).randbytes(MAX_RAW)]
    session, starts = packed(tmp_path, chunks, pack_size=64 << 20)
    for chunk, start in zip(chunks, starts, strict=True):
        assert read(session, tmp_path, start, len(chunk)) == chunk


@pytest.mark.parametrize("level", [1, 19])
def test_the_level_is_followed(tmp_path, level):
    """A higher level stores less."""
    chunks = [KINDS["text"](random.Random(seed), 40_000) for seed in range(8)]
    session, _ = packed(tmp_path, chunks, level=level)
    assert session.stored < 30_000 // level**0.5


def test_a_buffer_grows_for_what_it_holds():
    """A payload is the chunks and their lengths, in order, however many there are."""
    buffer = FrameBuffer()
    for size in (1, 300_000, 5_000_000, 7):
        buffer.add(bytes([size % 251]) * size, digest(b""))
    payload = buffer.payload()
    assert len(payload) == 5_300_008 + 16
    assert [payload[0], payload[1], payload[300_001], payload[-17]] == [1, 55, 80, 7]
    assert not buffer.fits(MAX_RAW)
    buffer.clear()
    assert buffer.fits(MAX_RAW)
    assert buffer.size == len(buffer.lengths) == 0


def test_finished_packs_cost_little_memory(tmp_path):
    """Of a finished pack only where its frames begin is kept: a terabyte makes 16,000 packs of 64 MB."""
    rng = random.Random(4)
    chunks = [rng.randbytes(20_000) for _ in range(300)]
    gc.collect()
    before = {id(each) for each in gc.get_objects() if isinstance(each, Footer)}  # other tests'
    session, starts = packed(tmp_path, chunks, pack_size=300_000)
    assert session.packs >= 15
    gc.collect()
    assert not [each for each in gc.get_objects() if isinstance(each, Footer) and id(each) not in before]
    for chunk, start in zip(chunks, starts, strict=True):
        assert read(session, tmp_path, start, len(chunk)) == chunk
    whole = b"".join(chunks)
    assert read(session, tmp_path, 123, len(whole) - 200) == whole[123:-77]
