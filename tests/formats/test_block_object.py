"""Objects of blocks: both parts come back, and nothing else gets through."""

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataver.errors import FormatTooNew, IntegrityError, InvalidInput
from dataver.formats import block_object
from dataver.formats.block_object import pack_block, unpack_block
from dataver.hashing import checksum

LOGICAL = random.Random(1).randbytes(5000)
OTHER = LOGICAL[:2000] + b"changed" + LOGICAL[2000:]


def forged(data, **fields):
    """Return an object with other values in its header, under a right checksum."""
    names = ("magic", "flags", "base", "logical_stored", "logical_raw", "layout_stored", "layout_raw")
    head = struct.Struct("<8sQ32sIIII")
    values = dict(zip(names, head.unpack_from(data), strict=True)) | fields
    new, body = head.pack(*values.values()), data[head.size + 8 :]
    return new + checksum(new, body).to_bytes(8, "little") + body


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_both_parts_come_back(logical, layout):
    """Whatever they hold; the digest is of the logical part alone."""
    packed = pack_block(logical, layout, None, None)
    assert unpack_block(packed.data, packed.digest, None) == (logical, layout, None)
    assert packed.digest == pack_block(logical, b"", None, None).digest


def test_a_delta_comes_back_through_its_base():
    """It takes less than half, and says what it is against."""
    base = pack_block(LOGICAL, b"", None, None)
    delta = pack_block(OTHER, b"layout", base.digest, base.logical)
    assert delta.base == base.digest
    assert 2 * len(delta.data) < len(base.data)
    objects = {base.digest: base.data}
    assert unpack_block(delta.data, delta.digest, objects.__getitem__) == (OTHER, b"layout", base.digest)


def test_an_unrelated_base_is_not_used():
    """A delta is only worth a second read where it at least halves the block."""
    base = pack_block(random.Random(2).randbytes(5000), b"", None, None)
    assert pack_block(LOGICAL, b"", base.digest, base.logical).base is None


def test_a_block_is_never_its_own_base():
    """An edit that undoes another gives the old block again, which must stay readable."""
    block = pack_block(LOGICAL, b"", None, None)
    assert pack_block(LOGICAL, b"", block.digest, block.logical).base is None


def test_a_base_may_not_be_a_delta():
    """Chains of deltas are refused, as are bases that are missing or another block."""
    first = pack_block(LOGICAL, b"", None, None)
    second = pack_block(OTHER, b"", first.digest, first.logical)
    third = pack_block(OTHER + b"more", b"", second.digest, second.logical)
    assert second.base
    assert third.base
    objects = {block.digest: block.data for block in (first, second)}
    for load in (objects.__getitem__, None, lambda _: first.data):
        with pytest.raises(IntegrityError, match="block"):
            unpack_block(third.data, third.digest, load)


def test_another_digest_is_refused():
    """An object under a wrong name is no block of that name (invariant 1)."""
    packed = pack_block(LOGICAL, b"", None, None)
    with pytest.raises(IntegrityError, match="another block"):
        unpack_block(packed.data, bytes(32), None)


def test_every_flipped_bit_and_every_cut_is_noticed():
    """No single damaged bit of an object gets through, and no shorter or longer one."""
    packed = pack_block(b"some logical part", b"some layout", None, None)
    for position in range(8 * len(packed.data)):
        damaged = bytearray(packed.data)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises((IntegrityError, FormatTooNew)):
            unpack_block(bytes(damaged), packed.digest, None)
    for length in range(len(packed.data)):
        with pytest.raises(IntegrityError):
            unpack_block(packed.data[:length], packed.digest, None)
    with pytest.raises(IntegrityError):
        unpack_block(packed.data + b"x", packed.digest, None)


@pytest.mark.parametrize(
    "fields",
    [
        {"logical_raw": (64 << 20) + 1},
        {"layout_raw": (128 << 20) + 1},
        {"layout_raw": 0},
        {"logical_raw": 5001},
        {"layout_raw": 7},
        {"base": bytes([1] * 32)},
        {"flags": 1},
    ],
    ids=str,
)
def test_headers_that_cannot_be_are_refused(fields):
    """Sizes and flags are held against limits and each other, however right the checksum is."""
    packed = pack_block(LOGICAL, b"layout", None, None)
    with pytest.raises(IntegrityError):
        unpack_block(forged(packed.data, **fields), packed.digest, None)


def test_newer_formats_are_named_as_such():
    """A later format or an unknown flag is no damage: the reader is to be renewed."""
    packed = pack_block(LOGICAL, b"", None, None)
    with pytest.raises(FormatTooNew, match="format 2"):
        unpack_block(forged(packed.data, magic=b"DVTREE\0\2"), packed.digest, None)
    with pytest.raises(FormatTooNew, match="flags"):
        unpack_block(forged(packed.data, flags=4), packed.digest, None)


def test_parts_that_no_reader_accepts_are_not_written():
    """The limit of the logical part holds for writers, too."""
    with pytest.raises(InvalidInput):
        pack_block(bytes(block_object.MAX_LOGICAL + 1), b"", None, None)
