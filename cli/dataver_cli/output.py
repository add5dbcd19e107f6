"""Output of results: text for people, JSON for programs.

Names come from repositories and disks that others may have written. So every line is escaped before it is
printed, and a control character in a name cannot move the cursor or hide text. 1 MB is 10^6 bytes; times are
UTC.

At a terminal, tables fit its width, longer lines are broken between words, some lines have a colour (not with
`NO_COLOR`), and what is longer than the screen goes through the pager (`PAGER`, else `less`). In a pipe or a
file nothing is left out or added.
"""

import json
import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain, islice
from typing import Self, TextIO

import click

from dataver.printable import count, duration, safe, size

__all__ = [
    "SHORT", "Coloured", "Output", "count", "day", "duration", "folded", "json_text", "paint", "safe", "size",
    "table", "when",
]  # fmt: skip

SHORT = 12
"""Characters of a digest in tables and sentences; commands take them in place of the whole digest."""

_ITEMS = 500  # of a JSON array, encoded together
_PAGE = 64  # lines printed together: fast for long listings, without delaying the first page
_GAP = re.compile(r" {2,}")  # between columns
_NARROWEST = 12  # columns that remain of a shortened column


class Coloured(str):
    """A line with the name of its colour."""

    __slots__ = ("colour",)
    colour: str

    def __new__(cls, text: str, colour: str) -> Self:
        """Return the line."""
        made = super().__new__(cls, text)
        made.colour = colour
        return made


class Output:
    """Writer of a command's results to standard output, as text or as one JSON value."""

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self.as_json = as_json
        self.quiet = quiet

    def show(self, value: object, lines: Iterable[str]) -> None:
        """Print the result: `value` with `--json`, else `lines`, which are consumed only then.

        An iterator in place of `value`, or of a value in a dictionary, is printed as an array, item by item.
        """
        if self.as_json:
            for piece in _json_pieces(value):
                click.echo(piece, nl=False)
            click.echo()
            return
        source: Iterator[str] = map(_shown, lines)
        if sys.stdout.isatty():
            source = chain.from_iterable(map(_parts, lines))
            first = list(islice(source, shutil.get_terminal_size().lines - 1))
            further = next(source, None)
            if further is not None:
                os.environ.setdefault("LESS", "FRX")  # as git: colours, and no pager for less than a screen
                click.echo_via_pager(f"{line}\n" for line in chain(first, [further], source))
                return
            source = iter(first)
        while page := list(islice(source, _PAGE)):
            click.echo("\n".join(page))

    def note(self, line: str) -> None:
        """Print a summary line to stderr, except with `--json` or `--quiet`."""
        if not self.as_json and not self.quiet:
            click.echo("\n".join(folded(safe(line), sys.stderr)), err=True)

    def warn(self, line: str) -> None:
        """Print a warning to stderr."""
        first, *rest = folded(f"warning: {safe(line)}", sys.stderr)
        click.echo("\n".join([first.replace("warning:", paint("warning:", "yellow"), 1), *rest]), err=True)

    def confirm(self, plan: Iterable[str], question: str, deed: str) -> None:
        """Print a plan to stderr and ask; end the command unless the answer is yes.

        Raises:
            UsageError: standard input is not a terminal; `deed` names the action that needs an answer.
            DataverError: the answer is no.
        """
        for line in plan:
            click.echo("\n".join(folded(safe(line), sys.stderr)), err=True)
        if not sys.stdin.isatty():
            raise click.UsageError(f"{deed} needs a confirmation, but stdin is not a terminal; add --yes")
        if not click.confirm(safe(question), err=True):
            from dataver.errors import DataverError

            raise DataverError("not confirmed; nothing was changed.")


def paint(text: str, colour: str) -> str:
    """Return text in a colour, which `click.echo` removes where the output is not a terminal."""
    return text if os.environ.get("NO_COLOR") else click.style(text, fg=colour)


def folded(line: str, stream: TextIO) -> list[str]:
    """Return a line broken between words where it is wider than the terminal, and whole if there is none.

    The parts are indented to the last column of the line that begins in its left half.
    """
    if not stream.isatty() or _width(line) <= (columns := shutil.get_terminal_size().columns):
        return [line]
    import textwrap

    bars = line[: len(line) - len(line.lstrip("*| "))].replace("*", "|")  # of a graph
    begins = [gap.end() for gap in _GAP.finditer(line) if gap.end() <= columns // 2]
    indent = bars.ljust(max(begins, default=len(bars) + 2))
    if max(map(_width, line[len(indent) :].split()), default=0) > columns - len(indent):
        indent = bars + "  "
    return textwrap.wrap(
        line, columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _parts(line: str) -> list[str]:
    parts = folded(safe(line), sys.stdout)
    return [paint(part, line.colour) for part in parts] if isinstance(line, Coloured) else parts


def _shown(line: str) -> str:
    return paint(safe(line), line.colour) if isinstance(line, Coloured) else safe(line)


def _json_pieces(value: object) -> Iterator[str]:
    """Yield JSON; of iterators only some items are in memory."""
    if isinstance(value, Iterator):
        yield from _array_pieces(value, "\n")
    elif isinstance(value, dict) and any(isinstance(each, Iterator) for each in value.values()):
        before = "{\n  "
        for name, each in value.items():
            yield f"{before}{json_text(name)}: "
            if isinstance(each, Iterator):
                yield from _array_pieces(each, "\n  ")
            else:
                yield json_text(each, indent=2).replace("\n", "\n  ")
            before = ",\n  "
        yield "\n}"
    else:
        yield json_text(value, indent=2)


def _array_pieces(items: Iterator[object], line: str) -> Iterator[str]:
    before = "["
    while batch := list(islice(items, _ITEMS)):
        yield before + json_text(batch, indent=2)[1:-2].replace("\n", line)
        before = ","
    yield "[]" if before == "[" else f"{line}]"


def json_text(value: object, indent: int | None = None) -> str:
    """Return JSON in printable ASCII, with all other characters escaped."""
    return json.dumps(value, indent=indent, default=str).replace("\x7f", "\\u007f")


def when(moment: datetime) -> str:
    """Return a time in UTC, with minutes."""
    from datetime import UTC

    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def day(moment: datetime) -> str:
    """Return a time in UTC, of which a terminal of less than 100 columns shows the day only."""
    narrow = sys.stdout.isatty() and shutil.get_terminal_size().columns < 100
    return when(moment)[:10] if narrow else when(moment)


def table(
    rows: Sequence[Sequence[str]],
    header: Sequence[str] = (),
    right: Sequence[int] = (),
    *,
    omit: Sequence[int] = (),
    shorten: int | None = None,
    omit_last: Sequence[int] = (),
    margin: int = 0,
    tell: bool = False,
) -> list[str]:
    """Return the rows with their columns aligned.

    Args:
        rows: the cells, of which each row has the same number.
        header: the names of the columns.
        right: columns that align to the right.
        omit: columns to omit, one after the other, while the table is wider than the terminal.
        shorten: the column to shorten if it is still wider.
        omit_last: columns to omit if it is wider with that column at its narrowest.
        margin: columns of the terminal that the caller puts before the table.
        tell: add a line with the number of columns that were omitted.
    """
    cells = [[safe(cell) for cell in row] for row in ([header, *rows] if header else rows)]
    if not cells:
        return []
    widths = [max(_width(row[column]) for row in cells) for column in range(len(cells[0]))]
    kept = [*range(len(widths))]
    room = shutil.get_terminal_size().columns - margin if sys.stdout.isatty() else None
    if room is not None:
        for column in omit:
            if _total(widths, kept) > room:
                kept.remove(column)
        if shorten is not None:
            for column in omit_last:
                if _total(widths, kept) - max(0, widths[shorten] - _NARROWEST) > room:
                    kept.remove(column)
            widths[shorten] -= max(0, min(_total(widths, kept) - room, widths[shorten] - _NARROWEST))
    omitted = len(widths) - len(kept)
    rest = [f"{count(omitted, 'column')} not shown; --json has all"] if tell and omitted else []
    return [
        "  ".join(_pad(_cut(row[each], widths[each]), widths[each], each in right) for each in kept).rstrip()
        for row in cells
    ] + rest


def _total(widths: Sequence[int], kept: Sequence[int]) -> int:
    return sum(widths[column] for column in kept) + 2 * (len(kept) - 1)


def _cut(cell: str, width: int) -> str:
    if _width(cell) <= width:
        return cell
    while _width(cell) > width - 1:
        cell = cell[: len(cell) - max(1, (_width(cell) - width) // 2)]
    return f"{cell}…"


def _pad(cell: str, width: int, right: bool) -> str:
    space = " " * (width - _width(cell))
    return space + cell if right else cell + space


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(each) in "WF" for each in text)
    return len(text) + wide - sum(unicodedata.combining(each) != 0 for each in text)
