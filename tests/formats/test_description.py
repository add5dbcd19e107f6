"""Descriptions of versions and datasets."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from dataver.errors import FormatTooNew, IntegrityError, InvalidInput
from dataver.formats.description import Description, parse_description

DESCRIPTION = Description(
    number=2,
    dataset="vision/cats",
    label="1.0.1",
    record="ab" * 32,
    text="Photos of July",
    license="CC-BY-4.0",
    owner="Zoë",
    readme="# Cats\n",
    metadata={"camera": 7},
    created=datetime(2026, 7, 1, tzinfo=UTC),
    author="ana",
    write_id="0f" * 16,
)
GOLDEN = (
    '{"author":"ana","checksum":"bd4376a640b99ab2","created":"2026-07-01T00:00:00.000000Z","dataset":"vision/cats",'
    '"format":2,"label":"1.0.1","license":"CC-BY-4.0","metadata":{"camera":7},"number":2,"owner":"Zoë",'
    '"readme":"# Cats\\n","record":"'
    + "ab" * 32
    + '","text":"Photos of July","write_id":"'
    + "0f" * 16
    + '"}'
).encode()


def test_the_bytes_of_a_description_are_pinned() -> None:
    """The object of docs/format.md, byte for byte; one of a dataset has nulls."""
    assert DESCRIPTION.encode() == GOLDEN
    assert parse_description(GOLDEN) == DESCRIPTION
    whole = replace(DESCRIPTION, record=None, label=None, readme=None)
    assert parse_description(whole.encode()) == whole
    assert (DESCRIPTION.ref, whole.ref) == ("vision/cats@1.0.1", "vision/cats")


@pytest.mark.parametrize(
    "changes",
    [
        {"number": 0},
        {"label": None},
        {"record": None},
        {"record": "AB"},
        {"dataset": "a//b"},
        {"label": "a/b"},
    ],
)
def test_an_invalid_description_is_neither_written_nor_read(changes: dict[str, object]) -> None:
    """Each rule holds for writers and for readers."""
    with pytest.raises(InvalidInput):
        replace(DESCRIPTION, **changes).encode()  # type: ignore[arg-type]
    values = {**json.loads(GOLDEN), **changes, "format": 1}
    del values["checksum"]
    data = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    with pytest.raises(IntegrityError):
        parse_description(data)


def test_damage_and_newer_formats_are_told_apart() -> None:
    """A flipped letter is damage; format 3 needs a newer dataver."""
    with pytest.raises(IntegrityError, match="checksum"):
        parse_description(GOLDEN.replace(b"July", b"june"))
    with pytest.raises(FormatTooNew):
        parse_description(GOLDEN.replace(b'"format":2', b'"format":3'))
    with pytest.raises(InvalidInput, match="the limit is"):
        replace(DESCRIPTION, readme="x" * (1 << 20)).encode()
