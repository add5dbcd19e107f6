"""Profiles: objects with the profiles of many files, a line each (`docs/format.md`, "Profiles").

One zstd frame: a line with the trees for whose files they were made, then by ascending digest a line for
each file: its digest, `1` if the profile is full or `0`, and the profile as canonical JSON. An object's name
has the group, the beginnings of the first and the last digest, and the digest of its content, which is
compared before anything is used (invariant 1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import zstandard

from dataver.errors import IntegrityError
from dataver.formats.canonical_json import Fields, decode_json, encode_json
from dataver.formats.compression import decompress_exactly, make_compressor, make_decompressor
from dataver.hashing import digest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

__all__ = [
    "MAX_PROFILES",
    "MAX_TREES",
    "Lines",
    "decode_profile",
    "encode_profile",
    "encode_profiles",
    "is_profile",
    "parse_profiles",
]

Lines: TypeAlias = dict[bytes, bytes]
"""Profiles by the digest of their file, as `encode_profile` returns them."""

MAX_PROFILES: Final = 4 << 20  # bytes of content
MAX_TREES: Final = 1024
_LEVEL: Final = 3  # thumbnails do not compress, and level 9 takes 6 times as long for tables
_WHAT: Final = "the profile"


def encode_profile(profile: Mapping[str, Any]) -> bytes:
    """Return the line of a profile without its digest; of two profiles, the greater line is better.

    Raises:
        InvalidInput: a value that JSON cannot represent, or more than 1 MiB.
    """
    values = {**profile}
    return (b"1 " if values.pop("full") else b"0 ") + encode_json(values, _WHAT)


def decode_profile(line: bytes) -> dict[str, Any]:
    """Return the profile of a line; its kind, columns, rows and statistics have the documented types.

    Raises:
        IntegrityError: it is not a profile.
    """
    if line[:2] not in (b"0 ", b"1 "):
        raise IntegrityError(f"{_WHAT} does not begin with 0 or 1 and a space")
    values = decode_json(line[2:], _WHAT, canonical=False)
    _check_types(Fields(values, _WHAT))
    values.pop("full", None)
    return {"full": line[:1] == b"1", **values}


def _check_types(fields: Fields) -> None:
    """Check what readers rely on: anyone who can write to the repository can write a line."""
    fields.text("kind")
    if fields.has("rows"):
        fields.number("rows")
    for column in fields.tables("columns", most=MAX_PROFILES) if fields.has("columns") else ():
        column.text("name")
        column.text("type")
        column.value("nullable", bool)
    if fields.has("statistics"):
        document = fields.table("statistics")
        document.number("num_examples")
        document.value("partial", bool)
        for column in document.tables("statistics", most=MAX_PROFILES):
            column.text("column_name")
            column.text("column_type")
            found = column.table("column_statistics")
            found.number("nan_count")
            for label in found.value("frequencies", dict) if found.has("frequencies") else ():
                found.table("frequencies").number(label)


def is_profile(line: bytes) -> bool:
    """Return whether a line can be decoded; readers treat others as absent."""
    try:
        decode_profile(line)
    except IntegrityError:
        return False
    return True


def encode_profiles(group: str, trees: Collection[bytes], lines: Lines) -> Iterator[tuple[str, bytes]]:
    """Yield the names and the bytes of objects with profiles of files in some trees.

    Args:
        group: `tables` or `files`: profiles of tables, which are long, lie in objects of their own.
        trees: digests of the trees.
        lines: the profiles.
    """
    named = " ".join(sorted(tree.hex() for tree in trees))
    header = encode_json({"format": 1, "trees": named}, _WHAT)
    some, size = [header], len(header)
    for name in sorted(lines):
        line = b"%s %s" % (name.hex().encode(), lines[name])
        if some[1:] and size + 1 + len(line) > MAX_PROFILES:
            yield _encode(group, some)
            some, size = [header], len(header)
        some.append(line)
        size += 1 + len(line)
    if some[1:]:
        yield _encode(group, some)


def _encode(group: str, lines: list[bytes]) -> tuple[str, bytes]:
    content = b"\n".join(lines)
    ends = f"{lines[1][:8].decode()}-{lines[-1][:8].decode()}"
    return f"{group}-{ends}-{digest(content).hex()}", make_compressor(_LEVEL)(content)


def parse_profiles(data: bytes, name: str) -> tuple[set[bytes], Lines]:
    """Return the trees and the profiles of an object; its name ends with the digest of its content.

    Raises:
        IntegrityError: it is damaged, or another object.
        FormatTooNew: a newer dataver wrote it.
    """
    try:
        size = zstandard.frame_content_size(data)
        if not 0 <= size <= MAX_PROFILES:
            raise IntegrityError(f"{name} does not state a size of at most {MAX_PROFILES} bytes")
        content = decompress_exactly(data, size, make_decompressor(), name)
        if digest(content).hex() != name[-64:]:
            raise IntegrityError(f"{name} does not match its name")
        header, *lines = content.split(b"\n")
        fields = Fields(decode_json(header, name), name)
        fields.expect_format(1)
        trees = {bytes.fromhex(tree) for tree in fields.text("trees").split()}
        return trees, {bytes.fromhex(line[:64].decode()): line[65:] for line in lines}
    except (ValueError, zstandard.ZstdError) as error:
        raise IntegrityError(f"{name} cannot be read: {error}") from error
