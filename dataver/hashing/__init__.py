"""Cut points and digests of bytes (invariant 7: no I/O)."""

from dataver.hashing.chunker import BUFFER_SIZE, Chunker, ChunkingParameters, chunk_stream
from dataver.hashing.digest import (
    CONTEXT_ATTACHMENT,
    CONTEXT_BLOCK,
    CONTEXT_BUNDLE,
    CONTEXT_EXTERNAL,
    CONTEXT_LINK,
    CONTEXT_PACK,
    CONTEXT_RECORD,
    CONTEXT_RUN,
    CONTEXT_STATE,
    DIGEST_SIZE,
    checksum,
    derived,
    digest,
    new_hasher,
    path_hash,
)

__all__ = [
    "BUFFER_SIZE",
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
    "Chunker",
    "ChunkingParameters",
    "checksum",
    "chunk_stream",
    "derived",
    "digest",
    "new_hasher",
    "path_hash",
]
