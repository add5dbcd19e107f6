"""Blocks: bytes out, the same values in, and nothing but our errors for anything else."""

import struct
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataver.errors import FormatTooNew, IntegrityError, InvalidInput
from dataver.formats import block_object
from dataver.formats.block import Child, Inner, Leaf, encode_inner, encode_leaf, parse_block
from dataver.formats.compression import make_compressor
from dataver.formats.entry import Entry, Extent, Kind
from dataver.formats.extents import MAX_EXTENTS, encode_layout, parse_layout
from dataver.hashing import CONTEXT_BLOCK, checksum, derived, digest
from properties import examples

PACKS = [digest(bytes([number])) for number in range(3)]
NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="/\\\0.", exclude_categories=["Cc"]),
    min_size=1,
    max_size=9,
)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


@st.composite
def file_extents(draw):
    """Extents as ingest makes them: within frames, following one another more often than not."""
    pieces = draw(
        st.lists(
            st.tuples(
                st.sampled_from(PACKS), st.integers(1, 3), st.integers(0, 2**31), st.integers(1, 2**30)
            ),
            max_size=4,
        )
    )
    return tuple(Extent(pack, 8 * where, 500 * where, skip, length) for pack, where, skip, length in pieces)


@st.composite
def leaf_entries(draw):
    """A leaf's entries of every kind, in order."""
    entries = []
    for path in sorted(draw(st.sets(PATHS, max_size=12))):
        kind = draw(st.sampled_from(Kind))
        if kind in (Kind.FILE, Kind.EXECUTABLE):
            extents = draw(file_extents())
            size = sum(extent.length for extent in extents)
            entries.append(Entry(path, kind, size, digest(path.encode()), "", extents))
        elif kind is Kind.SYMLINK:
            entries.append(Entry(path, kind, target=draw(NAMES)))
        else:
            entries.append(Entry(path, kind))
    return entries


def files(count, start=0):
    """Return the entries of a folder of tiny files that share frames."""
    return [
        Entry(
            f"folder/{number:06}.txt",
            Kind.FILE,
            1000,
            digest(b"%d" % number),
            "",
            (Extent(PACKS[0], 8 + number // 100 * 5000, 5000, number % 100 * 1000, 1000),),
        )
        for number in range(start, start + count)
    ]


def rebuild(logical, layout=b"", raw=None):
    """Return an object with a right checksum and digest around any parts at all."""
    compress = make_compressor(3)
    stored, packed = compress(logical), compress(layout) if layout else b""
    size = len(logical) if raw is None else raw
    head = block_object._HEAD.pack(
        block_object.MAGIC, 0, bytes(32), len(stored), size, len(packed), len(layout)
    )
    data = head + checksum(head, stored, packed).to_bytes(8, "little") + stored + packed
    return data, derived(CONTEXT_BLOCK, logical)


@given(leaf_entries())
def test_a_leaf_comes_back_as_it_was(entries):
    """Entries of every kind survive, extents included, one by one and together."""
    encoded = encode_leaf(entries)
    leaf = parse_block(encoded.data, encoded.digest)
    assert isinstance(leaf, Leaf)
    assert list(leaf.entries()) == entries
    assert [leaf.row(number) for number in range(len(leaf))] == [entry[:5] for entry in entries]
    assert leaf.entry_count == len(entries)
    assert leaf.file_count == sum(entry.kind < 2 for entry in entries)
    assert leaf.byte_count == sum(entry.size for entry in entries)
    assert leaf.packs() == {extent.pack for entry in entries for extent in entry.extents}
    assert [leaf.find(entry.path) for entry in entries] == list(range(len(entries)))
    behind = f"{entries[-1].path}0" if entries else "a"
    assert leaf.find(behind) is None


@given(leaf_entries(), st.randoms())
def test_the_digest_does_not_depend_on_where_bytes_lie(entries, random):
    """Two layouts of the same content are the same block."""
    moved = [
        entry._replace(
            extents=(Extent(PACKS[2], random.randrange(99), 7, 1, entry.size),)
            if 0 < entry.size < 2**32 - 1
            else entry.extents
        )
        for entry in entries
    ]
    assert encode_leaf(moved).digest == encode_leaf(entries).digest


def test_an_inner_block_comes_back_as_it_was():
    """Children survive with their counts."""
    children = [Child(f"p{number:03}", digest(b"%d" % number), 10, 9, 2**62) for number in range(300)]
    encoded = encode_inner(2, children)
    inner = parse_block(encoded.data, encoded.digest)
    assert isinstance(inner, Inner)
    assert (inner.level, inner.children) == (2, children)
    assert (inner.entry_count, inner.file_count, inner.byte_count) == (3000, 2700, 300 * 2**62)


def test_a_changed_leaf_is_stored_as_its_difference():
    """One changed file of 2,000 costs less than a tenth, and comes back whole through the base."""
    base = encode_leaf(files(2000))
    entries = files(2000)
    entries[700] = entries[700]._replace(digest=digest(b"other"))
    plain, delta = encode_leaf(entries), encode_leaf(entries, base.digest, base.logical)
    assert delta.digest == plain.digest
    assert delta.base == base.digest
    assert len(delta.data) * 10 < len(plain.data)
    leaf = parse_block(delta.data, delta.digest, {base.digest: base.data}.__getitem__)
    assert list(leaf.entries()) == entries
    assert leaf.base == base.digest


def test_a_folder_of_tiny_files_needs_almost_no_layout():
    """Files that follow one another in their frames cost less than a byte of layout each."""
    layout = encode_layout(files(2000))
    assert len(make_compressor(3)(layout)) < 1000


@pytest.mark.parametrize(
    "entry",
    [
        Entry("a", Kind.FILE, 3, digest(b""), "", ()),
        Entry("a", Kind.FILE, 0, b"short"),
        Entry("a", Kind.FILE, -1, digest(b"")),
        Entry("a", Kind.FILE, 3, digest(b""), "", (Extent(PACKS[0], 2**32, 9, 0, 3),)),
        Entry("a", Kind.FILE, 3, digest(b""), "", (Extent(PACKS[0], -8, 9, 0, 3),)),
        Entry("a", Kind.FILE, 3, digest(b""), "", (Extent(b"short", 8, 9, 0, 3),)),
        Entry(
            "a", Kind.FILE, 3, digest(b""), "", (Extent(PACKS[0], 8, 9, 0, 3), Extent(PACKS[0], 8, 9, 3, 0))
        ),
        Entry("a", Kind.FILE, 0, digest(b""), "target"),
        Entry("a", Kind.SYMLINK),
        Entry("a", Kind.SYMLINK, 4, b"", "four"),
        Entry("a", Kind.DIRECTORY, 0, b"", "target"),
        Entry("a", Kind.DIRECTORY, 0, digest(b"")),
        Entry("../a", Kind.DIRECTORY),
        Entry("a\ud800", Kind.DIRECTORY),
        Entry("a", 7),
    ],
)
def test_what_no_reader_would_take_is_not_written(entry):
    """A wrong entry is the caller's error, found before anything is stored."""
    with pytest.raises(InvalidInput):
        encode_leaf([entry])


def test_entries_out_of_order_or_too_many_are_not_written():
    """Order and bounds hold for writers, too."""
    with pytest.raises(InvalidInput):
        encode_leaf(files(2)[::-1])
    with pytest.raises(InvalidInput):
        encode_leaf([Entry(f"{number:05}", Kind.DIRECTORY) for number in range(8193)])
    with pytest.raises(InvalidInput):
        encode_inner(1, [])


def test_every_flipped_bit_is_noticed():
    """No single damaged bit of an object gets through (invariant 1)."""
    encoded = encode_leaf([*files(3), Entry("link", Kind.SYMLINK, target="folder")])
    for position in range(8 * len(encoded.data)):
        damaged = bytearray(encoded.data)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises((IntegrityError, FormatTooNew), match=encoded.digest.hex()):
            parse_block(bytes(damaged), encoded.digest)


@given(st.binary(max_size=300))
def test_random_bytes_are_refused(data):
    """Bytes that are no object raise only our errors."""
    with pytest.raises((IntegrityError, FormatTooNew)):
        parse_block(data, bytes(32))


@given(leaf_entries(), st.data())
def test_damaged_parts_behind_a_right_checksum_are_refused_or_valid(entries, data):
    """Whoever forges checksum and digest gets nothing but our errors, or a block within the rules."""
    encoded = encode_leaf(entries)
    logical = bytearray(encoded.logical)
    for _ in range(data.draw(st.integers(1, 3))):
        logical[data.draw(st.integers(0, len(logical) - 1))] = data.draw(st.integers(0, 255))
    logical = (
        bytes(logical[: data.draw(st.integers(1, len(logical)))])
        if data.draw(st.booleans())
        else bytes(logical)
    )
    layout = encode_layout([entry for entry in entries if entry.kind < 2])
    try:
        found = parse_block(*rebuild(logical, layout))
        if isinstance(found, Leaf):
            assert list(found.paths) == sorted(set(found.paths))
            list(found.entries())
    except (IntegrityError, FormatTooNew):
        pass


@given(st.binary(max_size=200), st.lists(st.integers(0, 2**40), max_size=5))
def test_random_layouts_are_refused_or_add_up(raw, sizes):
    """The layout is not covered by the digest, so its parser takes anything."""
    try:
        layout = parse_layout(raw, sizes)
    except IntegrityError:
        return
    for number, size in enumerate(sizes):
        assert sum(extent.length for extent in layout.extents(number)) == size


@settings(max_examples=examples(200))
@given(leaf_entries(), st.data())
def test_damaged_layouts_are_refused_or_add_up(entries, data):
    """The same, for bytes that nearly are a layout."""
    those = [entry for entry in entries if entry.kind < 2]
    layout = bytearray(encode_layout(those))
    if not layout:
        return
    layout[data.draw(st.integers(0, len(layout) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    test_random_layouts_are_refused_or_add_up.hypothesis.inner_test(
        bytes(layout), [entry.size for entry in those]
    )


def test_hostile_counts_allocate_nothing():
    """Counts and sizes are held against the bytes that are there before anything is made of them."""
    for logical in (
        b"\0\0\0\0" + b"\xff" * 4,
        b"\1\0\0\0" + b"\xff" * 4,
        b"\0\0\0\0\xff\x1f\0\0",
        b"\x11\0\0\0\1\0\0\0",
    ):
        with pytest.raises(IntegrityError):
            parse_block(*rebuild(logical))
    with pytest.raises(IntegrityError):
        parse_block(*rebuild(b"\0" * 16, raw=1 << 31))
    with pytest.raises(IntegrityError):
        parse_layout(b"\xff" * 64, [1])


def test_more_extents_than_a_leaf_may_have_are_refused():
    """The number is looked at before anything is made of it; the most is not refused for its number."""
    for count, why in ((MAX_EXTENTS + 1, "extents"), (MAX_EXTENTS, "empty extent")):
        head = struct.pack("<I32xII", 1, count, count)
        with pytest.raises(IntegrityError, match=why):
            parse_layout(head + bytes(4 * (5 * count - 1)), [64 * count])


def test_a_file_has_no_more_extents_than_its_bytes_allow():
    """Two million extents of a byte each fit a block of a few kilobytes, and reading them takes minutes."""
    extents = tuple(Extent(bytes(32), 8, 100, 0, 64) for _ in range(100))
    parse_layout(encode_layout([Entry("a", Kind.FILE, 6_400, bytes(32), "", extents)]), [6_400])
    short = tuple(each._replace(length=1) for each in extents)
    with pytest.raises(InvalidInput, match="the limit is 66"):
        encode_layout([Entry("a", Kind.FILE, 100, bytes(32), "", short)])
    columns = [100, *[0] * 100, *[8] * 100, *[100] * 100, *[0] * 100, *[1] * 99]
    with pytest.raises(IntegrityError, match="the limit is 66 for files of 100 bytes"):
        parse_layout(struct.pack("<I32xI500I", 1, 100, *columns), [100])


def test_a_damaged_layout_is_reported_each_time():
    """A leaf whose extents are bad says so whenever they are asked for, and keeps its paths usable."""
    encoded = encode_leaf(files(2))
    data, name = rebuild(encoded.logical, b"\xff" * 40)
    leaf = parse_block(data, name)
    assert leaf.paths == [entry.path for entry in files(2)]
    for _ in range(2):
        with pytest.raises(IntegrityError):
            leaf.entry(0)


def test_threads_may_share_a_leaf():
    """The extents are parsed when first needed, by any thread, without a moment in which they are missing."""
    encoded = encode_leaf(files(2000))
    failures = []
    for _ in range(20):
        leaf = parse_block(encoded.data, encoded.digest)
        gate = threading.Barrier(4)

        def read(leaf=leaf, gate=gate):
            gate.wait()
            try:
                assert leaf.entry(1999).extents
            except Exception as error:  # noqa: BLE001  # whatever a thread meets fails the test
                failures.append(error)

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures


@given(leaf_entries(), leaf_entries(), st.integers(0, 12), st.integers(0, 12))
def test_equal_rows_counts_what_rows_say(some, others, start, other_start):
    """The comparison by columns agrees with the comparison row by row."""
    mixed = sorted(
        {entry.path: entry for entry in [*some[::2], *others]}.values(), key=lambda entry: entry.path
    )
    one, two = (parse_block(block.data, block.digest) for block in (encode_leaf(some), encode_leaf(mixed)))
    rows = [one.row(n) for n in range(min(start, len(one)), len(one))]
    other_rows = [two.row(n) for n in range(min(other_start, len(two)), len(two))]
    expected = 0
    while expected < min(len(rows), len(other_rows)) and rows[expected] == other_rows[expected]:
        expected += 1
    assert one.equal_rows(min(start, len(one)), two, min(other_start, len(two))) == expected


def test_the_digest_of_a_known_leaf_is_pinned():
    """The logical part's bytes are format 1: a change here is a change of every version's name."""
    entries = [
        Entry("a.txt", Kind.FILE, 3, digest(b"abc"), "", (Extent(PACKS[0], 8, 50, 0, 3),)),
        Entry("bin/run", Kind.EXECUTABLE, 0, digest(b"")),
        Entry("empty", Kind.DIRECTORY),
        Entry("link", Kind.SYMLINK, target="a.txt"),
    ]
    assert encode_leaf([]).logical.hex() == "0000000000000000" + "00000000" + "00000000"
    expected = (
        b"\0\0\0\0\4\0\0\0" + bytes([0, 1, 3, 2]) + (3).to_bytes(8, "little") + bytes(24)
        + digest(b"abc") + digest(b"")
        + b"\x18\0\0\0a.txt\0bin/run\0empty\0link" + b"\5\0\0\0a.txt"
    )  # fmt: skip
    assert encode_leaf(entries).logical == expected
    assert encode_leaf(entries).digest == derived("dataver 1 tree block", expected)
