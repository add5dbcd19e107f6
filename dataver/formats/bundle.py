"""A bundle: many events in one object; and an attachment: bytes that are too long for an event.

Both are one zstd frame that states its content size.

- A bundle's content is the canonical JSON of events in ascending order of their ids, without duplicates, each
  followed by a line feed. Its id is 12 hex digits of the time of its last event and 20 of the hash of its
  content. So two machines that bundle the same events make the same object.
- An attachment's content is any bytes; its name is their hash.

Keeps invariants 1 (the content is compared with its name) and 7. The stated size is compared with the limit
before anything is allocated. A line that is not an event, or has a newer format, is reported and does not
affect the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import zstandard

from dataver.errors import DataverError, IntegrityError, InvalidInput
from dataver.formats.compression import decompress_exactly, make_compressor, make_decompressor
from dataver.formats.event import Event, parse_event
from dataver.hashing.digest import CONTEXT_ATTACHMENT, CONTEXT_BUNDLE, derived
from dataver.web_page import refuse_web_page

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "MAX_ATTACHMENT",
    "MAX_BUNDLE",
    "MAX_BUNDLED",
    "BundleContent",
    "attachment_digest",
    "encode_attachment",
    "encode_bundle",
    "parse_attachment",
    "parse_bundle",
]

MAX_BUNDLE: Final = 16 << 20  # bytes of content
MAX_BUNDLED: Final = 5_000  # events
MAX_ATTACHMENT: Final = 16 << 20  # bytes of content

_LEVEL: Final = 9  # written once and read often; 3 ms for 200 KB


class BundleContent(NamedTuple):
    """Parsed content of a bundle.

    Attributes:
        events: the events that could be parsed, in the bundle's order.
        problems: one sentence for each line that could not be parsed.
    """

    events: list[Event]
    problems: list[str]


def encode_bundle(events: Iterable[Event]) -> tuple[str, bytes]:
    """Return the id and the bytes of a bundle of events, given in any order.

    Raises:
        InvalidInput: no events, or more than a bundle may hold.
    """
    lines = {event.id: event.encode() for event in events}
    content = b"".join(lines[name] + b"\n" for name in sorted(lines))
    if not 0 < len(lines) <= MAX_BUNDLED or len(content) > MAX_BUNDLE:
        raise InvalidInput(f"a bundle cannot hold {len(lines)} events of {len(content)} bytes")
    return max(lines)[:12] + _proof(content), make_compressor(_LEVEL)(content)


def parse_bundle(data: bytes, bundle_id: str) -> BundleContent:
    """Return the events in a bundle.

    Raises:
        IntegrityError: not a bundle, or not the one with that id.
    """
    content = _content(data, MAX_BUNDLE, "the bundle")
    if _proof(content) != bundle_id[12:]:
        raise IntegrityError("the bundle's events do not match its name")
    lines = content.split(b"\n")
    if lines.pop() or not 0 < len(lines) <= MAX_BUNDLED:
        raise IntegrityError("the bundle does not consist of one event per line")
    found = BundleContent([], [])
    for number, line in enumerate(lines, 1):
        try:
            found.events.append(parse_event(line))
        except DataverError as error:
            found.problems.append(f"line {number}: {error.message}")
    return found


def encode_attachment(raw: bytes) -> bytes:
    """Return the object of an attachment.

    Raises:
        InvalidInput: `raw` is longer than 16 MiB.
    """
    if len(raw) > MAX_ATTACHMENT:
        raise InvalidInput(f"an attachment of {len(raw)} bytes is too long; the limit is {MAX_ATTACHMENT}")
    return make_compressor(_LEVEL)(raw)


def attachment_digest(raw: bytes) -> str:
    """Return the name of an attachment: 64 hex digits."""
    return derived(CONTEXT_ATTACHMENT, raw).hex()


def parse_attachment(data: bytes, digest: str) -> bytes:
    """Return the content of an attachment.

    Raises:
        IntegrityError: not an attachment, or another one.
    """
    raw = _content(data, MAX_ATTACHMENT, "the attachment")
    if attachment_digest(raw) != digest:
        raise IntegrityError("the attachment's bytes do not match its name")
    return raw


def _content(data: bytes, most: int, what: str) -> bytes:
    try:
        size = zstandard.frame_content_size(data)
    except zstandard.ZstdError as error:
        refuse_web_page(data, what)
        raise IntegrityError(f"{what} cannot be decompressed: {error}") from error
    if not 0 <= size <= most:
        raise IntegrityError(f"{what} does not state a size of at most {most} bytes")
    return decompress_exactly(data, size, make_decompressor(), what)


def _proof(content: bytes) -> str:
    return derived(CONTEXT_BUNDLE, content).hex()[:20]
