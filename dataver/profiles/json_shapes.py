"""Profiles of JSON files: the shape of their value."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from dataver.errors import InvalidInput
from dataver.profiles.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataver.profiles.kinds import Profile, Source

__all__ = ["cheap", "full"]

_SHORT: Final = 64 << 10  # bytes of a file that has a cheap profile
_MOST: Final = 16 << 20  # bytes that are parsed; the value takes about ten times as many
_KEYS: Final = 50  # of an object
_ITEMS: Final = 50  # of a list, of which the shapes are compared
_DEEP: Final = 6
_NODES: Final = 2_000  # of a shape: behind them, values have a name only
_SCALARS: Final = {str: "text", int: "number", float: "number", bool: "boolean", type(None): "null"}


def cheap(source: Source) -> Profile | None:
    """Return the shape of a short file."""
    return full(source) if source.size <= _SHORT else None


def full(source: Source) -> Profile:
    """Return the shape: of an object its keys, of a list its length and the shapes of its first items."""
    if source.size > _MOST:
        return {"partial": f"files of more than {_MOST >> 20} MiB are not parsed"}
    with source.open() as file:
        try:
            return {"shape": _shape(json.loads(file.read()), 1, iter(range(_NODES)))}
        except RecursionError:
            raise InvalidInput("it is nested too deeply") from None
        except UnicodeDecodeError as error:
            raise InvalidInput(f"its bytes are not {error.encoding}: {error.reason}") from None
        except ValueError as error:
            raise InvalidInput(f"it is not JSON: {error}") from None


def _shape(value: Any, depth: int, nodes: Iterator[int]) -> Any:
    if type(value) in _SCALARS:
        return _SCALARS[type(value)]
    if depth > _DEEP or next(nodes, None) is None:
        return "object" if isinstance(value, dict) else "list"
    if isinstance(value, list):
        shapes: list[Any] = []
        for item in value[:_ITEMS]:
            shape = _shape(item, depth + 1, nodes)
            if shape not in shapes:
                shapes.append(shape)
        return {"list": len(value), "of": shapes}
    some = islice(value.items(), _KEYS)
    keys = {clean(key): _shape(each, depth + 1, nodes) for key, each in some}
    return {"keys": keys} | ({"count": len(value)} if len(value) > _KEYS else {})
