"""The object of a block: its two parts compressed, after a header with their sizes and a checksum.

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

Each part is one zstd frame. A delta is zstd with the base's logical part as a raw dictionary. A base is never
a delta itself, so reading takes at most one more object.

Keeps invariants 1 (the digest covers the logical part, and is compared before either part is returned) and 7.
Sizes are bounded before anything is allocated. `dataver.formats.block` and `dataver.formats.extents` check
the contents of the parts.
"""

import struct
from collections.abc import Callable
from typing import Final, NamedTuple

from dataver.errors import FormatTooNew, IntegrityError, InvalidInput
from dataver.formats.compression import decompress_exactly, make_compressor, make_decompressor
from dataver.formats.extents import names_external
from dataver.hashing import CONTEXT_BLOCK, DIGEST_SIZE, checksum, derived
from dataver.web_page import refuse_web_page

__all__ = ["MAX_BLOCK", "Encoded", "is_external_object", "pack_block", "unpack_block"]

MAGIC: Final = b"DVTREE\x00\x01"
MAX_LOGICAL: Final = 64 << 20
MAX_LAYOUT: Final = 128 << 20
MAX_BLOCK: Final = 128 << 20  # bytes of the object
LEVEL: Final = 3  # blocks are small and read often, so compression matters more than for frames

_HEAD: Final = struct.Struct("<8sQ32sIIII")
_CHECK: Final = struct.Struct("<Q")
_HEADER_SIZE: Final = _HEAD.size + _CHECK.size
_NO_BASE: Final = bytes(DIGEST_SIZE)
_UPGRADE: Final = "install a newer dataver"
_DELTA: Final = 1
_EXTERNAL: Final = 2


class Encoded(NamedTuple):
    """An encoded block, ready to be stored."""

    digest: bytes
    data: bytes
    logical: bytes
    base: bytes | None

    @property
    def external(self) -> bool:
        """Whether the layout names external packs."""
        return is_external_object(self.data)


def pack_block(logical: bytes, layout: bytes, base: bytes | None, base_logical: bytes | None) -> Encoded:
    """Return the object of a block.

    Args:
        logical: the logical part.
        layout: the layout part; empty for inner blocks.
        base: a stored block; the logical part is stored as its delta if that halves the size.
        base_logical: that block's logical part.

    Raises:
        InvalidInput: the object is larger than readers accept.
    """
    if len(logical) > MAX_LOGICAL or len(layout) > MAX_LAYOUT:
        raise InvalidInput("a tree block would be larger than the maximum.")
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
    data = b"".join((head, check, stored, packed))
    if len(data) > MAX_BLOCK:
        raise InvalidInput("a tree block would be larger than the maximum.")
    return Encoded(digest, data, logical, used)


def is_external_object(data: bytes) -> bool:
    """Return whether a block's object has the flag of external packs. Nothing else is checked."""
    return len(data) > _HEADER_SIZE and bool(data[8] & _EXTERNAL)


def unpack_block(
    data: bytes, expect: bytes, load_base: Callable[[bytes], bytes] | None
) -> tuple[bytes, bytes, bytes | None]:
    """Return the logical part and the layout part of an object, and its base or None.

    Args:
        data: the object.
        expect: the digest that the logical part must have.
        load_base: returns the object of a block by its digest; required if this block is a delta.

    Raises:
        IntegrityError: the object is damaged or belongs to another block.
        FormatTooNew: written by a newer dataver.
    """
    logical, layout, base = _unpack(data, load_base)
    if derived(CONTEXT_BLOCK, logical) != expect:
        raise IntegrityError("it has the content of another block")
    return logical, layout, base


def _unpack(data: bytes, load_base: Callable[[bytes], bytes] | None) -> tuple[bytes, bytes, bytes | None]:
    if len(data) < _HEADER_SIZE:
        refuse_web_page(data, "it")
        raise IntegrityError("it is truncated")
    magic, flags, base, *lengths = _HEAD.unpack_from(data)
    logical_stored, logical_raw, layout_stored, layout_raw = lengths
    if magic != MAGIC:
        if magic[:7] == MAGIC[:7] and magic[7] > MAGIC[7]:
            raise FormatTooNew(f"it has format {magic[7]}, and this dataver reads {MAGIC[7]}", hint=_UPGRADE)
        refuse_web_page(data, "it")
        raise IntegrityError("it does not begin with the header of a block")
    if len(data) != _HEADER_SIZE + logical_stored + layout_stored:
        raise IntegrityError("it is truncated, or has extra bytes")
    if logical_raw > MAX_LOGICAL or layout_raw > MAX_LAYOUT or (layout_raw == 0) != (layout_stored == 0):
        raise IntegrityError("its header has a size out of range")
    body = memoryview(data)[_HEADER_SIZE:]
    if checksum(data[: _HEAD.size], body) != _CHECK.unpack_from(data, _HEAD.size)[0]:
        raise IntegrityError("its bytes do not match its checksum")
    if flags > _DELTA | _EXTERNAL:
        raise FormatTooNew(f"its flags {flags:#x} are unknown to this version", hint=_UPGRADE)
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
        raise IntegrityError(f"it is stored against block {base.hex()}, which is not available")
    logical, _, further = _unpack(load_base(base), None)
    if further is not None or derived(CONTEXT_BLOCK, logical) != base:
        raise IntegrityError(f"the block {base.hex()} cannot be a base")
    return logical
