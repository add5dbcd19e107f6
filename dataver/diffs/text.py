"""Differences between text files, by line."""

import difflib
from collections import Counter
from itertools import accumulate, islice
from typing import Any, Final

from dataver.diffs.content import BytesDiff, ContentDiff, File
from dataver.printable import count
from dataver.profiles.text import encoding_of

__all__ = ["TextDiff", "compare_texts"]

LARGEST: Final = 16 << 20  # bytes of a file
_HEAD: Final = 8000  # bytes in which a binary file has a NUL, as git judges
_WORK: Final = 10_000_000  # pairs of lines that difflib may look at: some seconds


class TextDiff(ContentDiff):
    """Difference between two texts.

    Attributes:
        added: number of lines that only the new text has.
        removed: number of lines that only the old text has.
        lines: unified diff with three lines of context; empty if aligning them takes too long.
    """

    kind = "text"

    def __init__(self, old: File, new: File, olds: list[str], news: list[str]) -> None:
        before, after = Counter(olds), Counter(news)
        self.added, self.removed = (after - before).total(), (before - after).total()
        self.lines: list[str] = []
        self._aligned = _Bounded(None, olds, news).can_align()
        if self._aligned:
            one, other = (f"{each.ref}/{each.path}" for each in (old, new))
            self.lines = list(difflib.unified_diff(olds, news, one, other, lineterm=""))
            body = [line[:1] for line in islice(self.lines, 2, None)]
            self.added, self.removed = body.count("+"), body.count("-")

    def __bool__(self) -> bool:
        return True  # equal files are not compared

    def summary(self) -> str:
        """Return the numbers of lines."""
        more = "" if self._aligned else "; its lines differ or repeat too often to be aligned"
        return f"{count(self.added, 'line')} added, {self.removed:,} removed{more}"

    def values(self, limit: int | None = None) -> dict[str, Any]:  # noqa: ARG002
        """Return the numbers of lines and the whole unified diff."""
        return {"lines": {"added": self.added, "removed": self.removed}, "diff": self.lines}


class _Bounded(difflib.SequenceMatcher[str]):
    """Alignment that gives up: the work of difflib may grow with the square of the number of lines."""

    a: list[str]
    b2j: dict[str, list[int]]

    def can_align(self) -> bool:
        self._left = _WORK
        self._sums = [0, *accumulate(1 + len(self.b2j.get(line, ())) for line in self.a)]
        try:
            return bool(self.get_matching_blocks())
        except OverflowError:
            return False

    def find_longest_match(
        self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None
    ) -> difflib.Match:
        self._left -= self._sums[len(self.a) if ahi is None else ahi] - self._sums[alo]
        if self._left < 0:
            raise OverflowError
        return super().find_longest_match(alo, ahi, blo, bhi)


def compare_texts(old: File, new: File) -> TextDiff | BytesDiff:
    """Return the difference between two files by line; of binary or large files, only their sizes.

    UTF-8, or what a byte order mark states. Other bytes are kept as surrogates, so none are taken for equal.
    """
    if max(old.size, new.size) > LARGEST:
        return BytesDiff(old, new, f"larger than {LARGEST >> 20} MiB and not compared by line")
    texts = []
    for file in (old, new):
        data = file.fetch().read_bytes()
        encoding = encoding_of(data)
        wide = encoding in ("utf-16", "utf-32")
        if not wide and b"\0" in data[:_HEAD]:
            return BytesDiff(old, new, "binary, not compared")
        text = data.decode(encoding, "replace" if wide else "surrogateescape")
        *lines, last = text.split("\n")
        texts.append([*lines, f"{last} (no newline at the end)"] if last else lines)
    return TextDiff(old, new, *texts)
