"""Parsing of requests: ranges, conditions and the requested form. No I/O.

After RFC 9110 (HTTP Semantics): ranges of section 14, conditions of section 13, with strong entity tags only.
An invalid header is ignored, as the RFC requires, and so are several ranges, as it permits.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import format_datetime, parsedate_to_datetime
from ipaddress import ip_address
from typing import Final, NamedTuple, Protocol
from urllib.parse import parse_qs, unquote_to_bytes

__all__ = [
    "Headers",
    "RequestTarget",
    "Span",
    "Stamp",
    "host_of",
    "is_address",
    "parse_target",
    "span_of",
    "split_authority",
    "wants_json",
]

_RANGE: Final = re.compile(r"[ \t,]*(\d*)-(\d*)[ \t,]*", re.ASCII)
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]/?#@\s]+)(?::\d*)?")
_ABSOLUTE: Final = re.compile(r"https?://([^/?]*)", re.IGNORECASE)


class Headers(Protocol):
    """The headers of a request, by name."""

    def get(self, name: str, /) -> str | None:
        """Return the value of a header, or None."""


class RequestTarget(NamedTuple):
    """Target of a request.

    Attributes:
        path: decoded, without slashes at the ends; None if it is not a valid path.
        folder: whether it ended with a slash.
        query: the values after the `?`.
    """

    path: str | None
    folder: bool
    query: Mapping[str, list[str]]


class Span(NamedTuple):
    """Bytes `start` to before `stop` of a file."""

    start: int
    stop: int


class Stamp(NamedTuple):
    """Validators of a response.

    Attributes:
        tag: the entity tag, in its quotes.
        modified: the time of creation; None if the content at the address may change.
    """

    tag: str
    modified: datetime | None

    @property
    def date(self) -> str | None:
        """The time in HTTP's format."""
        return None if self.modified is None else format_datetime(self.modified, usegmt=True)

    def unchanged(self, headers: Headers) -> bool:
        """Return whether the client has this content already (304).

        Times must be equal: another repository may be served under this address later, and its files need
        not be newer.
        """
        if (tags := headers.get("If-None-Match")) is not None:
            return _names(tags.replace("W/", ""), self.tag)
        return self._compare(headers.get("If-Modified-Since")) == 0

    def refused(self, headers: Headers) -> bool:
        """Return whether a precondition of the client fails (412)."""
        if (tags := headers.get("If-Match")) is not None:
            return not _names(tags, self.tag)
        return self._compare(headers.get("If-Unmodified-Since")) == 1

    def ranges_hold(self, headers: Headers) -> bool:
        """Return whether ranges may be sent: the client has a part of the same content."""
        condition = headers.get("If-Range")
        return condition is None or condition.strip() == self.tag or self._compare(condition) == 0

    def _compare(self, text: str | None) -> int | None:
        """Return whether this is as old as a time in a header (0), newer (1) or older (-1); None: unknown."""
        if text is None or self.modified is None:
            return None
        try:
            given, own = parsedate_to_datetime(text), self.modified.replace(microsecond=0)
            return (own > given) - (own < given)
        except (TypeError, ValueError):
            return None


def span_of(header: str | None, size: int) -> Span | None:
    """Return the requested range of a file; None: the whole file; empty: it is not satisfiable (416)."""
    unit, equals, rest = (header or "").partition("=")
    match = _RANGE.fullmatch(rest) if equals and unit.strip().lower() == "bytes" else None
    if match is None or not (match[1] or match[2]) or max(map(len, match.groups())) > 20:
        return None
    first, last = match[1], match[2]
    if first and last and int(first) > int(last):
        return None
    if not first:
        return Span(max(0, size - int(last)), size)
    start = min(int(first), size)
    return Span(start, min(int(last) + 1, size) if last else size)


def split_authority(target: str) -> tuple[str | None, str]:
    """Return the host that a request line names, as in a request to a proxy, or None; and the rest."""
    absolute = _ABSOLUTE.match(target)
    if absolute is None:
        return None, target
    rest = target[absolute.end() :]
    return absolute[1], rest if rest.startswith("/") else f"/{rest}"


def parse_target(target: str) -> RequestTarget:
    """Parse the target of a request line, without an authority."""
    raw, _, query = target.partition("?")
    values = parse_qs(query, max_num_fields=20) if query.count("&") < 20 else {}
    folder = raw.endswith("/")
    inner = raw[1:-1] if folder else raw[1:]
    try:
        path = unquote_to_bytes(inner).decode("utf-8")
    except UnicodeDecodeError:
        return RequestTarget(None, folder, values)
    parts = path.split("/") if path else []
    if not raw.startswith("/") or "\0" in path or any(part in ("", ".", "..") for part in parts):
        return RequestTarget(None, folder, values)
    return RequestTarget(path, folder, values)


def wants_json(target: RequestTarget, accepted: str | None) -> bool:
    """Return whether a listing is requested as JSON instead of a page."""
    if "format" in target.query:
        return target.query["format"][-1] == "json"
    return "json" in (accepted or "") and "text/html" not in (accepted or "")


def host_of(header: str) -> str | None:
    """Return the host of a `Host` header, without its port; None if there is none."""
    match = _HOST.fullmatch(header.strip())
    return None if match is None else match[1].strip("[]").lower()


def is_address(host: str) -> bool:
    """Return whether a host is a numeric address, which no name server can redirect."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _names(tags: str, own: str) -> bool:
    return tags.strip() == "*" or own in [tag.strip() for tag in tags.split(",")]
