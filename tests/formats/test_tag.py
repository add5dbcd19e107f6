"""Moves of tags."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataver.errors import FormatTooNew, IntegrityError, InvalidInput
from dataver.formats.tag import TagMove, parse_tag_move

MOVE = TagMove(
    number=3,
    tag="production",
    dataset="vision/cats",
    record="ab" * 32,
    label="1.0.1",
    created=datetime(2026, 7, 1, tzinfo=UTC),
    author="Zoë",
    write_id="0f" * 16,
)
OLD = (
    '{"author":"Zoë","created":"2026-07-01T00:00:00.000000Z","dataset":"vision/cats","format":1,"label":"1.0.1",'
    '"number":3,"record":"' + "ab" * 32 + '","tag":"production","write_id":"' + "0f" * 16 + '"}'
).encode()
GOLDEN = OLD.replace(b'"format":1', b'"format":2').replace(
    b'"created"', b'"checksum":"f6017adcab63032d","created"'
)


def test_the_bytes_of_a_move_are_pinned() -> None:
    """The move of docs/format.md, byte for byte; a removal has nulls."""
    assert MOVE.encode() == GOLDEN
    assert parse_tag_move(GOLDEN) == MOVE == parse_tag_move(OLD)
    removal = replace(MOVE, record=None, label=None)
    assert parse_tag_move(removal.encode()) == removal
    assert b'"label":null' in removal.encode()


def test_a_protected_tag_has_two_more_keys() -> None:
    """They are written only where they apply, and readers that do not know them ignore them."""
    move = replace(MOVE, protected=True, reason="reviewed")
    values = json.loads(move.encode())
    known = {name: values.pop(name) for name in ("protected", "reason", "checksum")}
    assert (known["protected"], known["reason"]) == (True, "reviewed")
    assert values == {name: value for name, value in json.loads(GOLDEN).items() if name != "checksum"}
    assert parse_tag_move(move.encode()) == move
    with pytest.raises(IntegrityError, match="'protected' is missing or not a true or false"):
        parse_tag_move(OLD.replace(b',"record"', b',"protected":1,"record"'))


@pytest.mark.parametrize(
    "changes",
    [
        {"number": 0},
        {"tag": "latest"},
        {"tag": "a/b"},
        {"dataset": ""},
        {"label": None},
        {"record": None},
        {"record": "x"},
    ],
)
def test_what_a_move_cannot_hold_is_refused(changes: dict[str, Any]) -> None:
    """Bad values of a caller are InvalidInput before anything is written."""
    with pytest.raises(InvalidInput):
        replace(MOVE, **changes).encode()


GOLDEN = OLD.replace(b'"format":1', b'"format":2').replace(
    b'"created"', b'"checksum":"f6017adcab63032d","created"'
)


@given(st.binary(max_size=100), st.integers(0, len(OLD) - 1), st.integers(0, 255))
def test_damage_is_refused_or_harmless(data: bytes, place: int, byte: int) -> None:
    """Random, truncated and changed bytes raise only our errors."""
    for bad in (data, OLD[:place], OLD + b"\n"):
        with pytest.raises((IntegrityError, FormatTooNew)):
            parse_tag_move(bad)
    try:
        parse_tag_move(OLD[:place] + bytes([byte]) + OLD[place + 1 :])
    except (IntegrityError, FormatTooNew):
        pass


def test_every_flipped_bit_is_seen() -> None:
    """No bit of a move can change unseen, in its texts as little as in its checksum."""
    for bit in range(8 * len(GOLDEN)):
        bad = bytearray(GOLDEN)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises((IntegrityError, FormatTooNew)):
            parse_tag_move(bytes(bad))
