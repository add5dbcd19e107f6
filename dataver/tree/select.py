"""Choosing paths by patterns, the same everywhere: `fetch --paths`, `remove`, `ls`.

    *.jpg          a name anywhere (no slash in the pattern)
    train/*.jpg    from the root: `*` and `?` stay within a part
    train/**       everything below; `**/` is any number of folders
    train          that path and everything below it
    [abc] [!abc]   one character of a set
"""

import re
from collections.abc import Sequence

from dataver.errors import InvalidInput

__all__ = ["Selection"]


class Selection:
    """Paths that match any of some patterns and none of others."""

    def __init__(self, patterns: Sequence[str], exclude: Sequence[str] = ()) -> None:
        self.patterns = tuple(patterns)
        self.exclude = tuple(exclude)
        self._wanted = _compile(self.patterns)
        self._unwanted = _compile(self.exclude) if exclude else None

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
        length = next((n for n, (one, two) in enumerate(zip(first, last, strict=False)) if one != two), len(first))
        return first[: min(length, len(last))]


def _compile(patterns: Sequence[str]) -> "re.Pattern[str]":
    return re.compile("|".join(f"(?:{_translate(pattern)})" for pattern in patterns) or r"(?!)", re.DOTALL)


def _literal(pattern: str) -> str:
    pattern = pattern.rstrip("/")
    if "/" not in pattern:
        return ""
    return re.split(r"[*?\[]", pattern.lstrip("/"), maxsplit=1)[0]


def _translate(pattern: str) -> str:
    text = pattern.rstrip("/")
    if not text:
        raise InvalidInput(f"'{pattern}' is no pattern.", hint="'**' means everything")
    anchored = "/" in text
    text = text.lstrip("/")
    found = [] if anchored or text == "**" else ["(?:.*/)?"]
    at = 0
    while at < len(text):
        if text.startswith("**/", at) and (at == 0 or text[at - 1] == "/"):
            found.append("(?:.*/)?")
            at += 3
        elif text.startswith("**", at):
            found.append(".*")
            at += 2
        else:
            part, at = _single(text, at)
            found.append(part)
    return "".join(found) + "(?:/.*)?"


def _single(text: str, at: int) -> tuple[str, int]:
    character = text[at]
    if character == "*":
        return "[^/]*", at + 1
    if character == "?":
        return "[^/]", at + 1
    end = text.find("]", at + 2)
    if character == "[" and end > 0:
        inside = text[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
        inside = "^/" + inside[1:] if inside.startswith("!") else inside
        try:
            re.compile(f"[{inside}]")
        except re.error as error:
            raise InvalidInput(f"'{text}' is no pattern: {error}.") from error
        return f"[{inside}]", end + 1
    return re.escape(character), at + 1
