"""Change one value of a TOML file and keep everything else as it is, comments included (tomlkit)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dataver.storage.replace_file import replace_file

__all__ = ["change_value", "write_text"]


def change_value(text: str, name: Sequence[str], value: str | bool | float | None) -> str:
    """Return the text of a TOML file with one value set, or removed if it is None.

    Args:
        text: the file, which is valid TOML.
        name: the tables and the key; missing tables are added.
        value: the new value.
    """
    import tomlkit

    document = tomlkit.parse(text)
    table: Any = document
    for position, each in enumerate(name[:-1]):
        if each not in table:
            if value is None:
                return text
            # a header for the innermost table only
            table[each] = tomlkit.table(is_super_table=position < len(name) - 2)
        table = table[each]
    if value is not None:
        table[name[-1]] = value
    else:
        table.pop(name[-1], None)
    return tomlkit.dumps(document)


def write_text(path: Path, text: str) -> None:
    """Replace a file atomically and durably."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, text, durable=True)
