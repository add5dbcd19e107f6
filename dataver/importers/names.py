"""Names of other tools, made valid in dataver."""

import re

from dataver.errors import InvalidInput
from dataver.formats.names import MAX_NAME, check_dataset_name, check_tag

__all__ = ["as_unicode", "dataset_name", "tag_name"]

_INVALID = re.compile(r"[^A-Za-z0-9._-]+", re.ASCII)


def dataset_name(text: str, default: str = "imported") -> str:
    """Return a valid dataset name for a name with "/" between its parts: "Cats & dogs/1" is "Cats-dogs/1".

    `default` is returned if nothing valid is left.
    """
    parts = [part for each in text.split("/") if (part := _cleaned(each))]
    name = "/".join(parts)[:MAX_NAME].rstrip("/")
    try:
        check_dataset_name(name)
    except InvalidInput:
        return default
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


def _cleaned(text: str) -> str:
    return _INVALID.sub("-", text).strip(".-")
