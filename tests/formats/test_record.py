"""Records, and the strict JSON that records, tags and the configuration share."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataver.errors import FormatTooNew, IntegrityError, InvalidInput
from dataver.formats.canonical_json import MAX_JSON, decode_json, encode_json
from dataver.formats.record import ParentRef, Record, parse_record, record_id
from dataver.hashing import CONTEXT_RECORD, derived

NOW = datetime(2026, 7, 1, 12, 30, 15, 5, tzinfo=UTC)
PARENT = ParentRef("vision/cats", "1.0.0", "ab" * 32, "cd" * 32)
RECORD = Record(
    dataset="vision/cats",
    label="1.0.1",
    tree=bytes(range(32)),
    parents=(PARENT,),
    created=NOW,
    author="Zoë <z@example.org>",
    message='July photos\n"new"',
    files=3,
    size=1 << 40,
    entries=4,
    metadata={"split": {"train": 0.8}, "tags": ["a", None, True]},
    tool="dataver 0.1",
    write_id="0f" * 16,
)
OLD = (
    '{"author":"Zoë <z@example.org>","created":"2026-07-01T12:30:15.000005Z","dataset":"vision/cats",'
    '"entries":4,"files":3,"format":1,"label":"1.0.1","message":"July photos\\n\\"new\\"",'
    '"metadata":{"split":{"train":0.8},"tags":["a",null,true]},'
    '"parents":[{"dataset":"vision/cats","label":"1.0.0","record":"'
    + "ab" * 32
    + '","tree":"'
    + "cd" * 32
    + '"}],'
    '"size":1099511627776,"tool":"dataver 0.1",'
    '"tree":"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f","write_id":"'
    + "0f" * 16
    + '"}'
).encode()

GOLDEN = OLD.replace(b'"format":1', b'"format":2').replace(
    b'"created"', b'"checksum":"2270246d3736f417","created"', 1
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 62), 1 << 62)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def test_the_bytes_of_a_record_are_pinned() -> None:
    """The record of docs/format.md, byte for byte: its id depends on them."""
    assert RECORD.encode() == GOLDEN
    assert parse_record(GOLDEN) == RECORD == parse_record(OLD)
    assert record_id(GOLDEN) == derived(CONTEXT_RECORD, GOLDEN)


def test_a_fork_has_one_key_more_and_its_name_is_checked() -> None:
    """Versions of the main line have no `line`; what cannot be a label is damage."""
    fork = replace(RECORD, label="1.0.0-fork.1", line="1.0.0-fork.1")
    data = fork.encode()
    assert b'"line":"1.0.0-fork.1"' in data
    assert parse_record(data) == fork
    for line in ("a/b", "latest"):
        with pytest.raises(InvalidInput):
            replace(RECORD, line=line).encode()


@given(
    st.dictionaries(st.text(), JSON, max_size=4),
    st.text(),
    st.text(),
    st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5))]), min_value=datetime(2, 1, 1)),
    st.integers(0, 64),
)
def test_a_record_survives_encoding(
    metadata: dict[str, Any], author: str, message: str, created: datetime, parents: int
) -> None:
    """Parsing what was encoded gives an equal record, and encoding that the same bytes."""
    record = replace(
        RECORD,
        metadata=metadata,
        author=author,
        message=message,
        created=created,
        parents=(PARENT,) * parents,
    )
    data = record.encode()
    assert parse_record(data) == record
    assert parse_record(data).encode() == data


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": "../up"},
        {"label": "latest"},
        {"label": ""},
        {"tree": b"short"},
        {"files": -1},
        {"size": True},
        {"size": 1 << 63},
        {"created": datetime(2026, 1, 1)},  # no time zone
        {"author": "\ud800"},
        {"write_id": "XYZ"},
        {"metadata": {"a": float("nan")}},
        {"metadata": {"a": float("inf")}},
        {"metadata": {1: "a"}},
        {"metadata": {"a": (1, 2)}},
        {"metadata": {"a": {1, 2}}},
        {"metadata": []},
        {"metadata": {"a": "x" * MAX_JSON}},
        {"parents": (PARENT,) * 65},
        {"parents": (replace(PARENT, record="ab"),)},
    ],
)
def test_what_a_record_cannot_hold_is_refused(changes: dict[str, Any]) -> None:
    """Bad values of a caller are InvalidInput before anything is written."""
    with pytest.raises(InvalidInput):
        replace(RECORD, **changes).encode()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"format":1', b'"format":0'),
        (b'"format":1', b'"format":"1"'),
        (b'"format":1,', b""),
        (b'"label":"1.0.1"', b'"label":"../x"'),
        (b'"dataset":"vision/cats","entries"', b'"dataset":"../../etc","entries"'),
        (b'"size":1099511627776', b'"size":-1'),
        (b'"size":1099511627776', b'"size":1.5'),
        (b'"size":1099511627776', b'"size":' + b"9" * 30),
        (b'"size":1099511627776', b'"size":true'),
        (b'"created":"2026-07', b'"created":"2026-13'),
        (b'.000005Z"', b'.000005+00:00"'),
        (b'"tree":"00', b'"tree":"0G'),
        (b'"tree":"000102', b'"tree":"0001'),
        (b'"parents":[{', b'"parents":[1,{'),
        (b'"files":3', b'"files":3,"files":3'),
        (b'"files":3', b'"files": 3'),
        (b"0.8", b"NaN"),
        (b"0.8", b"1e999"),
        (b"0.8", b"0.80"),
        (b'["a",', b'["\\ud800",'),
        (b'["a",', b'["\\u0061",'),
        (b'["a",', b'["\xff",'),
        (b"null", b"[" * 40 + b"]" * 40),
        (b"null", b"[" * 200_000 + b"]" * 200_000),
        (b'"write_id"', b'"writ_id"'),
    ],
)
def test_damaged_records_are_refused(old: bytes, new: bytes) -> None:
    """Every field has its type and its bounds, and the text has one spelling."""
    assert OLD.count(old) >= 1
    with pytest.raises(IntegrityError):
        parse_record(OLD.replace(old, new, 1))


def test_every_flipped_bit_is_seen() -> None:
    """No bit of a record can change unseen, in its texts as little as in its checksum."""
    for bit in range(8 * len(GOLDEN)):
        bad = bytearray(GOLDEN)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises((IntegrityError, FormatTooNew)):
            parse_record(bytes(bad))


def test_a_newer_record_is_refused_by_number() -> None:
    """Both numbers are named."""
    with pytest.raises(FormatTooNew, match=r"format 3.*up to 2"):
        parse_record(OLD.replace(b'"format":1', b'"format":3'))


def test_unknown_keys_are_passed_over() -> None:
    """A later version may add keys without a new format number."""
    assert parse_record(OLD.replace(b',"files"', b',"extra":[1],"files"')) == RECORD


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data: bytes) -> None:
    """Nothing but our two errors comes of bytes that are no record."""
    for bad in (data, b"{" + data + b"}", OLD[: len(data)], OLD + data + b" "):
        with pytest.raises((IntegrityError, FormatTooNew)):
            parse_record(bad)


@given(JSON)
def test_any_json_is_an_object_or_refused(value: Any) -> None:
    """Canonical text reads back as it was; what is no object is refused."""
    wrapped = {"value": value}
    assert decode_json(encode_json(wrapped, "it"), "it") == wrapped
    if not isinstance(value, dict):
        with pytest.raises(IntegrityError):
            decode_json(encode_json(wrapped, "it")[9:-1], "it")


def test_size_is_bounded_before_parsing() -> None:
    """More than 1 MiB is refused unread."""
    with pytest.raises(IntegrityError, match="the limit is"):
        parse_record(b" " * (MAX_JSON + 1))
