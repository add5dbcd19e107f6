"""Selections: patterns that match paths, with the same rules everywhere, and a shard of the matches.

    train          that path from the root, and everything below it
    *.jpg          a name anywhere (a wildcard and no slash)
    train/*.jpg    from the root: `*` and `?` stay within a part
    train/**       everything below; `**/` is any number of folders
    **/labels.csv  a name anywhere
    [abc] [!abc]   one character of a set, or not of it; `[*]` is a star

A match of a folder includes everything below it. Patterns are case-sensitive. There is no escape character: a
path of a version has no backslash. A pattern that equals a path of the version selects that path, whatever
characters its name has. `./x`, `/x`, `x/` and `x//y` are spellings of `x` and `x/y`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias, runtime_checkable

from dataver.errors import InvalidInput, PathNotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Sequence

    from dataver.formats.block import Leaf
    from dataver.tree.read import Tree
    from dataver.tree.shard import Shard

__all__ = ["WHOLE", "Given", "PathText", "Selection", "literal", "path_of"]


@runtime_checkable
class PathText(Protocol):
    """A path object, such as `pathlib.Path`: `os.PathLike[str]` without `os` (invariant 7)."""

    def __fspath__(self) -> str:
        """Return the path as text."""
        ...


class Names(Protocol):
    """The paths of a tree, or of several."""

    def get(self, path: str, /) -> object:
        """Return the entry at a path, or None."""
        ...

    def is_folder(self, path: str, /) -> bool:
        """Return whether a path is a folder."""
        ...


Given: TypeAlias = str | PathText | Iterable[str | PathText]
"""One pattern or several."""

_WILD: Final = re.compile(r"[*?\[]")
_COMPILED: Final = 256  # size of the cache of regular expressions


class Selection(NamedTuple):
    """The part of a version that patterns select, and optionally a shard of it.

    Attributes:
        include: patterns; empty selects everything.
        exclude: patterns of paths to leave out again.
        shard: the shard of the selected part; None for all of it.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    shard: Shard | None = None

    @classmethod
    def of(
        cls,
        tree: Names,
        include: Given | Selection | None = None,
        exclude: Given = (),
        shard: Shard | None = None,
    ) -> Selection:
        """Return the selection of patterns in a tree, normalized, with exact paths taken literally.

        Args:
            tree: the tree that they select from.
            include: patterns; None selects everything. A selection is returned unchanged.
            exclude: patterns of paths to leave out again.
            shard: the shard of the selected part.

        Raises:
            InvalidInput: a pattern is empty or has an impossible set, or `include` has no pattern.
        """
        if isinstance(include, Selection):
            return include
        wanted = () if include is None else _several(tree, include)
        if include is not None and not wanted:
            raise InvalidInput("no path is selected.", hint="'**' means everything")
        return cls(wanted, _several(tree, exclude), shard)

    @classmethod
    def across(cls, trees: Sequence[Tree], include: Given | None = None, exclude: Given = ()) -> Selection:
        """Return the selection of patterns for several trees; each of `include` must match in one of them.

        Raises:
            InvalidInput: as for `of`.
            PathNotFound: some patterns match nothing; the message names them.
        """
        found = cls.of(_Together(trees), include, exclude)
        missing = [
            pattern for pattern in found.include if not any(_chooses(tree, pattern, None) for tree in trees)
        ]
        if missing:
            raise _nothing(missing, f"nothing in {'either' if trees[1:] else 'the'} version")
        return found

    @property
    def whole(self) -> bool:
        """Whether it selects the whole version."""
        return not self.include and not self.exclude and self.shard is None

    def matcher(self) -> Callable[[str], bool]:
        """Return a function that returns whether the patterns select a path."""
        wanted = _compile(self.include).fullmatch if self.include else lambda _: True
        if not self.exclude:
            return lambda path: wanted(path) is not None
        unwanted = _compile(self.exclude).fullmatch
        return lambda path: wanted(path) is not None and unwanted(path) is None

    def parts(self, tree: Tree) -> Iterator[tuple[Leaf, Sequence[int]]]:
        """Yield the selected part of a tree, in order: leaves, and the numbers of their entries."""
        if not self.include and not self.exclude:
            for leaf in tree.leaves():
                yield leaf, range(len(leaf))
            return
        matches = self.matcher()
        for leaf, start, stop in tree.runs(self.prefix()):
            numbers = [number for number in range(start, stop) if matches(leaf.paths[number])]
            if numbers:
                yield leaf, numbers

    def require(self, tree: Tree, kinds: Container[int] | None = None, *, where: str = "the version") -> None:
        """Check that each pattern matches something, and that the exclusions leave some of it.

        Args:
            tree: the tree that they select from.
            kinds: kinds of entries that count; None for all.
            where: description of the tree for the message.

        Raises:
            PathNotFound: some match nothing, or nothing is left; the message names the patterns.
        """
        missing = [pattern for pattern in self.include if not _chooses(tree, pattern, kinds)]
        if missing:
            raise _nothing(missing, f"{'nothing' if kinds is None else 'no file'} in {where}")
        if self.exclude and not _has(self.parts(tree), kinds):
            names = ", ".join(map(repr, self.exclude))
            raise PathNotFound(f"{names} {'exclude' if self.exclude[1:] else 'excludes'} all of {where}.")

    def prefix(self) -> str:
        """Return a text that every selected path starts with; "" if there is none."""
        starts = [_beginning(pattern) for pattern in self.include]
        if not starts:
            return ""
        first, last = min(starts), max(starts)
        most = min(len(first), len(last))
        length = next((at for at in range(most) if first[at] != last[at]), most)
        return first[:length]


class _Together:
    """The paths of several trees."""

    def __init__(self, trees: Sequence[Tree]) -> None:
        self._trees = trees

    def get(self, path: str, /) -> object:
        return next((found for tree in self._trees if (found := tree.get(path)) is not None), None)

    def is_folder(self, path: str, /) -> bool:
        return any(tree.is_folder(path) for tree in self._trees)


WHOLE: Final = Selection()
"""The whole version."""


def path_of(given: str | PathText) -> str:
    """Return the normalized spelling of a path inside a version: without `.`, and with one `/` between names.

    "" is the root.
    """
    return "/".join(part for part in _text(given).split("/") if part not in ("", "."))


def _text(given: str | PathText) -> str:
    return given if isinstance(given, str) else given.__fspath__()


def literal(path: str) -> str:
    """Return the pattern that matches exactly one path, wildcards in its name included."""
    return "/" + _WILD.sub(r"[\g<0>]", path)


def _several(tree: Names, given: Given) -> tuple[str, ...]:
    """Return patterns in order without duplicates, in a form that does not depend on the tree."""
    patterns = [given] if isinstance(given, str | PathText) else given
    return tuple(sorted({_pattern(tree, _text(pattern)) for pattern in patterns}))


def _pattern(tree: Names, given: str) -> str:
    text = path_of(given)
    if not text:
        raise InvalidInput(f"'{given}' is not a pattern.", hint="'**' means everything")
    if _WILD.search(text) is None:
        return text
    if tree.get(text) is not None or tree.is_folder(text):
        return literal(text)
    pattern = "/" + text if "/" not in text and given.startswith(("/", "./")) else text
    _compile((pattern,))  # rejects an invalid set
    return pattern


def _nothing(patterns: Iterable[str], where: str) -> PathNotFound:
    return PathNotFound(
        f"{where} matches {', '.join(map(repr, patterns))}.",
        hint="`dataver ls` lists the paths; a folder's name includes all below it",
    )


def _chooses(tree: Tree, pattern: str, kinds: Container[int] | None) -> bool:
    if kinds is None and _WILD.search(pattern) is None:
        path = path_of(pattern)
        return tree.get(path) is not None or tree.is_folder(path)
    return _has(Selection((pattern,)).parts(tree), kinds)


def _has(parts: Iterable[tuple[Leaf, Sequence[int]]], kinds: Container[int] | None) -> bool:
    """Return whether some part of a tree has an entry of these kinds."""
    return any(kinds is None or leaf.kinds[number] in kinds for leaf, numbers in parts for number in numbers)


def _anchored(pattern: str) -> bool:
    """Return whether a pattern starts at the root; otherwise it matches a name anywhere."""
    return "/" in pattern or _WILD.search(pattern) is None


def _beginning(pattern: str) -> str:
    return _WILD.split(pattern.lstrip("/"), maxsplit=1)[0] if _anchored(pattern) else ""


@lru_cache(_COMPILED)
def _compile(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{_translate(pattern)})" for pattern in patterns), re.DOTALL)


# A wildcard matches as little as possible if another follows, else as much as possible.
_LEAST: Final = {"": "", "folders": "(?:.*?/)??", "any": ".*?"}
_MOST: Final = {"": "", "folders": "(?:.*/)?", "any": ".*"}


def _translate(pattern: str) -> str:
    """Return a regular expression in which no wildcard is tried twice for the same text.

    Before another wildcard the first match is as good as any later one, since the next wildcard takes the
    text between. Atomic groups discard the later ones, so a match takes polynomial time for any pattern. `*`
    ends at a `/`, so that holds between two of them, and from one `**` to the next.
    """
    *first, (wild, last) = _segments(pattern)
    found = [f"(?>{_LEAST[each]}{_blocks(blocks)})" for each, blocks in first]
    found.append(_MOST[wild] + _blocks(last[:-1]) + (f"[^/]*{last[-1]}" if last[1:] else last[-1]))
    return "".join(found) + "(?:/.*)?"


def _segments(pattern: str) -> list[tuple[str, list[str]]]:
    """Return the pieces between `**`: the text before each, and the text between its `*`."""
    text = pattern.strip("/")
    segments: list[tuple[str, list[str]]] = [("", [""])]
    if not _anchored(pattern):
        segments.append(("folders", [""]))
    at = 0
    while at < len(text):
        if text.startswith("**/", at) and (at == 0 or text[at - 1] == "/"):
            segments.append(("folders", [""]))
            at += 3
        elif text.startswith("**", at):
            segments.append(("any", [""]))
            at += len(text) - at - len(text[at:].lstrip("*"))
        elif text[at] == "*":
            segments[-1][1].append("")
            at += 1
        else:
            part, at = _single(text, at)
            segments[-1][1][-1] += part
    return segments


def _blocks(blocks: Sequence[str]) -> str:
    return "".join(f"(?>[^/]*?{block})" if number else block for number, block in enumerate(blocks))


def _single(text: str, at: int) -> tuple[str, int]:
    """Translate the character or set at a position; return the result and the position after it."""
    character = text[at]
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
            raise InvalidInput(f"'{text}' is not a valid pattern: {error}.") from error
        return found, end + 1
    return re.escape(character), at + 1
