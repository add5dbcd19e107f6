"""Differences between the contents of two files: tables, JSON, text, images and tensors.

The idea: the suffix of the new name gives the kind, as for profiles. Other files are compared as
text, unless they are binary.
"""

from collections.abc import Sequence

from dataver.diffs.arrays import ArrayChange, ArraysDiff, compare_images, compare_tensors
from dataver.diffs.content import BytesDiff, ContentDiff, File
from dataver.diffs.json_values import JsonChange, JsonDiff, compare_json
from dataver.diffs.table import TableDiff, compare_tables
from dataver.diffs.text import TextDiff, compare_texts
from dataver.errors import InvalidInput
from dataver.profiles.kinds import kind_of
from dataver.tables import format_of

__all__ = [
    "ArrayChange", "ArraysDiff", "BytesDiff", "ContentDiff", "File", "JsonChange", "JsonDiff", "TableDiff",
    "TextDiff", "compare_files", "compare_tables",
]  # fmt: skip

_COMPARE = {"array": compare_tensors, "image": compare_images, "json": compare_json}


def compare_files(old: File, new: File, key: str | Sequence[str] | None = None) -> ContentDiff:
    """Return the difference between the contents of two files; `key` is that of `compare_tables`.

    Raises:
        InvalidInput: a package is not installed, or a file is not what its name promises.
    """
    if format_of(old.path) and format_of(new.path):
        return compare_tables(old, new, key)
    if key is not None:
        raise InvalidInput(f"{new} is not a table and has no key.")
    kind = kind_of(new.path)
    return _COMPARE.get(kind.name if kind else "", compare_texts)(old, new)
