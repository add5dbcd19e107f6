"""Patterns choose the paths their documentation says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataver.errors import InvalidInput
from dataver.tree import Selection

PATHS = [
    "a.jpg",
    "labels.csv",
    "old/labels.csv",
    "old/train/x.jpg",
    "train",
    "train.txt",
    "train/a/b.jpg",
    "train/c.jpg",
]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jpg", ["a.jpg", "old/train/x.jpg", "train/a/b.jpg", "train/c.jpg"]),
        ("train", ["train", "train/a/b.jpg", "train/c.jpg"]),
        ("train/", ["train", "train/a/b.jpg", "train/c.jpg"]),
        ("/train", ["train", "train/a/b.jpg", "train/c.jpg"]),
        ("./train/*.jpg", ["train/c.jpg"]),
        ("train/*", ["train/a/b.jpg", "train/c.jpg"]),
        ("train/**", ["train/a/b.jpg", "train/c.jpg"]),
        ("train/**/*.jpg", ["train/a/b.jpg", "train/c.jpg"]),
        ("**/train", ["old/train/x.jpg", "train", "train/a/b.jpg", "train/c.jpg"]),
        ("**/labels.csv", ["labels.csv", "old/labels.csv"]),
        ("labels.csv", ["labels.csv"]),
        ("?.jpg", ["a.jpg", "old/train/x.jpg", "train/a/b.jpg", "train/c.jpg"]),
        ("[!a-b].jpg", ["old/train/x.jpg", "train/c.jpg"]),
        ("train[.]txt", ["train.txt"]),
        ("train[.-/]c.jpg", []),
        ("train[!x]c.jpg", []),
        ("**", PATHS),
        ("*", PATHS),
    ],
)
def test_each_kind_of_pattern_chooses_its_paths(pattern, expected):
    """The table in the module's docstring, and its edges."""
    selection = Selection([pattern])
    assert [path for path in PATHS if selection.matches(path)] == expected
    assert all(path.startswith(selection.prefix()) for path in expected)


def test_excluded_paths_are_left_out():
    """Exclusion wins."""
    selection = Selection(["train"], exclude=["*.jpg"])
    assert [path for path in PATHS if selection.matches(path)] == ["train"]


def test_several_patterns_share_what_they_begin_with():
    """The prefix is what all have in common, so that a reader can skip the rest."""
    assert Selection(["train/a/**", "train/b.jpg"]).prefix() == "train/"
    assert Selection(["train", "valid"]).prefix() == ""
    assert Selection(["train", "*.jpg"]).prefix() == ""
    assert Selection([]).prefix() == ""
    assert not Selection([]).matches("a")


@pytest.mark.parametrize("pattern", ["", "/", "./", "[z-a]"])
def test_what_is_no_pattern_is_refused(pattern):
    """An empty pattern chooses nothing on purpose, so it is a mistake."""
    with pytest.raises(InvalidInput):
        Selection([pattern])


@given(st.text("ab/*?[]!-^.&~|", min_size=1, max_size=8), st.text("ab/.", max_size=6))
def test_any_pattern_works_or_is_refused(pattern, path):
    """No pattern raises anything else or warns, and what matches has the prefix."""
    try:
        selection = Selection([pattern])
    except InvalidInput:
        return
    if selection.matches(path):
        assert path.startswith(selection.prefix())
