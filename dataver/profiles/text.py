"""Profiles of text files: encoding and lines."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dataver.profiles.kinds import Profile, Source

__all__ = ["cheap", "clean", "encoding_of", "full"]

_HEAD: Final = 64 << 10  # bytes that a cheap profile reads
_PIECE: Final = 1 << 20
_NAME: Final = 200  # characters
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def cheap(source: Source) -> Profile:
    """Return the encoding, from the beginning of the file; and the lines of a short file."""
    return _read(source, _HEAD)


def full(source: Source) -> Profile:
    """Return the encoding and the number of lines."""
    return _read(source, source.size)


def _read(source: Source, most: int) -> Profile:
    """Decode at most `most` bytes: as their byte order mark says, else as UTF-8."""
    lines, left, last = 0, most, ""
    with source.open() as file:
        piece = file.read(min(_PIECE, left))
        encoding = encoding_of(piece)
        decoder = codecs.getincrementaldecoder(encoding)()
        try:
            while piece:
                left -= len(piece)
                text = decoder.decode(piece, final=False)
                lines, last = lines + text.count("\n"), text[-1:] or last
                piece = file.read(min(_PIECE, left))
            decoder.decode(b"", final=source.size <= most)
        except UnicodeDecodeError as error:
            return {"encoding": None, "problem": f"its bytes are not {encoding}: {error.reason}"}
    lines += last not in ("", "\n")
    found: Profile = {"encoding": encoding}
    return found | ({"lines": lines} if source.size <= most else {})


def encoding_of(head: bytes) -> str:
    """Return the encoding that the byte order mark of a text states, else UTF-8."""
    return next((name for mark, name in _MARKS if head.startswith(mark)), "utf-8")


def clean(text: str) -> str:
    """Return the beginning of a name in a file, without what UTF-8 cannot encode."""
    return text[:_NAME].encode("utf-8", "replace").decode()
