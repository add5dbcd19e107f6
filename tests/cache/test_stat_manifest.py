"""The manifest of a cached folder: what is written is read back, and damage is noticed."""

import random

import pytest

from dataver.cache.stat_manifest import (
    Row,
    heads,
    prefixes,
    read_block,
    read_extents,
    read_rows,
    write_rows,
)
from dataver.errors import IntegrityError
from dataver.formats.entry import Extent, external_id

_NOISE = random.Random(4)
_PACKS = [_NOISE.randbytes(32), external_id(_NOISE.randbytes(32)), bytes(32)]


def rows(count, start=0):
    """Return rows, of which every third is large."""
    found = []
    for number in range(start, start + count):
        extents = tuple(
            Extent(pack, 1000 * number + 7 * at, 700, number % 5, 300)
            for at, pack in enumerate(_PACKS)
            if number % 3 == 0
        )
        found.append(Row(f"{number:04d} é", number % 2, number, -number, _NOISE.randbytes(32), extents))
    return found


@pytest.fixture
def blocks():
    """Two blocks; the second one ends with a link and a folder, which have no digest."""
    return [rows(50), [*rows(20, 50), Row("l", 2, 5, 9), Row("z", 3, 0, 0)]]


def test_rows_are_read_back(tmp_path, blocks):
    """All rows in order, as far as a check of the folder needs them."""
    write_rows(tmp_path / "m", blocks)
    expected = [row[:4] for block in blocks for row in block]
    assert [row[:4] for row in read_rows(tmp_path / "m")] == expected


def test_a_block_is_found_by_its_head(tmp_path, blocks):
    """The head tells digests and packs; the block has the rest, the extents by pack and offset."""
    write_rows(tmp_path / "m", blocks)
    found = list(heads(tmp_path / "m"))
    assert len(found) == 2
    for head, expected in zip(found, blocks, strict=True):
        digests = b"".join(row.digest or bytes(32) for row in expected)
        assert head.prefixes == prefixes(digests).tobytes()
        assert set(head.packs) == set(_PACKS)
        block = read_block(tmp_path / "m", head)
        assert block.paths == [row.path for row in expected]
        assert block.digests == digests
        located = read_extents(tmp_path / "m", head)
        for number, row in enumerate(expected):
            for at, extent in enumerate(row.extents):
                overlapping = located.overlapping(extent.pack, extent.offset, extent.offset + 1)
                mine = [each for each in overlapping if located.rows[each] == number]
                assert [located.positions[each] for each in mine] == [300 * at]
                assert [located.offsets[each] for each in mine] == [extent.offset]
        assert not located.overlapping(_NOISE.randbytes(32), 0, 1 << 32)
        assert not located.overlapping(_PACKS[0], located.end(_PACKS[0]), 1 << 32)


def test_a_large_block_is_split(tmp_path):
    """A leaf may have more rows than a block."""
    all_rows = [Row(f"{number:06d}", 0, 1, 1, bytes(32)) for number in range(20_000)]
    write_rows(tmp_path / "m", [all_rows, []])
    assert len(list(heads(tmp_path / "m"))) == 3
    assert [row.path for row in read_rows(tmp_path / "m")] == [row.path for row in all_rows]


def test_damage_is_noticed(tmp_path, blocks):
    """Any flipped byte is an error, and any truncation but the one between blocks."""
    path = tmp_path / "m"
    write_rows(path, blocks)
    data = path.read_bytes()
    expected = [row[:4] for block in blocks for row in block]
    ends = {head.offset + head.size for head in heads(path)} | {8}
    for at in range(0, len(data), 3):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :])
        with pytest.raises(IntegrityError):
            list(read_rows(path))
        if at not in ends:
            path.write_bytes(data[:at])
            with pytest.raises(IntegrityError):
                list(read_rows(path))
            try:
                for head in heads(path):
                    assert read_block(path, head).paths[0] in (expected[0][0], expected[50][0])
            except IntegrityError:
                pass
