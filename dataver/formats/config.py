"""A repository's configuration, `dataver.json`: the settings common to all writers, fixed at creation.

The idea: readers need only the format number. Writers take chunking, compression and pack size from it, so
that they find each other's chunks. JSON; unlike records it need not be canonical, since nothing is named by
its hash. Keeps invariant 7.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from dataver.errors import IntegrityError, InvalidInput
from dataver.formats.canonical_json import Fields, decode_json, encode_checked, format_time
from dataver.formats.pack import MAX_PACK_SIZE
from dataver.hashing.chunker import ChunkingParameters

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["FORMAT", "RepositoryConfig", "parse_config"]

FORMAT: Final = 2
LEAST_PACK_SIZE: Final = 1 << 20
MOST_PACK_SIZE: Final = MAX_PACK_SIZE - (20 << 20)  # leaves room for the last frame and the footer
LEVELS: Final = range(1, 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryConfig:
    """Content of `dataver.json`.

    Attributes:
        id: 32 random hex digits; identifies the repository wherever it is moved.
        created: time of creation, aware UTC.
        write_id: 32 random hex digits, by which the writer recognises its own object.
        create_if_absent: whether the store honours exclusive creation, as probed.
        chunking: parameters of the chunker.
        compression: the zstd level of frames, 1 to 19.
        pack_size: bytes of frames at which a writer closes a pack.
        format: the repository's format number.
    """

    id: str
    created: datetime
    write_id: str
    create_if_absent: bool
    chunking: ChunkingParameters = field(default_factory=ChunkingParameters)
    compression: int = 1
    pack_size: int = 32 << 20
    format: int = FORMAT

    def encode(self) -> bytes:
        """Return the bytes of `dataver.json`.

        Raises:
            InvalidInput: a value out of its range.
        """
        what = "the repository's configuration"
        values = {
            "capabilities": {"create_if_absent": self.create_if_absent},
            "chunking": self.chunking.to_dict(),
            "compression": self.compression,
            "created": format_time(self.created, what),
            "format": self.format,
            "id": self.id,
            "pack_size": self.pack_size,
            "write_id": self.write_id,
        }
        return encode_checked(values, what, _from_values)


def parse_config(data: bytes) -> RepositoryConfig:
    """Return the configuration in `data`.

    Raises:
        IntegrityError: not a repository's configuration.
        FormatTooNew: a repository of a newer format; the message names both numbers.
    """
    what = "the repository's dataver.json"
    return _from_values(Fields(decode_json(data, what, canonical=False), what))


def _from_values(fields: Fields) -> RepositoryConfig:
    fields.expect_format(FORMAT)
    level, pack_size = fields.number("compression"), fields.number("pack_size")
    if level not in LEVELS or not LEAST_PACK_SIZE <= pack_size <= MOST_PACK_SIZE:
        raise IntegrityError(f"{fields.what}: compression {level} or pack size {pack_size} is out of range")
    try:
        chunking = ChunkingParameters.from_dict(fields.value("chunking", dict))
    except InvalidInput as error:
        raise IntegrityError(f"{fields.what}: {error.message}") from error
    return RepositoryConfig(
        id=fields.hex("id", 32),
        created=fields.time("created"),
        write_id=fields.hex("write_id", 32),
        create_if_absent=fields.table("capabilities").value("create_if_absent", bool),
        chunking=chunking,
        compression=level,
        pack_size=pack_size,
        format=fields.number("format"),
    )
