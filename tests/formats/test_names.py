"""Names: what may be one, and how labels count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataver.errors import InvalidInput
from dataver.formats.names import check_dataset_name, check_label, check_tag, next_label, parse_semver


@pytest.mark.parametrize("name", ["cats", "vision/cats", "A_1/b.c/d-e", "x" * 200, "_hidden", "1"])
def test_usual_names_are_taken(name: str) -> None:
    """Letters, digits, dots, underscores and hyphens, in parts."""
    check_dataset_name(name)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "empty"),
        ("/a", "empty part"),
        ("a//b", "empty part"),
        ("a/", "empty part"),
        (".", "begins with"),
        ("a/..", "begins with"),
        (".tmp-1", "begins with"),
        ("-rf", "begins with"),
        ("a.", "ends with"),
        ("a b", "' '"),
        ("a@b", "'@'"),
        ("a\\b", "character"),
        ("a\n", "character"),
        ("katzen-ä", "'ä'"),
        ("a/versions", "is reserved"),
        ("Tags/a", "is reserved"),
        ("x" * 201, "the limit is 200"),
    ],
)
def test_other_names_are_refused_with_the_reason(name: str, why: str) -> None:
    """Each rule has its sentence."""
    with pytest.raises(InvalidInput, match=why):
        check_dataset_name(name)


@pytest.mark.parametrize("check", [check_label, check_tag])
@pytest.mark.parametrize("name", ["", "a/b", "latest", "Latest", "..", "a b", "-1", "x" * 201, "٣.0.0"])
def test_labels_and_tags_are_one_part_and_never_latest(check: object, name: str) -> None:
    """A label or a tag is one part of a name; `latest` is computed."""
    assert callable(check)
    with pytest.raises(InvalidInput):
        check(name)
    check("1.0.0-rc.1")
    check("versions")


@given(st.text(max_size=12))
def test_any_text_is_taken_or_refused(name: str) -> None:
    """No text makes a check fail in another way, and what is taken cannot leave its folder."""
    try:
        check_dataset_name(name)
    except InvalidInput:
        return
    assert name.isascii()
    assert not any(part in {"", ".", "..", "versions", "tags"} for part in name.split("/"))


def test_labels_count_as_numbers() -> None:
    """`1.10.0` comes after `1.9.0`; what is not semantic is passed over."""
    taken = ["1.9.0", "1.10.0", "draft", "2.0", "01.0.0", "3.0.0-rc", "9.9.9999999999"]
    assert [parse_semver(label) for label in taken[2:]] == [None] * 5
    assert next_label(taken) == "1.10.1"
    assert next_label(taken, "minor") == "1.11.0"
    assert next_label(taken, "major") == "2.0.0"
    assert next_label([]) == next_label(["x"], "major") == "1.0.0"
    with pytest.raises(InvalidInput, match="'huge'"):
        next_label([], "huge")


@given(
    st.lists(st.tuples(*[st.integers(0, 30)] * 3), min_size=1), st.sampled_from(["major", "minor", "patch"])
)
def test_the_next_label_is_above_all(taken: list[tuple[int, int, int]], bump: str) -> None:
    """An automatic label is higher than every semantic one that exists."""
    labels = [".".join(map(str, numbers)) for numbers in taken]
    following = parse_semver(next_label(labels, bump))
    assert following is not None
    assert following > max(taken)
