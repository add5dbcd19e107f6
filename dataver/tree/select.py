"""Choosing paths by patterns, the same everywhere: `fetch --paths`, `remove`, `ls`.

    train          that path from the root, and everything below it
    *.jpg          a name anywhere (a wildcard and no slash)
    train/*.jpg    from the root: `*` and `?` stay within a part
    train/**       everything below; `**/` is any number of folders
    **/labels.csv  a name anywhere
    [abc] [!abc]   one character of a set, or not of it; `[*]` is a star

Whatever matches a folder takes everything below it. Case counts. There is no escape character: a path of a
version has no backslash.
"""

import re
from collections.abc import Sequence
from typing import Final

from dataver.errors import InvalidInput

__all__ = ["Selection"]

_WILD: Final = re.compile(r"[*?\[]")


class Selection:
    """Paths that match any of some patterns and none of others.

    Raises:
        InvalidInput: a pattern is empty or has a set that cannot be.
    """

    def __init__(self, patterns: Sequence[str], exclude: Sequence[str] = ()) -> None:
        self.patterns = tuple(patterns)
        self.exclude = tuple(exclude)
        self._wanted = _compile(self.patterns)
        self._unwanted = _compile(self.exclude) if exclude else None

    def __repr__(self) -> str:
        return f"Selection({self.patterns!r}, exclude={self.exclude!r})"

    def matches(self, path: str) -> bool:
        """Tell whether a path is selected."""
        if self._wanted.fullmatch(path) is None:
            return False
        return self._unwanted is None or self._unwanted.fullmatch(path) is None

    def prefix(self) -> str:
        """Return text that every selected path starts with; "" where there is none."""
        starts = [_literal(pattern) for pattern in self.patterns]
        if not starts:
            return ""
        first, last = min(starts), max(starts)
        most = min(len(first), len(last))
        length = next((at for at in range(most) if first[at] != last[at]), most)
        return first[:length]


def _clean(pattern: str) -> tuple[str, bool]:
    """Return a pattern without what only says where it starts, and whether it starts at the root."""
    text = pattern.removeprefix("./").rstrip("/")
    anchored = "/" in text or _WILD.search(text) is None
    text = text.lstrip("/")
    if not text:
        raise InvalidInput(f"'{pattern}' is no pattern.", hint="'**' means everything")
    return text, anchored


def _literal(pattern: str) -> str:
    text, anchored = _clean(pattern)
    return _WILD.split(text, maxsplit=1)[0] if anchored else ""


def _compile(patterns: Sequence[str]) -> "re.Pattern[str]":
    translated = "|".join(f"(?:{_translate(pattern)})" for pattern in patterns)
    return re.compile(translated or r"(?!)", re.DOTALL)


def _translate(pattern: str) -> str:
    text, anchored = _clean(pattern)
    found = [] if anchored else ["(?:.*/)?"]
    at = 0
    while at < len(text):
        if text.startswith("**/", at) and (at == 0 or text[at - 1] == "/"):
            found.append("(?:.*/)?")
            at += 3
        elif text.startswith("**", at):
            found.append(".*")
            at += len(text) - at - len(text[at:].lstrip("*"))
        else:
            part, at = _single(text, at)
            found.append(part)
    return "".join(found) + "(?:/.*)?"


def _single(text: str, at: int) -> tuple[str, int]:
    """Translate what stands at a place; return that and the place behind it."""
    character = text[at]
    if character == "*":
        return "[^/]*", at + 1
    if character == "?":
        return "[^/]", at + 1
    end = text.find("]", at + 2 + text.startswith("!", at + 1))
    if character == "[" and end > 0:
        inside = text[at + 1 : end]
        negated = inside.startswith("!")
        characters = re.sub(r"[^\w-]|(?<!\w)-|-(?!\w)", r"\\\g<0>", inside[negated:])
        found = f"(?!/)[{'^' if negated else ''}{characters}]"
        try:
            re.compile(found)
        except re.error as error:
            raise InvalidInput(f"'{text}' is no pattern: {error}.") from error
        return found, end + 1
    return re.escape(character), at + 1
