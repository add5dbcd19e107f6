"""Conversion of differences of contents to lines of text, for `dataver diff`.

Rows of tables are written as daff does: `+++` added, `---` removed, `->` changed.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from dataver_cli.output import Coloured, count, json_text, table

if TYPE_CHECKING:
    from dataver.diffs import ArraysDiff, ContentDiff, JsonDiff, TableDiff, TextDiff

__all__ = ["content_lines"]

_COLUMNS = 8  # of a row
_CELL = 24  # characters of a value
_LISTED = 20  # columns named in a line
_DRIFT = 0.1  # least population stability index that is shown
_COLOURS = {"+": "green", "-": "red", "@": "cyan", "~": "yellow"}
_MARKS = {"add": "+", "remove": "-", "replace": "~"}


def content_lines(found: "ContentDiff", limit: int) -> Iterator[str]:
    """Yield the details of a difference, with at most `limit` items of each list."""
    makers: dict[str, Callable[[Any, int], Iterator[str]]] = {
        "table": _table,
        "json": _json,
        "text": _text,
        "image": _arrays,
        "array": _arrays,
    }
    if found and found.kind in makers:
        for line in makers[found.kind](found, limit):
            colour = _COLOURS.get(line[:1])
            yield Coloured(line, colour) if colour else line


def _text(found: "TextDiff", limit: int) -> Iterator[str]:
    yield from found.lines


def _json(found: "JsonDiff", limit: int) -> Iterator[str]:
    for op, path, old, new in found.changes[:limit]:
        one, two = json_text(old), json_text(new)
        text = _change(one, two, " -> ") if op == "replace" else _cut(one if op == "remove" else two)
        yield f"{_MARKS[op]}  {path or '/'}  {text}"
    yield from _rest("value", {"changed": len(found.changes)}, limit)


def _arrays(found: "ArraysDiff", limit: int) -> Iterator[str]:
    for each in found.changes[:limit]:
        name = f"~  {each.name}  " if each.name else "~  "
        form = str(each.new) if each.old == each.new else f"{each.old or 'absent'} -> {each.new or 'absent'}"
        parts = [form]
        if each.differing is not None:
            things = "pixel" if found.kind == "image" else "element"
            parts.append(f"{each.differing:,} of {count(each.elements, things)}")
        if each.largest is not None:
            parts.append(f"largest difference {each.largest:.6g}, mean {each.mean:.6g}")
        yield name + "; ".join(parts)
    yield from _rest("tensor", {"changed": len(found.changes)}, limit)


def _table(found: "TableDiff", limit: int) -> Iterator[str]:
    rows = found.rows
    how = f"matched by {', '.join(found.key)}" if found.key else "compared as whole rows"
    if found.key_found:
        how += ", which is unique and not NULL in both"
    yield f"rows     {rows['old']:,} -> {rows['new']:,}, {rows['equal']:,} equal; {how}"
    if any(found.repeated.values()):
        old, new = found.repeated.values()
        yield f"         {old:,} old and {new:,} new rows repeat a key; they are compared as whole rows"
    yield from (f"         {side} file: {text}" for side, text in found.irregular.items() if text)
    drift = sorted(((value, name) for name, value in found.drift.items() if value >= _DRIFT), reverse=True)
    columns = [
        *(f"{name} ({kind}) added" for name, kind in found.columns_added),
        *(f"{name} ({kind}) dropped" for name, kind in found.columns_dropped),
        *(f"{old} renamed to {new}" for old, new in found.columns_renamed),
        *(f"{name} {old} -> {new}" for name, old, new in found.columns_retyped),
    ]
    cells = [f"{name} {number:,}" for name, number in found.cells.items()]
    for title, items in (
        ("columns", columns),
        ("cells", cells),
        ("drift", [f"{name} {value:.2f}" for value, name in drift]),
    ):
        if items:
            more = f", and {len(items) - _LISTED:,} more" * (len(items) > _LISTED)
            yield f"{title:9}{', '.join(items[:_LISTED])}{more}"
    if limit:
        yield from _rows(found, limit)


def _rows(found: "TableDiff", limit: int) -> Iterator[str]:
    values, new_names = found.values(limit), dict(found.columns_renamed)
    marked = [
        (mark, {new_names.get(name, name): _value(value) for name, value in row.items()})
        for mark, kind in (("+++", "added"), ("---", "removed"))
        for row in values[kind]
    ]
    for row in values["changed"]:
        cells = {
            name: _change(_text_of(each["old"]), _text_of(each["new"])) for name, each in row["cells"].items()
        }
        same = {name: _value(value) for part in ("key", "row") for name, value in row[part].items()}
        marked.append(("->", same | cells))
    if not marked:
        return
    names = list(dict.fromkeys([*found.key, *found.cells, *(name for _, row in marked for name in row)]))
    shown = names[:_COLUMNS]
    yield from table([[mark, *(row.get(name, "") for name in shown)] for mark, row in marked], ["@@", *shown])
    if len(names) > len(shown):
        yield f"{count(len(names) - len(shown), 'column')} not shown; --json has all"
    yield from _rest("row", {kind: found.rows[kind] for kind in ("added", "removed", "changed")}, limit)


def _change(one: str, two: str, arrow: str = "->") -> str:
    """Return both values; of long texts, the part where they begin to differ."""
    start = next((n for n, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), 0) - 4
    if max(len(one), len(two)) > _CELL and start > 0:
        one, two = f"…{one[start:]}", f"…{two[start:]}"
    return f"{_cut(one)}{arrow}{_cut(two)}"


def _rest(thing: str, counts: dict[str, int], limit: int) -> Iterator[str]:
    for kind, number in counts.items():
        if number > limit:
            yield f"{number - limit:,} more {kind} {thing}s; --rows {number} shows all"


def _value(value: Any) -> str:
    return _cut(_text_of(value))


def _text_of(value: Any) -> str:
    return "NULL" if value is None else str(value)


def _cut(text: str) -> str:
    return text if len(text) <= _CELL else f"{text[: _CELL - 1]}…"
