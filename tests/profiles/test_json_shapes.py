"""Profiles of JSON: the shape of a value, bounded for any value."""

import json

from dataver.formats.profile import decode_profile, encode_profile

from .sources import profile


def test_shape():
    value = {"name": "x", "box": [1, 2.5, None], "items": [{"id": 1, "on": True}, {"id": 2, "on": False}]}
    assert profile("a.json", json.dumps(value).encode()) == {
        "kind": "json",
        "full": True,
        "shape": {
            "keys": {
                "name": "text",
                "box": {"list": 3, "of": ["number", "null"]},
                "items": {"list": 2, "of": [{"keys": {"id": "number", "on": "boolean"}}]},
            }
        },
    }
    assert profile("a.json", b"3", full=False)["shape"] == "number"


def test_any_shape_fits_into_a_profile():
    """Wide, varied and nested values: 50 keys of 50 keys of …, lists of different objects."""
    wide = {
        f"{number}": {f"k{number}{key}": [{f"{key}": each} for each in range(55)] for key in range(55)}
        for number in range(55)
    }
    found = profile("a.json", json.dumps(wide).encode())
    assert found["shape"]["count"] == 55
    line = encode_profile(found)
    assert len(line) < 200_000 and decode_profile(line) == found


def test_hostile_files_have_a_problem():
    assert "nested too deeply" in profile("a.json", b"[" * 200_000 + b"]" * 200_000)["problem"]
    for data in (b"", b"{", b"\xff\xfe\xfd", b'{"a": 1} 2', b"1" * 10_000):
        assert profile("a.json", data)["problem"]
    assert profile("a.json", b'{"\\ud800": 1}')["shape"] == {"keys": {"?": "number"}}


def test_a_cheap_profile_is_of_a_short_file():
    from dataver.profiles.kinds import kind_of, make_profile

    from .sources import Bytes

    kind = kind_of("a.json")
    assert kind is not None
    assert make_profile(kind, Bytes("a.json", b"1" * 100_000), full=False) is None
