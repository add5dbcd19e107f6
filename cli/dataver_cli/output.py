"""Output of results: text for people, JSON for programs.

Names come from repositories and disks that others may have written. So every line is escaped before it is
printed, and a control character in a name cannot move the cursor or hide text. 1 MB is 10^6 bytes; times are
UTC.
"""

import json
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice

import click

__all__ = ["Output", "count", "duration", "fit", "json_text", "safe", "size", "table", "when"]


_PAGE = 64  # lines printed together: fast for long listings, without delaying the first page


class Output:
    """Writer of a command's results to standard output, as text or as one JSON value."""

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self.as_json = as_json
        self.quiet = quiet

    def show(self, value: object, lines: Iterable[str]) -> None:
        """Print the result: `value` with `--json`, else `lines`, which are consumed only then."""
        if self.as_json:
            click.echo(json_text(value, indent=2))
            return
        source = iter(lines)
        while page := list(islice(source, _PAGE)):
            click.echo("\n".join(map(safe, page)))

    def note(self, line: str) -> None:
        """Print a summary line to stderr, except with `--json` or `--quiet`."""
        if not self.as_json and not self.quiet:
            click.echo(safe(line), err=True)

    def warn(self, line: str) -> None:
        """Print a warning to stderr."""
        click.echo(f"warning: {safe(line)}", err=True)

    def confirm(self, plan: Iterable[str], question: str, deed: str) -> None:
        """Print a plan to stderr and ask; end the command unless the answer is yes.

        Raises:
            UsageError: standard input is not a terminal; `deed` names the action that needs an answer.
            Abort: the answer is no.
        """
        for line in plan:
            click.echo(safe(line), err=True)
        if not sys.stdin.isatty():
            raise click.UsageError(f"{deed} needs a confirmation, but stdin is not a terminal; add --yes")
        if not click.confirm(safe(question), err=True):
            raise click.Abort


def safe(text: str) -> str:
    """Return text with all control and other unprintable characters escaped."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escape(each) for each in text)


def json_text(value: object, indent: int | None = None) -> str:
    """Return JSON in printable ASCII, with all other characters escaped."""
    return json.dumps(value, indent=indent, default=str).replace("\x7f", "\\u007f")


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def size(number: int) -> str:
    """Return a size in a suitable unit; 1 MB is 10^6 bytes."""
    if abs(number) < 1000:
        return f"{number} B"
    value = float(number)
    units = ["kB", "MB", "GB", "TB", "PB"]
    value /= 1000
    while abs(value) >= 999.95 and len(units) > 1:
        value /= 1000
        del units[0]
    return f"{value:.1f} {units[0]}"


def count(number: int, thing: str, things: str | None = None) -> str:
    """Return a number and its noun: `1 file`, `8,000 files`."""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def duration(seconds: float) -> str:
    """Return a duration in a suitable unit."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def when(moment: datetime) -> str:
    """Return a time in UTC, with minutes."""
    from datetime import UTC

    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def table(rows: Sequence[Sequence[str]], header: Sequence[str] = (), right: Sequence[int] = ()) -> list[str]:
    """Return the rows with their columns aligned; columns in `right` align to the right."""
    cells = [[safe(cell) for cell in row] for row in ([header, *rows] if header else rows)]
    if not cells:
        return []
    widths = [max(_width(row[column]) for row in cells) for column in range(len(cells[0]))]
    return [
        "  ".join(_pad(cell, widths[n], n in right) for n, cell in enumerate(row)).rstrip() for row in cells
    ]


def fit(lines: Iterable[str]) -> Iterator[str]:
    """Cut lines at the width of the terminal, if standard output is one."""
    import shutil

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for line in lines:
        yield line if not width or _width(line) <= width else f"{_cut(line, width - 1)}…"


def _cut(line: str, width: int) -> str:
    while _width(line) > width:
        line = line[: len(line) - max(1, (_width(line) - width) // 2)]
    return line


def _pad(cell: str, width: int, right: bool) -> str:
    space = " " * (width - _width(cell))
    return space + cell if right else cell + space


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(each) in "WF" for each in text)
    return len(text) + wide - sum(unicodedata.combining(each) != 0 for each in text)
