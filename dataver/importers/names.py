"""Names of other tools, made valid in dataver."""

import re
from unicodedata import category, normalize

from dataver.errors import InvalidInput
from dataver.formats.names import MAX_NAME, check_dataset_name, check_tag
from dataver.hashing.digest import digest

__all__ = ["as_unicode", "dataset_name", "tag_name"]

_INVALID = re.compile(r"[^A-Za-z0-9._-]+", re.ASCII)


def dataset_name(text: str, default: str = "imported") -> str:
    """Return a valid dataset name for a name with "/" between its parts: "Cats & dogs/1" is "Cats-dogs/1".

    A part with other letters or symbols ends in digits of its digest, so that names in other scripts stay
    different.
    `default` is returned if nothing is left.
    """
    parts = [part for each in text.split("/") if (part := _part(each))]
    name = "/".join(parts)
    if len(name) > MAX_NAME:
        name = f"{name[: MAX_NAME - 9].rstrip('/')}-{_short(text)}"
    try:
        check_dataset_name(name)
    except InvalidInput:
        return f"{default}-{_short(text)}" if name else default
    return name


def tag_name(text: str) -> str | None:
    """Return a valid tag for a name of another tool, None if nothing valid is left or it is reserved."""
    name = _cleaned(text)[:MAX_NAME]
    try:
        check_tag(name)
    except InvalidInput:
        return None
    return name


def as_unicode(text: str) -> str:
    """Return text in which bytes and halves of characters that are not Unicode are escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _part(text: str) -> str:
    text = normalize("NFC", text)
    other = any(category(each)[0] in "LMNS" for each in text if not each.isascii())
    return "-".join(filter(None, (_cleaned(text), _short(text) if other else "")))


def _short(text: str) -> str:
    """Return digits that differ for different texts; the forms of Unicode do not matter."""
    return digest(as_unicode(normalize("NFC", text)).encode())[:4].hex()


def _cleaned(text: str) -> str:
    return _INVALID.sub("-", text).strip(".-")
