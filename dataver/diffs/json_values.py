"""Differences between JSON documents, by path."""

import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from dataver.diffs.content import BytesDiff, ContentDiff, File, broken, finite

__all__ = ["JsonChange", "JsonDiff", "compare_json"]

LARGEST: Final = 64 << 20  # bytes of a file; its values take some ten times as much memory
_DEEPEST: Final = 200  # levels of nesting, far below Python's limit of recursion
_ABSENT: Final = object()


class JsonChange(NamedTuple):
    """A value that differs.

    Attributes:
        op: add, remove or replace, as in JSON Patch (RFC 6902).
        path: JSON Pointer (RFC 6901) to it, in the old document for `remove`, else in the new one.
        old, new: the values; None where there is none.
    """

    op: str
    path: str
    old: Any = None
    new: Any = None


class JsonDiff(ContentDiff):
    """Difference between two JSON documents.

    Members of objects are compared by name. Elements of lists are compared by their `id` if all elements of
    both lists are objects with an id of their own, else by position, after equal elements at both ends.

    Attributes:
        changes: values that differ.
    """

    kind = "json"

    def __init__(self, old: Any, new: Any) -> None:
        self.changes = list(_changes(old, new, ""))

    def __bool__(self) -> bool:
        return bool(self.changes)

    def counts(self) -> dict[str, int]:
        """Return the numbers of values, by `added`, `removed` and `changed`."""
        ops = [each.op for each in self.changes]
        names = {"added": "add", "removed": "remove", "changed": "replace"}
        return {name: ops.count(op) for name, op in names.items()}

    def summary(self) -> str:
        """Return the numbers of values."""
        found = {name: count for name, count in self.counts().items() if count}
        text = ", ".join(f"{count:,} {name}" for name, count in found.items())
        return f"values: {text}" if text else "the same values, written differently"

    def values(self, limit: int | None = None) -> dict[str, Any]:
        """Return the counts, and the changes as operations of a JSON Patch, with `old` in addition."""
        fields = {"add": ("new",), "remove": ("old",), "replace": ("old", "new")}
        shown = [
            {"op": each.op, "path": each.path}
            | {name: finite(getattr(each, name)) for name in fields[each.op]}
            for each in self.changes[:limit]
        ]
        return {"values": self.counts(), "changes": shown}


def compare_json(old: File, new: File) -> JsonDiff | BytesDiff:
    """Return the difference between two JSON files by path.

    Raises:
        InvalidInput: one is not JSON, or its values are nested too deep.
    """
    if max(old.size, new.size) > LARGEST:
        return BytesDiff(old, new, f"larger than {LARGEST >> 20} MiB and not compared by path")
    values = []
    for file in (old, new):
        try:
            values.append(json.loads(file.fetch().read_bytes()))
            _check_depth(values[-1])
        except (ValueError, RecursionError) as error:
            raise broken(file, "JSON", error) from error
    return JsonDiff(*values)


def _check_depth(value: Any) -> None:
    level, depth = [value], 0
    while level := [
        child
        for each in level
        if isinstance(each, (dict, list))
        for child in (each.values() if isinstance(each, dict) else each)
    ]:
        depth += 1
        if depth > _DEEPEST:
            raise ValueError(f"its values are nested deeper than {_DEEPEST} levels")


def _changes(old: Any, new: Any, path: str) -> Iterator[JsonChange]:
    if old is _ABSENT:
        yield JsonChange("add", path, new=new)
    elif new is _ABSENT:
        yield JsonChange("remove", path, old=old)
    elif isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(name for name in new if name not in old)]:
            place = f"{path}/{name.replace('~', '~0').replace('/', '~1')}"
            yield from _changes(old.get(name, _ABSENT), new.get(name, _ABSENT), place)
    elif isinstance(old, list) and isinstance(new, list):
        for index, one, other in _elements(old, new):
            yield from _changes(one, other, f"{path}/{index}")
    elif not _same(old, new):
        yield JsonChange("replace", path, old, new)


def _same(old: Any, new: Any) -> bool:
    """Return whether two values are equal; NaN is, to itself, and `true` differs from 1."""
    if isinstance(old, dict) and isinstance(new, dict):
        return old.keys() == new.keys() and all(_same(each, new[name]) for name, each in old.items())
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(_same, old, new))
    if isinstance(old, bool) or isinstance(new, bool):
        return old is new
    return bool(old == new) or (old != old and new != new)  # noqa: PLR0124


def _elements(old: list[Any], new: list[Any]) -> Iterator[tuple[int, Any, Any]]:
    """Yield the elements that may differ, as the index and both values."""
    olds, news = _by_id(old), _by_id(new)
    if olds is not None and news is not None:
        for key in [*olds, *(key for key in news if key not in olds)]:
            index, other = news.get(key, (olds.get(key, (0,))[0], _ABSENT))
            yield index, olds.get(key, (0, _ABSENT))[1], other
        return
    begin, end, shorter = 0, 0, min(len(old), len(new))
    if len(old) != len(new):  # elements were added or removed
        while begin < shorter and _same(old[begin], new[begin]):
            begin += 1
        while end < shorter - begin and _same(old[-1 - end], new[-1 - end]):
            end += 1
    for index in range(begin, max(len(old), len(new)) - end):
        yield (
            index,
            old[index] if index < len(old) - end else _ABSENT,
            new[index] if index < len(new) - end else _ABSENT,
        )


def _by_id(items: list[Any]) -> dict[Any, tuple[int, Any]] | None:
    """Return the index and value of each element by its id, or None if not all have an id of their own."""
    if not all(isinstance(each, dict) and isinstance(each.get("id"), (str, int)) for each in items):
        return None
    found = {(type(each["id"]), each["id"]): (index, each) for index, each in enumerate(items)}
    return found if len(found) == len(items) else None
