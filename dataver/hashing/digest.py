"""Digests name content; checksums notice damage; neither does I/O.

Two hash functions with two jobs, never mixed (design, section 4):

- BLAKE3-256 *names*. A file's or chunk's digest is plain BLAKE3, so it equals what `b3sum` prints. Tree
  blocks, pack footers and records are hashed in BLAKE3's key derivation mode, each with a context of its own,
  so that no file's bytes can pass for one of them.
- XXH3-64 *checks and spreads*: checksums of stored bytes and block boundaries of trees, where nobody attacks.
  It never names content.

Keeps invariants 1 (its half: computing what is compared) and 7 (bytes in, values out).
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


def digest(data: Buffer) -> bytes:
    """Return the BLAKE3-256 of `data`: 32 bytes, equal to what `b3sum` prints."""
    return blake3(data).digest()


def new_hasher() -> blake3:
    """Return an incremental hasher: `update(buffer)` as often as needed, then `digest()`."""
    return blake3()


def derived(context: str, data: Buffer) -> bytes:
    """Return the 32-byte BLAKE3 of `data` in key derivation mode under one of the `CONTEXT_` strings."""
    return blake3(data, derive_key_context=context).digest()


def checksum(*parts: Buffer) -> int:
    """Return the XXH3-64 (seed 0) of the parts put together, as an unsigned number."""
    if len(parts) == 1:
        return xxh3_64_intdigest(parts[0])
    state = xxh3_64()
    for part in parts:
        state.update(part)
    return state.intdigest()


def path_hash(path: bytes, level: int) -> int:
    """Return the XXH3-64 of a path with the tree level as its seed: it decides where a block ends."""
    return xxh3_64_intdigest(path, seed=level)
