"""Cutting a window at a time: the same chunks as in one go, and what was there before is found again."""

import random
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from dataver.errors import IntegrityError
from dataver.formats.entry import Extent, Kind
from dataver.formats.pack import Footer, FooterBuilder
from dataver.hashing import Chunker, ChunkingParameters, digest
from dataver.ingest.chunk_index import ChunkLocation
from dataver.ingest.cutting import CutBuffer, Cutter, File, LargeFile
from dataver.ingest.pack_writer import interval_extent
from dataver.ingest.parent_chunks import Expected
from dataver.ingest.scan import ScannedItem
from dataver.ingest.stat_cache import FileStat
from properties import examples

PARAMS = ChunkingParameters(average=256, minimum=64, maximum=1024)
NOTHING = ScannedItem("f", "f", Kind.FILE, FileStat(0, 0, 0, 0))


def cut(data, size, expected=None):
    """Cut as a large file in windows of `size`; return `(digest or b"", bytes or place)` of each chunk."""
    cutter, windows = Cutter(PARAMS), [CutBuffer(size, PARAMS) for _ in range(2)]
    large, found = LargeFile(File(NOTHING, None), expected), []
    for number, start in enumerate(range(0, len(data) + 1, size)):
        window, part = windows[number % 2], data[start : start + size]
        window.view[window.begin : window.begin + len(part)] = part
        for _, name, what in cutter.large(window, large, len(part), final=len(part) < size):
            found.append((name, what if isinstance(what, ChunkLocation) else bytes(what)))
    assert large.rest == b""
    assert large.cut == len(data)
    return found


def pack(data, frame=5):
    """Return the footer of a pack that holds `data` cut, and its extent."""
    ends, builder = Chunker(PARAMS).cut(data, final=True), FooterBuilder()
    parts = [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    for first in range(0, len(parts), frame):
        some = parts[first : first + frame]
        lengths = [len(part) for part in some]
        builder.add_frame(0, sum(lengths), sum(lengths), lengths, b"".join(map(digest, some)))
    footer = builder.footer()
    return footer, interval_extent(footer, 0, len(data))


def put_together(found, packs):
    """Return the bytes that `found` stands for, taking places from the packs' raw bytes."""
    return b"".join(
        packs[what.footer.pack_id][what.start : what.start + what.length] if name == b"" else what
        for name, what in found
    )


def fresh(found):
    return sum(len(what) for name, what in found if name)


@settings(max_examples=examples(40))
@given(st.integers(0, 40_000), st.integers(1024, 9_000), st.integers(0, 9))
def test_windows_do_not_show_in_the_chunks(length, size, seed):
    """Wherever a window ends, the chunks are those of the whole file, each with its digest."""
    data = random.Random(seed).randbytes(length)
    found = cut(data, size)
    ends = Chunker(PARAMS).cut(data, final=True)
    assert [part for _, part in found] == [
        data[start:end] for start, end in zip([0, *ends], ends, strict=False)
    ]
    assert all(name == digest(part) for name, part in found)


edit = st.tuples(st.floats(0, 1), st.integers(0, 2_000), st.binary(max_size=2_000))


@settings(max_examples=examples(60))
@given(st.lists(edit, max_size=6), st.integers(1024, 9_000), st.integers(1, 4), st.integers(0, 3))
def test_an_edited_file_is_put_together_from_old_and_new(edits, size, stretches, seed):
    """Whatever is replaced, inserted or cut out, old places and new bytes in a row are the file."""
    old = random.Random(seed).randbytes(40_000)
    bounds = [len(old) * number // stretches for number in range(stretches + 1)]
    packs, extents = {}, []
    for start, end in pairwise(bounds):
        footer, extent = pack(old[start:end])
        packs[footer.pack_id] = footer, old[start:end]
        extents.append(extent)
    new = old
    for at, gone, put in edits:
        place = int(at * len(new))
        new = new[:place] + put + new[place + gone :]
    expected = Expected(extents, lambda pack_id: packs[pack_id][0])
    found = cut(new, size, expected)
    assert put_together(found, {pack_id: raw for pack_id, (_, raw) in packs.items()}) == new
    assert all(name == digest(what) for name, what in found if name)


def test_what_did_not_change_is_not_new():
    """Of an unchanged file only the last chunk is cut; an insertion near the front costs a few chunks."""
    old = random.Random(1).randbytes(200_000)
    footer, extent = pack(old)
    again = cut(old, 5_000, Expected([extent], lambda _: footer))
    assert [name for name, _ in again].count(b"") >= 1
    assert fresh(again) == footer.lengths[-1]
    shifted = old[:3_000] + b"inserted" * 20 + old[3_000:]
    assert fresh(cut(shifted, 5_000, Expected([extent], lambda _: footer))) < 4 * PARAMS.maximum


def test_the_way_back_is_found_behind_a_long_change():
    """A region of many chunks is replaced; what follows it is known again."""
    old = random.Random(2).randbytes(400_000)
    footer, extent = pack(old)
    new = old[:100_000] + random.Random(3).randbytes(200_000) + old[300_000:]
    assert fresh(cut(new, 8_000, Expected([extent], lambda _: footer))) < 200_000 + 4 * PARAMS.maximum


def test_an_appended_file_is_cut_where_its_content_says_so():
    """The old end of the file does not become the end of a chunk, however often a little is appended."""
    data = random.Random(4).randbytes(20_000)
    for _ in range(5):
        footer, extent = pack(data)
        data += random.Random(len(data)).randbytes(50)
        ends = Chunker(PARAMS).cut(data, final=True)
        found = cut(data, 4_096, Expected([extent], lambda _, footer=footer: footer))
        assert fresh(found) <= ends[-1] - (ends[-3] if len(ends) > 2 else 0)
        tail = [what for name, what in found if name]
        assert tail[-1] == data[ends[-2] :]


def test_an_earlier_version_that_cannot_be_had_is_only_not_used():
    """No footer, or extents that fit no frame: every chunk is cut."""
    old = random.Random(5).randbytes(30_000)
    footer, extent = pack(old)
    wrong = [extent._replace(offset=extent.offset + 1), Extent(footer.pack_id, extent.offset, 9, 1 << 30, 5)]
    plain = cut(old, 3_000)
    assert cut(old, 3_000, Expected([extent], lambda _: None)) == plain
    assert cut(old, 3_000, Expected(wrong, lambda _: footer)) == plain
    assert cut(old, 3_000, Expected([], lambda _: footer)) == plain


def test_a_footer_that_lies_about_a_digest_is_not_followed():
    """Invariant 1: a chunk is taken as known only by the hash of its own bytes."""
    old = random.Random(6).randbytes(30_000)
    footer, extent = pack(old)
    raw = bytearray(footer.raw)
    at = bytes(raw).index(footer.chunk_digest(3))
    raw[at] ^= 1
    try:
        other = Footer(bytes(raw))
    except IntegrityError:
        raise AssertionError("the footer itself is sound") from None
    found = cut(old, 30_001, Expected([extent], lambda _: other))
    starts = footer.chunk_starts
    assert (digest(old[starts[3] : starts[4]]), old[starts[3] : starts[4]]) in found
