"""A bundle: many events in one object; and an attachment: bytes too long for an event.

Both are one zstd frame that states its content size.

- A bundle's content is the canonical JSON of events, each followed by a line feed, in ascending order of
  their ids, each once. Its id is 12 hex digits of the time of its last event and 20 of the hash of
  its content; so two machines that bundle the same events make the same object.
- An attachment's content is any bytes; its name is their hash.

Keeps invariants 1 (the content is compared with its name) and 7. What decompresses to more than the limits
is refused before anything is allocated. A line that is no event, or one of a newer version, is reported and
does not spoil the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import zstandard

from dataver.errors import DataverError, IntegrityError, InvalidInput
from dataver.formats.compression import decompress_exactly, make_compressor, make_decompressor
from dataver.formats.event import Event, parse_event
from dataver.hashing.digest import CONTEXT_ATTACHMENT, CONTEXT_BUNDLE, derived

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

_LEVEL: Final = 9  # written once and read by everybody; 3 ms for 200 KB


class BundleContent(NamedTuple):
    """What a bundle holds.

    Attributes:
        events: what could be read, in the bundle's order.
        problems: one sentence a line that could not.
    """

    events: list[Event]
    problems: list[str]


def encode_bundle(events: Iterable[Event]) -> tuple[str, bytes]:
    """Return the id and the bytes of a bundle of these events; their order does not matter.

    Raises:
        InvalidInput: none, or more than a bundle may hold.
    """
    lines = {event.id: event.encode() for event in events}
    content = b"".join(lines[name] + b"\n" for name in sorted(lines))
    if not 0 < len(lines) <= MAX_BUNDLED or len(content) > MAX_BUNDLE:
        raise InvalidInput(f"a bundle cannot hold {len(lines)} events of {len(content)} bytes")
    return max(lines)[:12] + _proof(content), make_compressor(_LEVEL)(content)


def parse_bundle(data: bytes, bundle_id: str) -> BundleContent:
    """Return what is in a bundle.

    Raises:
        IntegrityError: not a bundle, or not the one of that id.
    """
    content = _content(data, MAX_BUNDLE, "the bundle")
    if _proof(content) != bundle_id[12:]:
        raise IntegrityError("the bundle holds other events than its name says")
    lines = content.split(b"\n")
    if lines.pop() or not 0 < len(lines) <= MAX_BUNDLED:
        raise IntegrityError("the bundle is not made of events, one a line")
    found = BundleContent([], [])
    for number, line in enumerate(lines, 1):
        try:
            found.events.append(parse_event(line))
        except DataverError as error:
            found.problems.append(f"line {number}: {error.message}")
    return found


def encode_attachment(raw: bytes) -> bytes:
    """Return the bytes of the object that holds `raw`.

    Raises:
        InvalidInput: it is longer than 16 MiB.
    """
    if len(raw) > MAX_ATTACHMENT:
        raise InvalidInput(f"an attachment of {len(raw)} bytes is too long; {MAX_ATTACHMENT} is the most")
    return make_compressor(_LEVEL)(raw)


def attachment_digest(raw: bytes) -> str:
    """Return the name of an attachment: 64 hex digits."""
    return derived(CONTEXT_ATTACHMENT, raw).hex()


def parse_attachment(data: bytes, digest: str) -> bytes:
    """Return what an attachment holds.

    Raises:
        IntegrityError: not an attachment, or another one.
    """
    raw = _content(data, MAX_ATTACHMENT, "the attachment")
    if attachment_digest(raw) != digest:
        raise IntegrityError("the attachment holds other bytes than its name says")
    return raw


def _content(data: bytes, most: int, what: str) -> bytes:
    try:
        size = zstandard.frame_content_size(data)
    except zstandard.ZstdError as error:
        raise IntegrityError(f"{what} cannot be decompressed: {error}") from error
    if not 0 <= size <= most:
        raise IntegrityError(f"{what} does not state a size of at most {most} bytes")
    return decompress_exactly(data, size, make_decompressor(), what)


def _proof(content: bytes) -> str:
    return derived(CONTEXT_BUNDLE, content).hex()[:20]
