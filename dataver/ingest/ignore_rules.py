"""Lists of gitignore patterns, with git's semantics.

One idea: each pattern becomes a regular expression over the bytes of a path, and a list becomes one
alternation with the last pattern first, so that the first alternative that matches decides. Git decides
folder by folder from the top and does not enter an excluded folder; callers do the same, or ask `covers`.

The rules are those of git's documentation and of its `wildmatch`. `?` and `[...]` stand for one byte, never
for `/`. `**` is special only as a whole path component. A pattern with `/` before its end applies from the
list's folder, another one to names at any depth; a trailing `/` restricts it to folders. A pattern that git
never matches (an unclosed bracket, a trailing backslash, a lone `!`) never matches here.

pathspec does not replace this: 1.1.1, applied folder by folder, differs from git for one in eight random
lists (patterns for folders match files below them, `?` stands for a character, some brackets raise).

Does no I/O.
"""

import os
import re
import string
from collections.abc import Iterable

from dataver.errors import InvalidInput

__all__ = ["IgnoreRules", "parse_ignore_file", "parse_patterns"]

_LITERAL = re.compile(rb"[^*?\[\\]*")
_NEVER = b"(?!)"
_BOM = b"\xef\xbb\xbf"
_OTHER_LINE_ENDS = re.compile("[\v\f\x1c-\x1e\x85\u2028\u2029]|\r(?!\n|$)")
_CLASSES = {
    "alnum": string.ascii_letters + string.digits,
    "alpha": string.ascii_letters,
    "blank": " \t",
    "cntrl": "".join(map(chr, (*range(32), 127))),
    "digit": string.digits,
    "graph": string.ascii_letters + string.digits + string.punctuation,
    "lower": string.ascii_lowercase,
    "print": string.ascii_letters + string.digits + string.punctuation + " ",
    "punct": string.punctuation,
    "space": " \t\n\r",
    "upper": string.ascii_uppercase,
    "xdigit": string.hexdigits,
}


class IgnoreRules:
    """A compiled list of patterns, for paths relative to the list's folder.

    Args:
        patterns: without comments, in the order of the list.
    """

    def __init__(self, patterns: Iterable[bytes]) -> None:
        rules = [rule for pattern in patterns if (rule := _translate(pattern)) is not None]
        rules.reverse()
        self._folders = _Alternation(rules)
        self._files = _Alternation([rule for rule in rules if not rule[2]])
        self._covered: tuple[str, bool] = ("", False)

    def verdict(self, path: str, *, is_folder: bool) -> bool | None:
        """Return whether the last pattern that matches a path excludes it; None if none matches."""
        return (self._folders if is_folder else self._files).match(os.fsencode(path))

    def covers(self, path: str) -> bool:
        """Return whether the list excludes a file itself or any folder above it."""
        folder = path.rpartition("/")[0]
        if folder != self._covered[0]:
            ends = [at for at, letter in enumerate(folder) if letter == "/"] + [len(folder)]
            above = any(self.verdict(folder[:end], is_folder=True) for end in ends if folder)
            self._covered = (folder, above)
        return self._covered[1] or bool(self.verdict(path, is_folder=False))


class _Alternation:
    def __init__(self, rules: list[tuple[bytes, bool, bool]]) -> None:
        self._regex = re.compile(b"|".join(b"(%b)" % rule[0] for rule in rules), re.DOTALL)
        self._excludes = [rule[1] for rule in rules]

    def match(self, path: bytes) -> bool | None:
        found = self._regex.fullmatch(path) if self._excludes else None
        return None if found is None or found.lastindex is None else self._excludes[found.lastindex - 1]


def parse_patterns(patterns: Iterable[str]) -> IgnoreRules:
    """Compile patterns given as arguments, as `git ls-files --exclude` does: no comments, nothing trimmed.

    Raises:
        InvalidInput: a pattern can never match.
    """
    encoded = [os.fsencode(pattern) for pattern in patterns]
    for pattern in encoded:
        if _translate(pattern) is None:
            raise InvalidInput(
                f"the pattern {os.fsdecode(pattern)!r} can match nothing.",
                hint="patterns are written as in .gitignore; \\ before a special character takes it as it is",
            )
    return IgnoreRules(encoded)


def parse_ignore_file(data: bytes) -> IgnoreRules:
    """Compile the lines of an ignore file.

    A file that git would silently read differently from its appearance in an editor is refused, so that no
    file it should hide is added.

    Raises:
        InvalidInput: it is not UTF-8 text, or a line contains a line end that git does not recognise.
    """
    if b"\0" in data:
        raise InvalidInput("it is not UTF-8 text (UTF-16?); save it as UTF-8.")
    patterns: list[bytes] = []
    for number, line in enumerate(data.removeprefix(_BOM).split(b"\n"), 1):
        pattern = _trimmed(line.removesuffix(b"\r"))
        if not pattern or line.startswith(b"#"):
            continue
        try:
            text = line.decode()
        except UnicodeDecodeError:
            raise InvalidInput(f"line {number} is not UTF-8; save it as UTF-8.") from None
        if _OTHER_LINE_ENDS.search(text):
            raise InvalidInput(f"line {number} contains a line end other than LF or CRLF; save it with LF.")
        patterns.append(pattern)
    return IgnoreRules(patterns)


def _trimmed(line: bytes) -> bytes:
    """Return a line without its trailing spaces, except one after a backslash."""
    bare = line.rstrip(b" ")
    escapes = len(bare) - len(bare.rstrip(b"\\"))
    return line[: len(bare) + 1] if escapes % 2 else bare


def _translate(pattern: bytes) -> tuple[bytes, bool, bool] | None:
    """Return a pattern's expression, whether it excludes, and whether it is for folders only.

    None if it can never match.
    """
    excludes = not pattern.startswith(b"!")
    body = pattern if excludes else pattern[1:]
    folders_only = body.endswith(b"/")
    body = body[:-1] if folders_only else body
    if not body:
        return None
    any_depth = b"/" not in body
    body = body.removeprefix(b"/")
    # git compares the part before the first special character separately; the rest starts a pattern
    literal = _LITERAL.match(body)
    split = literal.end() if literal else 0
    rest = _expression(body[split:], components=not any_depth)
    if rest is None:
        return None
    return (b"(?:.*/)?" if any_depth else b"") + re.escape(body[:split]) + rest, excludes, folders_only


def _expression(glob: bytes, *, components: bool) -> bytes | None:
    """Return the regular expression of a glob with `wildmatch` semantics; None if it can never match.

    Without `components` the glob is for a single name, and `**` means `*`.
    """
    parts: list[bytes] = []
    at = 0
    while at < len(glob):
        char = glob[at : at + 1]
        at += 1
        if char == b"\\":
            if at == len(glob):
                return None
            parts.append(re.escape(glob[at : at + 1]))
            at += 1
        elif char == b"?":
            parts.append(b"[^/]")
        elif char == b"[":
            bracket = _bracket(glob, at)
            if bracket is None:
                return None
            parts.append(bracket[0])
            at = bracket[1]
        elif char == b"*":
            part, at = _stars(glob, at, components=components)
            parts.append(part)
        else:
            parts.append(re.escape(char))
    return b"".join(parts)


def _stars(glob: bytes, at: int, *, components: bool) -> tuple[bytes, int]:
    """Return the expression of a run of stars whose second byte is at `at`, and the end of the run."""
    end = at
    while glob[end : end + 1] == b"*":
        end += 1
    starts = at == 1 or glob[at - 2 : at - 1] == b"/"
    ends = end == len(glob) or glob.startswith((b"/", b"\\/"), end)
    if not (components and end > at and starts and ends):
        return b"[^/]*", end
    if glob.startswith(b"/", end):
        return b"(?:.*/)?", end + 1
    return b".*", end


def _bracket(glob: bytes, at: int) -> tuple[bytes, int] | None:
    """Return the expression of the bracket whose inside begins at `at`, and its end; None if it has none."""
    negated = glob[at : at + 1] in (b"!", b"^")
    at += negated
    members = set[int]()
    previous = first = -1
    while True:
        if at >= len(glob):
            return None
        char, following = glob[at], glob[at + 1 : at + 2]
        if char == 0x5D and first >= 0:  # `]`, which is a member if it comes first
            break
        first = at
        if char == 0x5C:  # `\`
            if not following:
                return None
            at += 1
            char = glob[at]
            members.add(char)
        elif char == 0x2D and previous > 0 and following and following != b"]":  # `-`
            at += 1
            if glob[at] == 0x5C:
                at += 1
            if at >= len(glob):
                return None
            members.update(range(previous, glob[at] + 1))
            char = -1
        elif char == 0x5B and following == b":":
            end = glob.find(b"]", at + 2)
            if end < 0:
                return None
            if glob[end - 1] == 0x3A and end - 1 >= at + 2:
                named = _CLASSES.get(glob[at + 2 : end - 1].decode("latin-1"))
                if named is None:
                    return None
                members.update(named.encode())
                at, char = end, -1
            else:
                members.add(char)
        else:
            members.add(char)
        previous = char
        at += 1
    chosen = (set(range(256)) - members if negated else members) - {0x2F}
    return (b"[%b]" % b"".join(b"\\x%02x" % each for each in sorted(chosen)) if chosen else _NEVER), at + 1
