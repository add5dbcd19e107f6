"""What headers ask for, without any server."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataver.web.request import Span, Stamp, host_of, parse_target, span_of, split_authority, wants_json

numbers = st.integers(0, 2_000)


@given(numbers, numbers, st.integers(1, 1_500))
def test_one_range_is_pythons_slice(first: int, last: int, size: int) -> None:
    """A range, an open range and a suffix select what a slice of the bytes does."""
    content = bytes(index % 251 for index in range(size))
    for header, expected in (
        (f"bytes={first}-{last}", content[first : last + 1] if first <= last else None),
        (f"bytes={first}-", content[first:]),
        (f"bytes=-{last}", content[max(0, size - last) :] if last else b""),
        (f"BYTES = {first} - ", None),
    ):
        found = span_of(header, size)
        if expected is None:
            assert found is None
        else:
            assert found is not None and content[found.start : found.stop] == expected


@given(st.text(max_size=40), st.integers(0, 100))
def test_any_header_is_a_range_or_none(text: str, size: int) -> None:
    """Whatever a client writes, what comes out lies in the file."""
    for header in (text, f"bytes={text}"):
        if (span := span_of(header, size)) is not None:
            assert 0 <= span.start <= span.stop <= size


@given(st.text(max_size=60))
def test_any_target_is_a_path_or_none(text: str) -> None:
    """Whatever is asked for, a path has no empty part, no dots and no NUL."""
    for target in (text, f"/{text}"):
        found = parse_target(target)
        if found.path:
            assert "\0" not in found.path
            assert not {"", ".", ".."} & set(found.path.split("/"))


def test_targets() -> None:
    """Encoded characters are decoded once; a slash at the end is remembered; values are read."""
    assert parse_target("/a%20b/c%2520d/?format=json&x") == (
        "a b/c%20d",
        True,
        {"format": ["json"]},
    )
    assert parse_target("/").path == ""
    assert split_authority("http://LocalHost:80/a/?x") == ("LocalHost:80", "/a/?x")
    assert split_authority("http://localhost") == ("localhost", "/")
    assert split_authority("/http://localhost/") == (None, "/http://localhost/")
    assert parse_target("/a/../b").path is None
    assert parse_target("a/b").path is None
    assert parse_target("//a").path is None
    assert parse_target("/%ff").path is None


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("localhost", "localhost"),
        ("LocalHost:80", "localhost"),
        ("[::1]:80", "::1"),
        ("a.b:80:80", None),
        ("", None),
        ("a b", None),
        ("user@localhost", None),
        ("localhost/", None),
    ],
)
def test_hosts(header: str, host: str | None) -> None:
    """The name without its port, in small letters; what is none is None."""
    assert host_of(header) == host


def test_conditions_on_time_need_a_time() -> None:
    """An address whose content may change has no time to compare, and dates that are none are ignored."""
    made = datetime(2026, 3, 4, 5, 6, 7, 890_000, tzinfo=UTC)
    fixed, moving = Stamp('"x"', made), Stamp('"x"', None)
    assert fixed.date == "Wed, 04 Mar 2026 05:06:07 GMT"
    assert fixed.unchanged({"If-Modified-Since": "Wed, 04 Mar 2026 05:06:07 GMT"})
    for other in ("Wed, 04 Mar 2026 05:06:06 GMT", "Wed, 04 Mar 2026 05:06:08 GMT"):
        assert not fixed.unchanged({"If-Modified-Since": other})
    assert not moving.unchanged({"If-Modified-Since": "Wed, 04 Mar 2026 05:06:07 GMT"})
    assert not fixed.unchanged({"If-Modified-Since": "yesterday"})
    assert fixed.unchanged({"If-None-Match": "*"})
    assert fixed.ranges_hold({})
    assert not moving.ranges_hold({"If-Range": "Wed, 04 Mar 2026 05:06:07 GMT"})
    assert not fixed.refused({})
    assert fixed.refused({"If-Unmodified-Since": "Wed, 04 Mar 2026 05:06:06 GMT"})
    assert not fixed.refused({"If-Unmodified-Since": "Wed, 04 Mar 2026 05:06:07 GMT"})
    assert not moving.refused({"If-Unmodified-Since": "Wed, 04 Mar 2026 05:06:06 GMT"})
    assert fixed.refused({"If-Match": 'W/"x"'}) and not fixed.refused({"If-Match": '"y", "x"'})
    assert fixed.unchanged({"If-None-Match": '"y",W/"x"'})


def test_the_form_of_a_listing() -> None:
    """The query wins over the header; a browser gets a page."""
    assert wants_json(parse_target("/?format=json"), "text/html")
    assert not wants_json(parse_target("/?format=html"), "application/json")
    assert wants_json(parse_target("/"), "application/json")
    assert not wants_json(parse_target("/"), "text/html,application/json")
    assert not wants_json(parse_target("/"), None)
    assert span_of("bytes=0-0", 1) == Span(0, 1)
    assert span_of("bytes=, 0-1 ,,", 9) == Span(0, 2)
    assert span_of("bytes=0-1,3-4", 9) is None
