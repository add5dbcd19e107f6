"""Strict JSON: one encoding of each value, and a reader that checks everything.

Canonical means: UTF-8, keys sorted, no spaces, no unnecessary escapes, numbers as in Python's `repr`. So the
value determines the bytes, and an object's hash identifies the value.

Keeps invariant 7. Readers bound size and depth, and refuse duplicate keys, NaN and infinities, numbers beyond
64 bits and text that is not Unicode. Unknown keys are ignored, so that later versions may add keys without a
new format number.

An object has `checksum`: 16 hex digits, the XXH3-64 of its canonical bytes without that key. Objects of
format 1 may lack it. It detects accidental damage; hashes that name the object detect deliberate changes.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Never

from dataver.errors import FormatTooNew, IntegrityError, InvalidInput
from dataver.hashing.digest import checksum
from dataver.web_page import refuse_web_page

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "MAX_DEPTH",
    "MAX_JSON",
    "Fields",
    "decode_json",
    "encode_checked",
    "encode_json",
    "format_time",
    "is_hex",
]

MAX_JSON: Final = 1 << 20
MAX_DEPTH: Final = 32
MAX_NUMBER: Final = (1 << 63) - 1
SUMMED: Final = 2  # lowest format number whose objects must have a checksum

_HEX: Final = re.compile(r"[0-9a-f]+")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)


def encode_json(value: dict[str, Any], what: str) -> bytes:
    """Return the canonical bytes of a JSON object; `what` names it in errors.

    Raises:
        InvalidInput: a value that JSON cannot represent, or more than 1 MiB.
    """
    _check_value(value, what)
    try:
        data = _dump(value)
    except ValueError as error:  # NaN, infinities, lone surrogates
        raise InvalidInput(f"{what} has a value that JSON cannot represent: {error}") from error
    if len(data) > MAX_JSON:
        raise InvalidInput(f"{what} takes {len(data)} bytes; the limit is {MAX_JSON}")
    return data


def encode_checked(
    values: dict[str, Any], what: str, read: Callable[[Fields], object], *, summed: bool = True
) -> bytes:
    """Return the canonical bytes of a JSON object, after parsing it with `read`.

    Args:
        values: the object.
        what: names the object in errors.
        read: parses the object and rejects invalid fields.
        summed: add a checksum; unnecessary if the surrounding bytes have one.

    Raises:
        InvalidInput: a value that JSON cannot represent, or that `read` rejects.
    """
    data = encode_json(values, what)
    if summed:
        values = values | {"checksum": f"{checksum(data):016x}"}
        data = encode_json(values, what)
    try:
        read(Fields(values, what))
    except IntegrityError as error:
        raise InvalidInput(error.message) from error
    return data


def decode_json(data: bytes, what: str, *, canonical: bool = True) -> dict[str, Any]:
    """Return the JSON object in `data`.

    Args:
        data: the bytes.
        what: names the object in errors.
        canonical: reject bytes that `encode_json` would not have written.

    Raises:
        IntegrityError: not exactly one strict JSON object.
    """
    if len(data) > MAX_JSON:
        raise IntegrityError(f"{what} takes {len(data)} bytes; the limit is {MAX_JSON}")
    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_int=_whole
        )
    except (ValueError, RecursionError) as error:
        refuse_web_page(data, what)
        raise IntegrityError(f"{what} is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise IntegrityError(f"{what} is not a JSON object")
    try:
        _check_value(value, what)
        again = _dump(value)
    except ValueError as error:
        raise IntegrityError(f"{what} is not strict JSON: {error}") from error
    if canonical and again != data:
        raise IntegrityError(f"{what} is not in canonical form")
    return value


class Fields:
    """Typed access to a decoded object; a value of the wrong type or form raises IntegrityError."""

    __slots__ = ("_values", "what")

    def __init__(self, values: dict[str, Any], what: str) -> None:
        self._values = values
        self.what = what

    def expect_format(self, known: int) -> None:
        """Reject an object whose `format` is above `known`, or that does not match its checksum."""
        found = self.number("format", least=1)
        if found > known:
            raise FormatTooNew(
                f"{self.what} has format {found}; this version of dataver knows formats up to {known}",
                hint="install a newer dataver",
            )
        if found >= SUMMED or self.has("checksum"):
            rest = {name: value for name, value in self._values.items() if name != "checksum"}
            if self.hex("checksum", 16) != f"{checksum(_dump(rest)):016x}":
                raise IntegrityError(f"{self.what} does not match its checksum")

    def value(self, name: str, kind: type) -> Any:
        """Return a value of exactly the type `kind`."""
        value = self._values.get(name)
        if type(value) is not kind:
            raise IntegrityError(f"{self.what}: {name!r} is missing or not a {_KINDS[kind]}")
        return value

    def number(self, name: str, *, least: int = 0) -> int:
        """Return a whole number that is at least `least`."""
        value: int = self.value(name, int)
        if value < least:
            raise IntegrityError(f"{self.what}: {name!r} is {value}, below {least}")
        return value

    def text(self, name: str) -> str:
        """Return a string."""
        text: str = self.value(name, str)
        return text

    def optional_text(self, name: str) -> str | None:
        """Return a string, or None if it is null."""
        return None if self.is_null(name) else self.text(name)

    def has(self, name: str) -> bool:
        """Return whether the key exists; its value may be null."""
        return name in self._values

    def is_null(self, name: str) -> bool:
        """Return whether the key exists and its value is null."""
        return name in self._values and self._values[name] is None

    def hex(self, name: str, digits: int) -> str:
        """Return a string of exactly `digits` lower-case hexadecimal digits."""
        text = self.text(name)
        if not is_hex(text, digits):
            raise IntegrityError(f"{self.what}: {name!r} is not {digits} hexadecimal digits")
        return text

    def time(self, name: str) -> datetime:
        """Return a time as an aware UTC datetime."""
        text = self.text(name)
        if _TIME.fullmatch(text):
            try:
                return datetime.fromisoformat(text)
            except ValueError:
                pass  # such as a 13th month: reported below
        raise IntegrityError(f"{self.what}: {name!r} is not a time in UTC")

    def table(self, name: str) -> Fields:
        """Return a nested object."""
        return Fields(self.value(name, dict), f"{self.what}: {name!r}")

    def tables(self, name: str, *, most: int) -> list[Fields]:
        """Return a list of at most `most` objects."""
        items: list[Any] = self.value(name, list)
        if len(items) > most or not all(type(item) is dict for item in items):
            raise IntegrityError(f"{self.what}: {name!r} is not a list of up to {most} objects")
        return [Fields(item, f"{self.what}: {name!r}") for item in items]


def format_time(moment: datetime, what: str) -> str:
    """Return an aware time as UTC text with microseconds, the form of all formats.

    Raises:
        InvalidInput: the time has no time zone.
    """
    if moment.tzinfo is None:
        raise InvalidInput(f"{what}: the time {moment} has no time zone")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def is_hex(text: str, digits: int) -> bool:
    """Return whether `text` is exactly `digits` lower-case hexadecimal digits."""
    return len(text) == digits and _HEX.fullmatch(text) is not None


_KINDS: Final = {int: "whole number", str: "text", dict: "JSON object", list: "list", bool: "true or false"}


def _dump(value: dict[str, Any]) -> bytes:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return text.encode("utf-8")


def _check_value(value: object, what: str) -> None:
    """Check without recursion that JSON, or a bounded reader, returns the value unchanged."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise InvalidInput(f"{what} is nested more than {MAX_DEPTH} levels deep")
        below: list[object] = []
        for item in level:
            if type(item) is dict:
                if not all(type(key) is str for key in item):
                    raise InvalidInput(f"{what} has a key that is not text")
                below.extend(item.values())
            elif type(item) is list:
                below.extend(item)
            elif type(item) is int:
                if abs(item) > MAX_NUMBER:
                    raise InvalidInput(f"{what} holds a whole number beyond 64 bits")
            elif item is not None and type(item) not in (str, float, bool):
                raise InvalidInput(f"{what} has a {type(item).__name__}, which JSON cannot represent")
        level = below


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key appears twice")
    return values


def _whole(text: str) -> int:
    if len(text) > 20:
        raise ValueError("a whole number beyond 64 bits")
    return int(text)


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"{name} is not a JSON value")
