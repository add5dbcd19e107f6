"""Listings, as an HTML page and as JSON, in pieces: a folder may have a million files.

Names in a dataset are untrusted. So every name in a page is escaped, and a link is relative with its special
characters, including the colon, encoded: it can only lead below the page.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any, Final, NamedTuple
from urllib.parse import quote

__all__ = ["Line", "json_pieces", "page_pieces"]

_TOGETHER: Final = 500  # lines sent at once
_STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:60em;padding:0 1em}"
    "table{border-collapse:collapse}td,th{padding:.1em 1.5em .1em 0;text-align:left}"
    "td.n{text-align:right}small{color:gray}@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}"
    "a{color:#8bf}}"
)


class Line(NamedTuple):
    """One line of a listing.

    Attributes:
        name: the text shown.
        link: the target relative to the listing: names between slashes, not encoded.
        notes: further columns.
        value: the same as JSON.
    """

    name: str
    link: str
    notes: tuple[str, ...]
    value: Mapping[str, Any]


def page_pieces(
    title: str, about: str, columns: tuple[str, ...], lines: Iterable[Line], page: str
) -> Iterator[bytes]:
    """Yield a page with a table of lines.

    Args:
        title: the name; it may have slashes, each part of it leads there.
        about: a sentence.
        columns: of the table.
        lines: its lines.
        page: the address of the page that shows more; empty for programs, which take links for entries.
    """
    parts = title.split("/") if title else []
    crumbs = ['<a href="/">datasets</a>']
    for number, part in enumerate(parts, 1):
        above = "../" * (len(parts) - number) or "./"
        crumbs.append(f'<a href="{above}">{escape(part)}</a>')
    header = "".join(f"<th>{escape(column)}</th>" for column in columns)
    more = f'<p><a href="{escape(page)}">History, differences and lineage</a></p>' if page else ""
    yield (
        "<!doctype html><html><head><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width"><meta name=referrer content=no-referrer>'
        f"<title>{escape(title or 'datasets')}</title><style>{_STYLE}</style></head><body>"
        f"<h3>{' / '.join(crumbs)}</h3><p><small>{escape(about)}</small></p>{more}"
        f"<table><tr>{header}</tr>\n"
    ).encode()
    for together in _batches(lines):
        yield "".join(map(_row, together)).encode()
    yield b"</table></body></html>\n"


def json_pieces(head: Mapping[str, Any], lines: Iterable[Line]) -> Iterator[bytes]:
    """Yield one JSON object: `head`, and all lines as its `entries`."""
    opening = json.dumps(dict(head), ensure_ascii=False)[:-1]
    yield f'{opening}{", " if head else ""}"entries": ['.encode()
    before = ""
    for together in _batches(lines):
        yield (
            before + ",\n".join(json.dumps(dict(line.value), ensure_ascii=False) for line in together)
        ).encode()
        before = ",\n"
    yield b"]}\n"


def _row(line: Line) -> str:
    where = "/".join(part if part in ("", "..") else quote(part, safe="@") for part in line.link.split("/"))
    notes = "".join(f"<td class=n>{escape(note)}</td>" for note in line.notes)
    return f'<tr><td><a href="{where}">{escape(line.name)}</a></td>{notes}</tr>\n'


def _batches(lines: Iterable[Line]) -> Iterator[list[Line]]:
    batch: list[Line] = []
    for line in lines:
        batch.append(line)
        if len(batch) == _TOGETHER:
            yield batch
            batch = []
    if batch:
        yield batch
