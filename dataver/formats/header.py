"""What the numbered and the named JSON objects share: records, descriptions, moves of tags, tombstones.

Each has `format`, the names of its version, and the id of the version's record. Names are used in keys, so
they are checked. Keeps invariants 1 and 7.
"""

from __future__ import annotations

from dataclasses import fields as fields_of
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dataver.errors import IntegrityError, InvalidInput
from dataver.formats.canonical_json import Fields, encode_checked, format_time
from dataver.formats.names import check_dataset_name, check_label

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

__all__ = ["check_name", "encode_object", "numbered_header", "version_name"]


def encode_object(
    item: Any,
    number: int,
    what: str,
    read: Callable[[Fields], object],
    *,
    optional: Collection[str] = (),
    **other: object,
) -> bytes:
    """Return the canonical bytes of a dataclass: its fields, by their names.

    Args:
        item: the dataclass; times and bytes become text.
        number: its format.
        what: names it in errors.
        read: parses the object and rejects invalid fields.
        optional: fields that are left out if they are empty.
        other: values of fields that are JSON already.

    Raises:
        InvalidInput: a value that JSON cannot represent, or that `read` rejects.
    """
    values: dict[str, Any] = {each.name: getattr(item, each.name) for each in fields_of(item)} | other
    for name, value in values.items():
        if isinstance(value, datetime):
            values[name] = format_time(value, what)
        elif isinstance(value, bytes):
            values[name] = value.hex()
    values = {name: value for name, value in values.items() if value or name not in optional}
    return encode_checked(values | {"format": number}, what, read)


def numbered_header(fields: Fields, number: int) -> dict[str, Any]:
    """Return the fields that a description and the move of a tag share; `number` is their format."""
    fields.expect_format(number)
    label = fields.optional_text("label")
    record = None if fields.optional_text("record") is None else fields.hex("record", 64)
    if (record is None) != (label is None):
        raise IntegrityError(f"{fields.what} has one of 'record' and 'label' without the other")
    if label is not None:
        check_name(fields, check_label, label)
    return {
        "number": fields.number("number", least=1),
        "dataset": check_name(fields, check_dataset_name, fields.text("dataset")),
        "label": label,
        "record": record,
        "created": fields.time("created"),
        "author": fields.text("author"),
        "write_id": fields.hex("write_id", 32),
    }


def version_name(fields: Fields) -> tuple[str, str]:
    """Return the `dataset` and the `label` of an object."""
    dataset = check_name(fields, check_dataset_name, fields.text("dataset"))
    return dataset, check_name(fields, check_label, fields.text("label"))


def check_name(fields: Fields, check: Callable[[str], None], name: str) -> str:
    """Return a name that a function accepts.

    Raises:
        IntegrityError: it does not.
    """
    try:
        check(name)
    except InvalidInput as error:
        raise IntegrityError(f"{fields.what}: {error.message}") from error
    return name
