"""Tables of a version as lines of text, for the commands that look into them."""

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dataver_cli.output import count, size, table
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver import Version
    from dataver.api.looking import FilesOfKind

__all__ = ["HEADER", "kind_lines", "said", "statistics_lines", "tables_with"]

HEADER = ("COLUMN", "TYPE", "MISSING", "MIN", "MAX", "MEAN", "MEDIAN", "STD", "VALUES")
_LABELS = 5  # of a column
_KINDS = 10  # rows of a table of kinds


@contextmanager
def said(session: Session) -> Iterator[None]:
    """Print the warnings of the public API, such as lines of a table that were left out, in our form."""
    with warnings.catch_warnings(record=True, action="always", category=UserWarning) as told:
        yield
    for each in told:
        session.out.warn(str(each.message))


def tables_with(version: "Version", key: str, what: str) -> tuple[list[tuple[str, dict[str, Any]]], str]:
    """Return the tables whose profile has a key, and a summary of those without `what` or with problems."""
    tables = version.tables()
    found = [(path, profile) for path, profile in tables.items() if key in profile]
    broken = [(path, profile["problem"]) for path, profile in tables.items() if "problem" in profile]
    without = sum(key not in profile and "problem" not in profile for profile in tables.values())
    rest = f"; {without:,} without {what}, which `dataver profile {version.ref}` makes" if without else ""
    rest += f"; {len(broken):,} irregular or broken, such as {': '.join(broken[0])}" if broken else ""
    return found, f"{version.ref}: {count(len(found), 'table')}{rest}."


def statistics_lines(documents: Iterable[tuple[str | None, dict[str, Any]]]) -> list[str]:
    """Return the table of documents of statistics, each with its path, or None to leave it out."""
    header: tuple[str, ...] = HEADER
    rows: list[tuple[str, ...]] = []
    for path, document in documents:
        start = () if path is None else (path,)
        header = ("TABLE", *HEADER) if start else HEADER
        rows += [(*start, *row) for row in _statistics_rows(document)]
    at = len(header) - len(HEADER)
    omit = [at + number for number in (7, 6, 2, 5)]
    return table(rows, header, omit=omit, shorten=at + 8, omit_last=(at + 8,), tell=True) if rows else []


def _statistics_rows(document: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for each in document["statistics"]:
        found = each["column_statistics"]
        numbers = [_number(found.get(name)) for name in ("min", "max", "mean", "median", "std")]
        if each["column_type"] == "datetime" and numbers[0][:10] != numbers[1][:10]:
            numbers[:4] = [number[:10] for number in numbers[:4]]  # the day
        missing = f"{found['nan_count']:,}" if found["nan_count"] else ""
        yield (
            each["column_name"],
            each["column_type"] + (" (lengths)" if each["column_type"] == "string_text" else ""),
            missing,
            *numbers,
            _labels(found.get("frequencies", {})),
        )


def _number(value: Any) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _labels(frequencies: dict[str, int]) -> str:
    most = sorted(frequencies.items(), key=lambda each: -each[1])
    shown = [f"{label} {number:,}" for label, number in most[:_LABELS]]
    return ", ".join([*shown, f"… {len(most) - _LABELS:,} more"] if len(most) > _LABELS else shown)


def kind_lines(kinds: Iterable["FilesOfKind"]) -> list[str]:
    """Return a table of kinds of files; what is beyond the first ones is one row."""
    found = list(kinds)
    rows = [
        (
            each.suffix or "(no suffix)",
            each.kind or "",
            f"{each.files:,}",
            size(each.size),
            "" if each.rows is None else f"{each.rows:,}{'+' if each.uncounted else ''}",
        )
        for each in found[:_KINDS]
    ]
    if rest := found[_KINDS:]:
        files, total = sum(each.files for each in rest), sum(each.size for each in rest)
        rows.append((f"{len(rest):,} more", "", f"{files:,}", size(total), ""))
    header = ("FILES", "KIND", "COUNT", "SIZE", "ROWS")
    shown = 5 if any(row[4] for row in rows) else 4
    return table([row[:shown] for row in rows], header[:shown], right=(2, 3, 4)) if rows else []
