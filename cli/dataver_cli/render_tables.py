"""Tables of a version as lines of text, for the commands that look into them."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from dataver_cli.output import count, size, table

if TYPE_CHECKING:
    from dataver import Version
    from dataver.api.looking import FilesOfKind

__all__ = ["HEADER", "kind_lines", "statistics_rows", "tables_with"]

HEADER = ("COLUMN", "TYPE", "MISSING", "MIN", "MAX", "MEAN", "MEDIAN", "STD", "VALUES")
_LABELS = 5  # of a column
_KINDS = 10  # rows of a table of kinds


def tables_with(version: "Version", key: str, what: str) -> tuple[list[tuple[str, dict[str, Any]]], str]:
    """Return the tables whose profile has a key, and a summary that counts those without `what`."""
    tables = version.tables()
    found = [(path, profile) for path, profile in tables.items() if key in profile]
    broken = sum("problem" in profile and key not in profile for profile in tables.values())
    without = len(tables) - len(found) - broken
    rest = f"; {without:,} without {what}, which `dataver profile {version.ref}` makes" if without else ""
    rest += f"; {broken:,} broken, which `dataver profile {version.ref}` explains" if broken else ""
    return found, f"{version.ref}: {count(len(found), 'table')}{rest}."


def statistics_rows(document: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield a row for each column of a document of statistics."""
    for each in document["statistics"]:
        found = each["column_statistics"]
        numbers = [_number(found.get(name)) for name in ("min", "max", "mean", "median", "std")]
        missing = f"{found['nan_count']:,}" if found["nan_count"] else ""
        yield (
            each["column_name"],
            each["column_type"],
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
            "" if each.rows is None else f"{each.rows:,}",
        )
        for each in found[:_KINDS]
    ]
    if rest := found[_KINDS:]:
        files, total = sum(each.files for each in rest), sum(each.size for each in rest)
        rows.append((f"{len(rest):,} more", "", f"{files:,}", size(total), ""))
    header = ("FILES", "KIND", "COUNT", "SIZE", "ROWS")
    shown = 5 if any(row[4] for row in rows) else 4
    return table([row[:shown] for row in rows], header[:shown], right=(2, 3, 4)) if rows else []
