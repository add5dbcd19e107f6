"""What a request asks for, from its headers: which bytes, whether it has them already, in which form; no I/O.

After RFC 9110 (HTTP Semantics): ranges of section 14, conditions of section 13, with strong entity tags only.
A header that cannot be understood is as good as none, as the RFC wants it.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import format_datetime, parsedate_to_datetime
from ipaddress import ip_address
from itertools import pairwise
from typing import Final, NamedTuple, Protocol
from urllib.parse import parse_qs, unquote_to_bytes

__all__ = [
    "Headers",
    "Span",
    "Stamp",
    "Target",
    "host_of",
    "is_address",
    "parse_target",
    "spans",
    "wants_json",
]

MAX_SPANS: Final = 64
_RANGE: Final = re.compile(r"[ \t]*(\d*)-(\d*)[ \t]*")
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]/?#@\s]+)(?::\d*)?")
_ABSOLUTE: Final = re.compile(r"https?://([^/?]*)", re.IGNORECASE)


class Headers(Protocol):
    """The headers of a request, by name."""

    def get(self, name: str, /) -> str | None:
        """Return the value of a header, or None."""


class Target(NamedTuple):
    """What is asked for.

    Attributes:
        path: decoded, without slashes at the ends; None where it cannot be a path of anything.
        folder: whether it was written with a slash at its end.
        query: the values behind the `?`.
        authority: the host, where the request line itself names it, as one to a proxy does.
    """

    path: str | None
    folder: bool
    query: Mapping[str, list[str]]
    authority: str | None = None


class Span(NamedTuple):
    """Bytes `start` to before `stop` of a file."""

    start: int
    stop: int


class Stamp(NamedTuple):
    """What a client may compare what it has with.

    Attributes:
        tag: the entity tag, in its quotes.
        modified: when it came to be; None where another content may come under the same address.
    """

    tag: str
    modified: datetime | None

    @property
    def date(self) -> str | None:
        """The time as HTTP writes it."""
        return None if self.modified is None else format_datetime(self.modified, usegmt=True)

    def unchanged(self, headers: Headers) -> bool:
        """Tell whether the client has just this already (304).

        Of times only the very same counts: another repository may be served under this address tomorrow, and
        a file of it need not be newer.
        """
        if (tags := headers.get("If-None-Match")) is not None:
            return _names(tags.replace("W/", ""), self.tag)
        return self._compare(headers.get("If-Modified-Since")) == 0

    def refused(self, headers: Headers) -> bool:
        """Tell whether the client wants only something that this is not (412)."""
        if (tags := headers.get("If-Match")) is not None:
            return not _names(tags, self.tag)
        return self._compare(headers.get("If-Unmodified-Since")) == 1

    def ranges_hold(self, headers: Headers) -> bool:
        """Tell whether ranges may be answered with ranges: what the client has a part of is this."""
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


def spans(header: str | None, size: int) -> list[Span] | None:
    """Return the ranges of a file that are asked for; None: the whole file; empty: none that it has (416).

    Too many ranges, and such as overlap, are answered with the whole file.
    """
    unit, equals, rest = (header or "").partition("=")
    if not equals or unit.strip().lower() != "bytes":
        return None
    found: list[Span] = []
    parts = [part for part in rest.split(",") if part.strip()]
    if not 1 <= len(parts) <= MAX_SPANS:
        return None
    for part in parts:
        match = _RANGE.fullmatch(part)
        if match is None or not (match[1] or match[2]) or max(map(len, match.groups())) > 20:
            return None
        first, last = match[1], match[2]
        if first and last and int(first) > int(last):
            return None
        span = (
            Span(int(first), min(int(last) + 1, size) if last else size)
            if first
            else Span(max(0, size - int(last)), size)
        )
        if span.start < span.stop:
            found.append(span)
    ordered = sorted(found)
    if any(one.stop > other.start for one, other in pairwise(ordered)):
        return None
    return found


def parse_target(target: str) -> Target:
    """Return what the target of a request line names."""
    authority = None
    if (absolute := _ABSOLUTE.match(target)) is not None:
        authority, target = absolute[1], target[absolute.end() :]
        target = target if target.startswith("/") else f"/{target}"
    raw, _, query = target.partition("?")
    values = parse_qs(query, max_num_fields=20) if query.count("&") < 20 else {}
    folder = raw.endswith("/")
    inner = raw[1:-1] if folder else raw[1:]
    try:
        path = unquote_to_bytes(inner).decode("utf-8")
    except UnicodeDecodeError:
        return Target(None, folder, values, authority)
    parts = path.split("/") if path else []
    if not raw.startswith("/") or "\0" in path or any(part in ("", ".", "..") for part in parts):
        return Target(None, folder, values, authority)
    return Target(path, folder, values, authority)


def wants_json(target: Target, accepted: str | None) -> bool:
    """Tell whether a listing is wanted as JSON rather than as a page."""
    if "format" in target.query:
        return target.query["format"][-1] == "json"
    return "json" in (accepted or "") and "text/html" not in (accepted or "")


def host_of(header: str) -> str | None:
    """Return the host that a `Host` header names, without its port; None where it names none."""
    match = _HOST.fullmatch(header.strip())
    return None if match is None else match[1].strip("[]").lower()


def is_address(host: str) -> bool:
    """Tell whether a host is a number: no name server can make that mean another machine."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _names(tags: str, own: str) -> bool:
    return tags.strip() == "*" or own in [tag.strip() for tag in tags.split(",")]
