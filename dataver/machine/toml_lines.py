"""Change one value of a TOML file and keep all other lines as they are.

The idea: the lines are edited, and the new text must then parse to exactly the intended values. Otherwise the
file is not changed and the user is asked to edit it. So this module need not know all of TOML.
"""

import json
import re
import tomllib
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from dataver.errors import InvalidInput
from dataver.storage.replace_file import replace_file

__all__ = ["change_value", "quoted", "write_text"]

Value = str | bool | int | float
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def change_value(text: str, name: Sequence[str], value: Value | None, where: Path) -> str:
    """Return the text of a TOML file with one value set, or removed if it is None.

    Args:
        text: the file, which is valid TOML.
        name: the tables and the key.
        value: the new value.
        where: the file, for messages.

    Raises:
        InvalidInput: the file's form of the setting is not supported here.
    """
    wanted = deepcopy(tomllib.loads(text))
    _put(wanted, name, value)
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    first, behind = _section(lines, tuple(name[:-1]))
    at = next((n for n in range(first, behind) if _key_of(lines[n]) == name[-1]), None)
    fresh = [] if value is None else [f"{_key(name[-1])} = {_value(value)}\n"]
    if at is not None:
        lines[at : at + 1] = fresh
    elif value is not None and first <= behind and (first or not name[:-1]):
        lines[first:first] = fresh
    elif value is not None:
        header = ".".join(map(_key, name[:-1]))
        lines += [*(["\n"] if lines else []), f"[{header}]\n", *fresh]
    changed = "".join(lines)
    try:
        right = _without_empty(tomllib.loads(changed)) == _without_empty(wanted)
    except tomllib.TOMLDecodeError:
        right = False
    if not right:
        raise InvalidInput(
            f"{where} has {'.'.join(name)} in a form that cannot be changed automatically.",
            hint="edit the file",
        )
    return changed


def quoted(text: str) -> str:
    """Return a TOML string: the same as a JSON string except for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def write_text(path: Path, text: str) -> None:
    """Replace a file atomically and durably."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, text, durable=True)


def _section(lines: Sequence[str], table: tuple[str, ...]) -> tuple[int, int]:
    """Return the lines of a table, `(first, end)`; `(0, -1)` if it has no header."""
    headers = [n for n, line in enumerate(lines) if line.lstrip().startswith("[")]
    ends = [*headers[1:], len(lines)]
    if not table:
        return 0, headers[0] if headers else len(lines)
    for start, end in zip(headers, ends, strict=False):
        if _header(lines[start]) == table:
            return start + 1, end
    return 0, -1


def _header(line: str) -> tuple[str, ...] | None:
    try:
        found: Any = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return None
    names = []
    while isinstance(found, dict) and len(found) == 1:
        name, found = next(iter(found.items()))
        names.append(name)
    return tuple(names)


def _key_of(line: str) -> str | None:
    try:
        found = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return None
    return next(iter(found), None) if "=" in line else None


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else quoted(name)


def _value(value: Value) -> str:
    if isinstance(value, str):
        return quoted(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _put(table: dict[str, Any], name: Sequence[str], value: Value | None) -> None:
    for each in name[:-1]:
        table = table.setdefault(each, {})
    if value is None:
        table.pop(name[-1], None)
    else:
        table[name[-1]] = value


def _without_empty(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    kept = {key: _without_empty(each) for key, each in value.items()}
    return {key: each for key, each in kept.items() if each != {}}
