"""External packs as bytes: written from the tables of docs/format.md alone, damaged, and hostile."""

import json
import struct

import blake3
import pytest
import xxhash
import zstandard

from dataver.errors import FormatTooNew, IntegrityError, InvalidInput
from dataver.formats.block import encode_leaf, parse_block
from dataver.formats.block_object import unpack_block
from dataver.formats.entry import Entry, Extent, Kind, external_id, is_external
from dataver.formats.external import (
    PIECE,
    ExternalBuilder,
    ExternalSource,
    check_place,
    parse_external,
    piece_of,
)
from dataver.formats.frame import decode_frame, encode_frame
from dataver.hashing import digest

PLACE = "s3://bucket/some prefix"


def row(**changes):
    values = {
        "key": "a/b",
        "size": 10,
        "start": 0,
        "length": 10,
        "etag": '"x"',
        "version": None,
        "modified": None,
    }
    return values | changes


def head_of(files, **changes):
    values = {"files": files, "format": 1, "piece": PIECE, "place": PLACE} | changes
    return json.dumps(values, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def footer_of(lengths, *, stored=None, digests=None):
    """Return the footer proper of a pack of raw frames of one chunk each, as docs/format.md has it."""
    count = len(lengths)
    checks = bytes(8 * count)
    stored = stored or [length + 4 for length in lengths]
    columns = [*stored, *lengths, *[1] * count]
    return b"".join(
        (
            struct.pack("<IIII", 1, count, count, 0),
            checks,
            struct.pack(f"<{3 * count}I", *columns),
            digests or bytes(32 * count),
            struct.pack(f"<{count}I", *lengths),
        )
    )


def packed(head, footer, *, magic=b"DVEXTN\0\1", spoil=None):
    """Return the id and the object of an external pack, as docs/format.md has it."""
    name = blake3.blake3(
        struct.pack("<Q", len(head)) + head + footer, derive_key_context="dataver 1 external pack"
    ).digest()
    compress = zstandard.ZstdCompressor().compress
    parts = (compress(head), compress(footer))
    sizes = spoil or (len(parts[0]), len(head), len(parts[1]), len(footer))
    front = magic + struct.pack("<IIII", *sizes)
    check = xxhash.xxh3_64_intdigest(front + parts[0] + parts[1])
    return external_id(name), front + struct.pack("<Q", check) + parts[0] + parts[1]


def test_the_tables_are_enough_to_write_one():
    """What is made from the documentation alone is read, and says what was meant."""
    files = [row(), row(key="c", size=5 * PIECE, start=PIECE, length=PIECE + 3, etag=None, version="v1")]
    name, data = packed(head_of(files), footer_of([10, PIECE, 3]))
    pack = parse_external(data, name)
    assert (pack.id, pack.place, pack.footer.pack_id) == (name, PLACE, name)
    runs = [(run.source.key, run.start, run.length) for run in pack.runs(0, 3)]
    assert runs == [("a/b", 0, 10), ("c", PIECE, PIECE + 3)]
    assert [(run.start, run.length) for run in pack.runs(2, 3)] == [(2 * PIECE, 3)]
    assert list(pack.footer.frame_offsets) == [8, 8 + 38, 8 + 38 + PIECE + 28, 8 + 38 + PIECE + 28 + 31]


def test_what_is_written_is_what_the_tables_say():
    """The writer's bytes, taken apart by the documentation alone."""
    builder = ExternalBuilder(PLACE)
    data = b"0123456789"
    count, offset, stored = builder.append(ExternalSource("a/b", 10, 0, 0, '"x"'), [piece_of(data)])
    assert (count, offset, stored) == (1, 8, 24 + 10 + 4)
    name, found = builder.encode()
    magic, head_stored, head_raw, footer_stored, footer_raw, check = struct.unpack_from("<8sIIIIQ", found)
    assert magic == b"DVEXTN\0\1" and len(found) == 32 + head_stored + footer_stored
    assert check == xxhash.xxh3_64_intdigest(found[:24] + found[32:])
    head = zstandard.ZstdDecompressor().decompress(found[32 : 32 + head_stored])
    footer = zstandard.ZstdDecompressor().decompress(found[32 + head_stored :])
    assert (len(head), len(footer)) == (head_raw, footer_raw) and head == head_of([row()])
    frame = b"".join(encode_frame(data, [10], None))
    assert decode_frame(memoryview(frame), 0, None)[0] == data
    assert footer[16:24] == frame[16:24] and footer[36:68] == digest(data)
    assert packed(head, footer)[0] == name


@pytest.mark.parametrize(
    ("files", "lengths", "changes"),
    [
        ([], [10], {}),
        ([row()] * 4097, [10] * 4097, {}),
        ([row()], [9], {}),
        ([row()], [10, 10], {}),
        ([row()], [5, 5], {}),
        ([row(length=0)], [10], {}),
        ([row(start=1)], [10], {}),
        ([row(size=2**62, length=2**61)], [10], {}),
        ([row(size=200_000_000, length=200_000_000)], [PIECE] * 190 + [772_608], {}),
        ([row(key="../b")], [10], {}),
        ([row(key="/etc/passwd")], [10], {}),
        ([row(key="a//b")], [10], {}),
        ([row(key="a\\b")], [10], {}),
        ([row(key="a\nb")], [10], {}),
        ([row(key="x" * 1025)], [10], {}),
        ([row(etag="a\nX-Header: b")], [10], {}),
        ([row(etag="")], [10], {}),
        ([row(version="v" * 1025)], [10], {}),
        ([row(modified="yesterday")], [10], {}),
        ([row()], [10], {"piece": 4}),
        ([row()], [10], {"piece": 1 << 25}),
        ([row(), row()], [10], {}),
        ([row()], [10], {"place": "local:///etc"}),
        ([row()], [10], {"place": "/etc"}),
        ([row()], [10], {"place": "file://host/etc"}),
        ([row()], [10], {"place": "s3:///etc"}),
        ([row()], [10], {"place": "simplecache::s3://b"}),
        ([row()], [10], {"place": "https://user:secret@host/x"}),
        ([row()], [10], {"place": "https://host/x?token=1"}),
        ([row()], [10], {"place": "ftp://host/x"}),
        ([row()], [10], {"place": "s3://" + "b" * 3000}),
    ],
)
def test_what_cannot_be_is_refused(files, lengths, changes):
    """Whatever a hostile head says, it is refused as damage before anything is opened or allocated."""
    name, data = packed(head_of(files, **changes), footer_of(lengths))
    with pytest.raises(IntegrityError):
        parse_external(data, name)


def test_sizes_are_bounded_before_they_are_believed():
    """Claims of gigabytes, and frames that are no raw pieces, are refused."""
    head, footer = head_of([row()]), footer_of([10])
    compress = zstandard.ZstdCompressor().compress
    stored = len(compress(head)), len(compress(footer))
    for sizes in [
        (stored[0], 1 << 31, stored[1], len(footer)),
        (stored[0], len(head), stored[1], 1 << 31),
        (1 << 31, len(head), stored[1], len(footer)),
        (stored[0], len(head) + 1, stored[1], len(footer)),
    ]:
        name, data = packed(head, footer, spoil=sizes)
        with pytest.raises(IntegrityError):
            parse_external(data, name)
    name, data = packed(head, footer_of([10], stored=[9]))
    with pytest.raises(IntegrityError, match="not stored raw"):
        parse_external(data, name)


def test_damage_anywhere_is_noticed():
    """A bit that flips, a byte that is missing, another pack's bytes: never a wrong place."""
    name, data = packed(head_of([row()]), footer_of([10]))
    for at in range(len(data)):
        broken = bytearray(data)
        broken[at] ^= 4
        with pytest.raises((IntegrityError, FormatTooNew)):
            parse_external(bytes(broken), name)
    for end in range(0, len(data), 7):
        with pytest.raises(IntegrityError):
            parse_external(data[:end], name)
    with pytest.raises(IntegrityError, match="another"):
        parse_external(data, external_id(bytes(32)))


def test_later_formats_are_named_as_such():
    """A newer head or object is no damage: the reader is to be renewed."""
    name, data = packed(head_of([row()], format=2), footer_of([10]))
    with pytest.raises(FormatTooNew, match="format 2"):
        parse_external(data, name)
    name, data = packed(head_of([row()]), footer_of([10]), magic=b"DVEXTN\0\2")
    with pytest.raises(FormatTooNew, match="format 2"):
        parse_external(data, name)


def leaf_of(*extents):
    entries = [
        Entry(f"f{number}", Kind.FILE, extent.length, bytes([number]) * 32, "", (extent,))
        for number, extent in enumerate(extents)
    ]
    return entries, encode_leaf(entries)


def test_blocks_keep_packs_and_external_packs_apart():
    """A layout of both kinds comes back as it was; the tree's digest does not depend on it."""
    outside, inside, other = external_id(b"a" * 32), b"a" * 32, b"c" * 32
    extents = [Extent(outside, 8, 38, 0, 10), Extent(inside, 8, 50, 2, 7), Extent(other, 9, 50, 2, 7)]
    entries, encoded = leaf_of(*extents, Extent(outside, 46, 38, 0, 10))
    leaf = parse_block(encoded.data, encoded.digest)
    assert list(leaf.entries()) == entries and leaf.packs() == {outside, inside, other}
    assert [leaf.is_outside(number) for number in range(4)] == [True, False, False, True]
    assert leaf.outside() == {(outside, 8, 10), (outside, 46, 10)}
    plain = encode_leaf(
        [entry._replace(extents=(Extent(inside, 8, 50, 0, entry.size),)) for entry in entries]
    )
    assert plain.digest == encoded.digest
    assert (encoded.external, plain.external) == (True, False)
    assert struct.unpack_from("<Q", encoded.data, 8) == (2,)
    _, layout, _ = unpack_block(encoded.data, encoded.digest, None)
    assert (
        struct.unpack_from("<II", layout) == (3 | 1 << 31, 1)
        and layout[8 : 8 + 96] == inside + other + b"a" * 32
    )


def test_a_reader_that_knows_no_external_packs_refuses_by_number():
    """What format 1 knew was flag 1; a reader of then meets flag 2 and says that it does not know it."""
    _, encoded = leaf_of(Extent(external_id(bytes(32)), 8, 38, 0, 10))
    flags = int.from_bytes(encoded.data[8:16], "little")
    assert flags & ~1 == 2
    flagless = bytearray(encoded.data)
    flagless[8] = 8
    flagless[64:72] = xxhash.xxh3_64_intdigest(bytes(flagless[:64] + flagless[72:])).to_bytes(8, "little")
    with pytest.raises(FormatTooNew, match="flags 0x8"):
        parse_block(bytes(flagless), encoded.digest)


def test_a_flag_without_external_packs_is_damage():
    """Flag 2 promises external packs, and a count of them that there are."""
    entries, _ = leaf_of(Extent(bytes(32), 8, 38, 0, 10))
    plain = encode_leaf(entries)
    flagged = bytearray(plain.data)
    flagged[8] = 2
    flagged[64:72] = xxhash.xxh3_64_intdigest(bytes(flagged[:64] + flagged[72:])).to_bytes(8, "little")
    with pytest.raises(IntegrityError, match="flags"):
        parse_block(bytes(flagged), plain.digest)


def test_ids_of_both_kinds_never_meet():
    """An external pack's id is no pack's, whatever its digest."""
    assert is_external(external_id(bytes(32))) and not is_external(bytes(32))
    with pytest.raises(InvalidInput):
        check_place("s3://b\n")
