"""The object of a block: its two parts compressed, behind a header that bounds and checks them.

    object:  offset | size | field          | meaning
                  0 |    8 | magic          | "DVTREE" 00 01
                  8 |    8 | flags          | bit 0: the logical part is stored as a delta; bit 1: the layout
                                             names external packs
                 16 |   32 | base           | digest of the block the delta is against; zeros without one
                 48 |    4 | logical_stored | bytes of the stored logical part
                 52 |    4 | logical_raw    | bytes of the logical part
                 56 |    4 | layout_stored  | bytes of the stored layout part, 0 for inner blocks
                 60 |    4 | layout_raw     | bytes of the layout part, 0 for inner blocks
                 64 |    8 | checksum       | XXH3-64 of bytes 0 to 63 and both stored parts
                 72 |      | the stored logical part, then the stored layout part

Each part is one zstd frame. A delta is zstd with the base's logical part as a raw dictionary; a base is never
a delta itself, so reading takes at most one more object.

Keeps invariants 1 (the digest covers the logical part, and is compared before anybody sees either) and 7.
Sizes are bounded before anything is allocated. What the parts hold is not looked at here
(`dataver.formats.block`, `dataver.formats.extents`).
"""

import struct
from collections.abc import Callable
from typing import Final, NamedTuple

from dataver.errors import FormatTooNew, IntegrityError, InvalidInput
from dataver.formats.compression import decompress_exactly, make_compressor, make_decompressor
from dataver.formats.extents import names_external
from dataver.hashing import CONTEXT_BLOCK, DIGEST_SIZE, checksum, derived

__all__ = ["Encoded", "is_external_object", "pack_block", "unpack_block"]

MAGIC: Final = b"DVTREE\x00\x01"
MAX_LOGICAL: Final = 64 << 20
MAX_LAYOUT: Final = 256 << 20  # a terabyte file edited everywhere has millions of extents
LEVEL: Final = 3  # blocks are small and read often: compression is worth more than at frames

_HEAD: Final = struct.Struct("<8sQ32sIIII")
_CHECK: Final = struct.Struct("<Q")
_HEADER_SIZE: Final = _HEAD.size + _CHECK.size
_NO_BASE: Final = bytes(DIGEST_SIZE)
_UPGRADE: Final = "install a newer dataver"
_DELTA: Final = 1
_EXTERNAL: Final = 2


class Encoded(NamedTuple):
    """A block ready to be stored."""

    digest: bytes
    data: bytes
    logical: bytes
    base: bytes | None

    @property
    def external(self) -> bool:
        """Whether its layout names external packs."""
        return is_external_object(self.data)


def pack_block(logical: bytes, layout: bytes, base: bytes | None, base_logical: bytes | None) -> Encoded:
    """Return the object of a block, ready to be stored.

    Args:
        logical: the logical part.
        layout: the layout part; empty where there is none.
        base: a block that readers will find, to store the logical part against where that halves it.
        base_logical: that block's logical part.

    Raises:
        InvalidInput: more bytes than a reader accepts.
    """
    if len(logical) > MAX_LOGICAL or len(layout) > MAX_LAYOUT:
        raise InvalidInput("a tree block would be larger than a reader accepts.")
    digest = derived(CONTEXT_BLOCK, logical)
    stored, used = make_compressor(LEVEL)(logical), None
    if base is not None and base_logical is not None and base != digest:
        delta = make_compressor(LEVEL, dictionary=base_logical)(logical)
        if 2 * len(delta) < len(stored):
            stored, used = delta, base
    packed = make_compressor(LEVEL)(layout) if layout else b""
    flags = (_DELTA if used else 0) | (_EXTERNAL if names_external(layout) else 0)
    sizes = (len(stored), len(logical), len(packed), len(layout))
    head = _HEAD.pack(MAGIC, flags, used or _NO_BASE, *sizes)
    check = _CHECK.pack(checksum(head, stored, packed))
    return Encoded(digest, b"".join((head, check, stored, packed)), logical, used)


def is_external_object(data: bytes) -> bool:
    """Tell whether the object of a block says that its layout names external packs; nothing is checked."""
    return len(data) > _HEADER_SIZE and bool(data[8] & _EXTERNAL)


def unpack_block(
    data: bytes, expect: bytes, load_base: Callable[[bytes], bytes] | None
) -> tuple[bytes, bytes, bytes | None]:
    """Return the logical part and the layout part of an object, and the block it is stored against or None.

    Args:
        data: the object.
        expect: the digest that the logical part must have.
        load_base: returns the object of another block; needed where this one is a delta.

    Raises:
        IntegrityError: damaged, or another block's.
        FormatTooNew: written by a newer dataver.
    """
    logical, layout, base = _unpack(data, load_base)
    if derived(CONTEXT_BLOCK, logical) != expect:
        raise IntegrityError("it holds another block's content")
    return logical, layout, base


def _unpack(data: bytes, load_base: Callable[[bytes], bytes] | None) -> tuple[bytes, bytes, bytes | None]:
    if len(data) < _HEADER_SIZE:
        raise IntegrityError("it is cut off")
    magic, flags, base, *lengths = _HEAD.unpack_from(data)
    logical_stored, logical_raw, layout_stored, layout_raw = lengths
    if magic != MAGIC:
        if magic[:7] == MAGIC[:7] and magic[7] > MAGIC[7]:
            raise FormatTooNew(f"it has format {magic[7]}, and this dataver reads {MAGIC[7]}", hint=_UPGRADE)
        raise IntegrityError("it begins with something else than a header")
    if len(data) != _HEADER_SIZE + logical_stored + layout_stored:
        raise IntegrityError("it is cut off, or has bytes too many")
    if logical_raw > MAX_LOGICAL or layout_raw > MAX_LAYOUT or (layout_raw == 0) != (layout_stored == 0):
        raise IntegrityError("it claims a size that cannot be")
    body = memoryview(data)[_HEADER_SIZE:]
    if checksum(data[: _HEAD.size], body) != _CHECK.unpack_from(data, _HEAD.size)[0]:
        raise IntegrityError("its bytes do not match its checksum")
    if flags > _DELTA | _EXTERNAL:
        raise FormatTooNew(f"its flags {flags:#x} are not known to this dataver", hint=_UPGRADE)
    delta = bool(flags & _DELTA)
    if delta == (base == _NO_BASE):
        raise IntegrityError("its flags and its base disagree")
    dictionary = _base_logical(base, load_base) if delta else None
    logical = decompress_exactly(
        body[:logical_stored], logical_raw, make_decompressor(dictionary=dictionary), "its logical part"
    )
    layout = b""
    if layout_stored:
        layout = decompress_exactly(body[logical_stored:], layout_raw, make_decompressor(), "its layout part")
    if flags & _EXTERNAL and not names_external(layout):
        raise IntegrityError("its flags and its layout disagree")
    return logical, layout, base if delta else None


def _base_logical(base: bytes, load_base: Callable[[bytes], bytes] | None) -> bytes:
    if load_base is None:
        raise IntegrityError(f"it is stored against block {base.hex()}, which is not at hand")
    logical, _, further = _unpack(load_base(base), None)
    if further is not None or derived(CONTEXT_BLOCK, logical) != base:
        raise IntegrityError(f"the block {base.hex()} cannot be another's base")
    return logical
