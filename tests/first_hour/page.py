"""Blocks of a Markdown page, and a session that runs them as a user types them.

The blocks of a page run in their order:

- `console`, fenced or indented by four spaces: each line that begins with `$ ` is a command, which lines with
  `> ` continue. The lines below it are its output. A `…` in them stands for any text, and a line with
  `…` alone for any lines.
- `python`: code; all blocks of a page share one process.
- with a title (```` ```python title="train.py" ````): the contents of a file, which is written.
- `text`, `toml`, `json` and the like without a title: shown, not run.

`<!-- not run: REASON -->` above a block excepts it. Lines between `<!-- first:` and `-->` are a
console block that readers do not see: it makes what the examples of a page of reference need.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

__all__ = ["Block", "Command", "blocks", "match"]

SHOWN = {"crontab", "json", "mermaid", "sql", "text", "toml"}
_FENCE = re.compile(r'```(?P<kind>\w*)(?: title="(?P<title>[^"]+)")?$')
_MARK = re.compile(r"<!-- not run: (?P<reason>.+) -->$")


@dataclass(frozen=True)
class Command:
    """A typed command line and the output shown below it."""

    text: str
    output: tuple[str, ...]
    line: int


@dataclass(frozen=True)
class Block:
    """A block of a page.

    Attributes:
        line: number of its first line in the page.
        kind: `console`, or the language of the fence.
        title: the file that it is written to, or "".
        lines: its contents.
        excepted: the reason why it is not run, or "".
    """

    line: int
    kind: str
    title: str
    lines: tuple[str, ...]
    excepted: str

    def changed(self, change: Mapping[str, str]) -> "Block":
        """Return the block with texts replaced by others."""
        text = "\n".join(self.lines)
        for old, new in change.items():
            text = text.replace(old, new)
        return replace(self, lines=tuple(text.split("\n")))

    def commands(self) -> Iterator[Command]:
        """Yield the commands of a console block."""
        starts = [n for n, line in enumerate(self.lines) if line.startswith("$ ")]
        assert starts[:1] == [0], f"line {self.line}: a console block begins with a command"
        for start, end in zip(starts, [*starts[1:], len(self.lines)], strict=True):
            last = start
            while last + 1 < end and self.lines[last + 1].startswith("> "):
                last += 1
            text = "\n".join(line[2:] for line in self.lines[start : last + 1])
            output = "\n".join(self.lines[last + 1 : end]).strip("\n")
            yield Command(text, tuple(output.splitlines()), self.line + start)


def blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page.

    Raises:
        ValueError: a block is of no known kind.
    """
    lines, reason, number = page.read_text("utf-8").splitlines(), "", 0
    while number < len(lines):
        line, begin = lines[number], number
        number += 1
        if mark := _MARK.match(line):
            reason = mark["reason"]
        elif line == "<!-- first:":
            number = lines.index("-->", number) + 1
            yield Block(begin + 2, "console", "", tuple(lines[begin + 1 : number - 1]), "")
        elif fence := _FENCE.match(line):
            number = lines.index("```", number) + 1
            kind, title = fence["kind"], fence["title"] or ""
            yield _known(page, Block(begin + 2, kind, title, tuple(lines[begin + 1 : number - 1]), reason))
            reason = ""
        elif line.startswith("    "):
            while number < len(lines) and (lines[number].startswith("    ") or not lines[number]):
                number += 1
            code = [each[4:] for each in lines[begin:number]]
            while not code[-1]:
                code.pop()
            kind = "console" if code[0].startswith("$ ") else ""
            yield _known(page, Block(begin + 1, kind, "", tuple(code), reason))
            reason = ""
        elif line:
            reason = ""


def match(shown: Sequence[str], output: Sequence[str]) -> list[tuple[str, str]] | None:
    """Return the pairs of shown and printed lines, or None if they differ.

    They may differ in ids, times and speeds, and in sizes by a tenth.
    """
    if not shown:
        return None if output else []
    if shown[0] == "…":
        rest = (match(shown[1:], output[n:]) for n in range(len(output) + 1))
        return next((pairs for pairs in rest if pairs is not None), None)
    if not output or not _same(_tokens(shown[0]), _tokens(output[0])):
        return None
    rest_of_it = match(shown[1:], output[1:])
    return None if rest_of_it is None else [(shown[0], output[0]), *rest_of_it]


def _known(page: Path, block: Block) -> Block:
    if not (block.excepted or block.title or block.kind in SHOWN | {"console", "python"}):
        raise ValueError(f"{page.name}:{block.line}: a block that is neither run nor excepted")
    return block


_CHANGING = (
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?( UTC)?"), "<time>"),
    (re.compile(r"\b[0-9a-f]{7,64}\b(?!\.\d)"), "<id>"),
    (re.compile(r"(\d+ min )?[\d.]+ s\b"), "<seconds>"),
    (re.compile(r"[\d.]+ MB/s"), "<speed>"),
    (re.compile(r"\b0\.\d+\b"), "<fraction>"),
    (re.compile(r" {2,}|\t"), "  "),
)
_SIZE = re.compile(r"([\d.,]+)( B| bytes| kB| MB| GB|M)\b")  # 5.8M is how `du` prints
_UNITS = {" B": 1, " bytes": 1, " kB": 1e3, " MB": 1e6, " GB": 1e9, "M": 2**20}


def _tokens(line: str) -> list[str | float]:
    """Return the text of a line and its sizes in bytes, alternating."""
    for pattern, name in _CHANGING:
        line = pattern.sub(name, line)
    words = _SIZE.split(line.strip())
    parts: list[str | float] = [words[0]]
    for number, unit, text in zip(words[1::3], words[2::3], words[3::3], strict=True):
        parts += [float(number.replace(",", "")) * _UNITS[unit], text]
    return parts


def _same(shown: list[str | float], output: list[str | float]) -> bool:
    if any("…" in part for part in shown if isinstance(part, str)):
        pattern = "".join(
            ".*".join(map(re.escape, part.split("…"))) if isinstance(part, str) else r".+" for part in shown
        )
        return re.fullmatch(pattern, "".join(map(str, output))) is not None
    return len(shown) == len(output) and all(
        one == other
        if isinstance(one, str) or isinstance(other, str)
        else math.isclose(one, other, rel_tol=0.1, abs_tol=100)
        for one, other in zip(shown, output, strict=True)
    )
