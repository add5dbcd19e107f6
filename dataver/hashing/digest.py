"""Digests, which name content, and checksums, which detect accidental damage. No I/O.

Two hash functions with separate purposes, never mixed (design, section 4):

- BLAKE3-256 *names*. A file's or chunk's digest is plain BLAKE3, the same that `b3sum` prints. Tree blocks,
  pack footers and records are hashed in BLAKE3's key derivation mode, each with its own context, so that no
  file's bytes have the name of one of them.
- XXH3-64 *checks and distributes*: checksums of stored bytes and block boundaries of trees, which need no
  protection against attackers. It never names content.

Keeps invariants 1 (its half: computing the values that are compared) and 7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from blake3 import blake3
from xxhash import xxh3_64, xxh3_64_intdigest

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "CONTEXT_ATTACHMENT",
    "CONTEXT_BLOCK",
    "CONTEXT_BUNDLE",
    "CONTEXT_EXTERNAL",
    "CONTEXT_LINK",
    "CONTEXT_PACK",
    "CONTEXT_RECORD",
    "CONTEXT_RUN",
    "CONTEXT_STATE",
    "DIGEST_SIZE",
    "checksum",
    "derived",
    "digest",
    "new_hasher",
    "path_hash",
]

DIGEST_SIZE: Final = 32

CONTEXT_BLOCK: Final = "dataver 1 tree block"
CONTEXT_PACK: Final = "dataver 1 pack footer"
CONTEXT_EXTERNAL: Final = "dataver 1 external pack"
CONTEXT_RECORD: Final = "dataver 1 record"
CONTEXT_RUN: Final = "dataver 1 run key"
CONTEXT_LINK: Final = "dataver 1 lineage link"
CONTEXT_ATTACHMENT: Final = "dataver 1 lineage attachment"
CONTEXT_BUNDLE: Final = "dataver 1 lineage bundle"
CONTEXT_STATE: Final = "dataver 1 state of a dataset"


def digest(data: Buffer) -> bytes:
    """Return the BLAKE3-256 of `data`: 32 bytes, equal to what `b3sum` prints."""
    return blake3(data).digest()


def new_hasher(*, parallel: bool = False) -> blake3:
    """Return an incremental hasher: call `update(buffer)` as often as needed, then `digest()`.

    Args:
        parallel: use all cores; worthwhile for buffers of at least a megabyte.
    """
    return blake3(max_threads=blake3.AUTO) if parallel else blake3()


def derived(context: str, data: Buffer) -> bytes:
    """Return the 32-byte BLAKE3 of `data` in key derivation mode under one of the `CONTEXT_` strings."""
    return blake3(data, derive_key_context=context).digest()


def checksum(*parts: Buffer) -> int:
    """Return the XXH3-64 (seed 0) of the concatenated parts, as an unsigned number."""
    if len(parts) == 1:
        return xxh3_64_intdigest(parts[0])
    state = xxh3_64()
    for part in parts:
        state.update(part)
    return state.intdigest()


def path_hash(path: bytes, level: int) -> int:
    """Return the XXH3-64 of a path with the tree level as its seed; it determines where a block ends."""
    return xxh3_64_intdigest(path, seed=level)
