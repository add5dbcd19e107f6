"""Pieces of the HTML with which public objects show themselves in a notebook.

Names are untrusted: every text is shortened, made printable and escaped. There is no script, no link, no
style sheet and no id: a piece works in every notebook, beside others like it, and it takes the colours of
the notebook, light or dark. Callers show at most `ROWS` rows, so that a piece stays below 200 KB.
"""

from collections.abc import Iterable, Sequence
from html import escape
from itertools import islice
from typing import Final

from dataver.printable import count, safe

__all__ = ["ROWS", "Html", "card", "cut", "facts", "more", "note", "table"]

ROWS: Final = 40
"""Rows of a table."""

_CELL: Final = 120  # characters
_FACT: Final = 400
_QUIET: Final = "opacity:.65"
_TABLE: Final = "border-collapse:collapse;border:0;margin:.4em 0 0 0"
_TD: Final = "padding:.1em 1.2em .1em 0;border:0;vertical-align:top;text-align:"


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def cut(value: object, most: int = _CELL) -> str:
    """Return a value as printable text of at most `most` characters, shortened in the middle; not escaped."""
    text = str(value)
    return _shorter(safe(_shorter(text, most)), most)


def card(title: object, kind: str, *parts: str) -> str:
    """Return an object: its name, what it is, and its parts."""
    head = f"<div><b>{_html(title)}</b> <span style='{_QUIET}'>{_html(kind)}</span></div>"
    return f"<div style='line-height:1.5;overflow-x:auto'>{head}{''.join(parts)}</div>"


def facts(pairs: Iterable[tuple[str, object]]) -> str:
    """Return names and values as a table; pairs with an empty value are left out."""
    rows = (
        f"<tr style='background:none'><td style='{_TD}left;{_QUIET}'>{_html(name)}</td>"
        f"<td style='{_TD}left'>{_html(value, _FACT)}</td></tr>"
        for name, value in pairs
        if value not in (None, "")
    )
    return f"<table style='{_TABLE}'>{''.join(rows)}</table>"


def table(header: Sequence[str], rows: Iterable[Sequence[object]], total: int) -> str:
    """Return the first rows of `total` ones below a header; integers are aligned to the right."""
    shown = [list(row) for row in islice(rows, ROWS)]
    if not shown:
        return ""
    styles = [f"{_TD}{'right' if isinstance(value, int) else 'left'}" for value in shown[0]]
    head = "".join(
        f"<th style='{style};font-weight:normal;{_QUIET}'>{_html(name)}</th>"
        for name, style in zip(header, styles, strict=True)
    )
    body = "".join(f"<tr style='background:none'>{''.join(map(_cell, row, styles))}</tr>" for row in shown)
    found = f"<table style='{_TABLE}'><tr style='background:none'>{head}</tr>{body}</table>"
    return found + more(total, len(shown), "row")


def note(text: object) -> str:
    """Return a sentence below the rest."""
    return f"<div style='{_QUIET}'>{_html(text, _FACT)}</div>"


def more(total: int, shown: int, thing: str) -> str:
    """Return a note that says how many things are not shown; nothing if all are."""
    return note(f"… and {count(total - shown, f'more {thing}')}") if total > shown else ""


def _cell(value: object, style: str) -> str:
    return f"<td style='{style}'>{_html(f'{value:,}' if isinstance(value, int) else value)}</td>"


def _html(value: object, most: int = _CELL) -> str:
    return value if isinstance(value, Html) else escape(cut(value, most))


def _shorter(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - most // 3]}…{text[1 - most // 3 :]}"
