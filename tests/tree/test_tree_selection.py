"""Patterns choose the paths their documentation says."""

import time
from functools import lru_cache
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tree_models import BlockBox, build_model, entry_of

from dataver.errors import InvalidInput, PathNotFound
from dataver.formats.entry import Kind
from dataver.tree import Selection, Tree
from dataver.tree.selection import WHOLE
from properties import examples

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


def tree_of(paths, empty=None):
    """Return a tree of files, or of an empty folder, at some paths."""
    box = BlockBox()
    return Tree(
        build_model(box, {path: entry_of(path, 6 if path == empty else 1) for path in paths}).digest, box.load
    )


def chosen(paths, include, **more):
    """Return which of some paths, those of a tree, patterns choose."""
    tree = tree_of(paths)
    selection = Selection.of(tree, include, **more)
    return [leaf.paths[number] for leaf, numbers in selection.parts(tree) for number in numbers]


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
    assert chosen(PATHS, pattern) == expected
    selection = Selection.of(tree_of(PATHS), pattern)
    assert all(path.startswith(selection.prefix()) for path in expected)


def test_excluded_paths_are_left_out():
    """Exclusion wins."""
    assert chosen(PATHS, "train", exclude="*.jpg") == ["train"]
    assert chosen(PATHS, None, exclude=["train", "old"]) == ["a.jpg", "labels.csv", "train.txt"]


def test_exclusions_must_leave_something():
    """One that matches nothing is harmless; those that together leave nothing are named."""
    tree = tree_of(PATHS)
    Selection.of(tree, "old", "none.txt").require(tree)
    with pytest.raises(PathNotFound, match=r"'\*\.csv', 'old/train' exclude all of the version"):
        Selection.of(tree, "old", ["*.csv", "old/train"]).require(tree)
    with pytest.raises(PathNotFound, match=r"'\*\*' excludes all"):
        Selection.of(tree, exclude="**").require(tree)


def test_several_patterns_share_what_they_begin_with():
    """The prefix is what all have in common, so that a reader can skip the rest."""
    assert Selection(("train/a/**", "train/b.jpg")).prefix() == "train/"
    assert Selection(("train", "valid")).prefix() == ""
    assert Selection(("train", "*.jpg")).prefix() == ""
    assert WHOLE.prefix() == ""
    assert WHOLE.whole and WHOLE.matcher()("a")


@pytest.mark.parametrize("pattern", ["", "/", "./", "[z-a]", []])
def test_what_is_no_pattern_is_refused(pattern):
    """An empty pattern chooses nothing on purpose, so it is a mistake."""
    with pytest.raises(InvalidInput):
        Selection.of(tree_of(PATHS), pattern)


@given(st.text("ab/*?[]!-^.&~|", min_size=1, max_size=8), st.text("ab/.", max_size=6))
def test_any_pattern_works_or_is_refused(pattern, path):
    """No pattern raises anything else or warns, and what matches has the prefix."""
    try:
        selection = Selection.of(tree_of(["a"]), pattern)
    except InvalidInput:
        return
    if selection.matcher()(path):
        assert path.startswith(selection.prefix())


ODD = ["[.txt", "[].txt", "[abc].txt", "a.txt", "q?.txt", "qx.txt", "st*r", "star", "[x]/in", "x/in"]


@pytest.mark.parametrize("path", [path for path in ODD if "/" not in path])
def test_an_exact_path_is_that_path(path):
    """A pattern that a file of the version is named by chooses that file alone, however it is spelled."""
    for spelling in (path, f"/{path}", f"./{path}", f"{path}/", f".//{path}"):
        assert chosen(ODD, spelling) == [path]
    selection = Selection.of(tree_of(ODD), path)
    assert Selection.of(tree_of(ODD), selection) is selection
    assert [each for each in ODD if selection.matcher()(each)] == [path], "and needs no tree to be understood"


def test_an_exact_folder_is_that_folder():
    """A folder counts as a path of the version, too; a name that is no path is a pattern."""
    assert chosen(ODD, "[x]") == ["[x]/in"]
    assert chosen(["x/in", "y/in"], "[x]") == ["x/in"]


@pytest.mark.parametrize(
    ("spellings", "expected"),
    [
        (["train/a", "/train/a", "./train/a", "train//a", "train/./a/", Path("train/a")], ["train/a/b.jpg"]),
        (["train/*.jpg", "/train/*.jpg", "./train//*.jpg", PurePosixPath("train/*.jpg")], ["train/c.jpg"]),
        (["/*.jpg", "./*.jpg", "//*.jpg"], ["a.jpg"]),
    ],
)
def test_a_pattern_has_several_spellings(spellings, expected):
    """Slashes too many, `.` and path objects change nothing; all give one selection."""
    assert len({Selection.of(tree_of(PATHS), each) for each in spellings}) == 1
    for each in spellings:
        assert chosen(PATHS, each) == expected


def test_each_pattern_that_chooses_nothing_is_named():
    """`require` names all of them; of files, a pattern that chooses links and folders only is one."""
    tree = tree_of([*PATHS, "empty"], empty="empty")
    wanted = Selection.of(tree, ["train/**", "vall/**", "nope", "*.jpg", "empty"])
    with pytest.raises(PathNotFound, match=r"^nothing in the version matches 'nope', 'vall/\*\*'\."):
        wanted.require(tree)
    with pytest.raises(PathNotFound, match=r"^no file in the draft matches 'empty', 'nope', 'vall/\*\*'\."):
        wanted.require(tree, (Kind.FILE, Kind.EXECUTABLE), where="the draft")
    Selection.of(tree, ["train", "*.jpg", "**"]).require(tree)


@given(st.lists(st.text("ab/*?[]", min_size=1, max_size=5), min_size=1, max_size=3))
def test_a_selection_is_what_its_patterns_choose_one_by_one(patterns):
    """Whatever they share, several patterns choose the union of what each chooses, in path order."""
    paths = ["[a]", "a*", "aa/b", "ab", "b/a/b", "b/a?", "b/b"]
    try:
        each = {path for pattern in patterns for path in chosen(paths, pattern)}
    except InvalidInput:
        return
    assert chosen(paths, patterns) == sorted(each)


def means(pattern, path):
    """Tell whether a pattern without sets means a path, by trying everything: the definition, slowly."""

    @lru_cache(None)
    def fits(at, start):
        if at == len(pattern):
            return start == len(path) or path[start] == "/"
        if pattern.startswith("**/", at) and (at == 0 or pattern[at - 1] == "/"):
            behind = [start, *(place + 1 for place in range(start, len(path)) if path[place] == "/")]
            return any(fits(at + 3, place) for place in behind)
        if pattern.startswith("**", at):
            stars = len(pattern) - at - len(pattern[at:].lstrip("*"))
            return any(fits(at + stars, place) for place in range(start, len(path) + 1))
        if pattern[at] == "*":
            end = path.find("/", start)
            return any(fits(at + 1, place) for place in range(start, (len(path) if end < 0 else end) + 1))
        if start == len(path):
            return False
        return (pattern[at] == path[start] or (pattern[at] == "?" and path[start] != "/")) and fits(
            at + 1, start + 1
        )

    anywhere = "/" not in pattern and any(each in pattern for each in "*?")
    starts = [0, *(place + 1 for place in range(len(path)) if anywhere and path[place] == "/")]
    return any(fits(0, start) for start in starts)


_PARTS = st.sampled_from(["a", "b", "ab", "*", "?", "*a", "a*b", "*a*b*", "**", "a**", "**b", "a?*"])


@settings(max_examples=examples(400))
@given(
    st.lists(_PARTS, min_size=1, max_size=5).map("/".join),
    st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=5).map("/".join),
)
def test_wildcards_mean_what_the_definition_says(pattern, path):
    """Whatever stands between stars: the quick way to match and the slow one agree."""
    assert Selection((pattern,)).matcher()(path) is means(pattern, path)


@pytest.mark.parametrize(
    "pattern", ["*a" * 25 + "b", "**a" * 25 + "b", "**/*a*a" * 8 + "/*b", "**/a/" * 12 + "b"]
)
@pytest.mark.parametrize("path", ["a" * 4000, "a/" * 2000 + "c", "a" * 200])
def test_no_pattern_takes_long(pattern, path):
    """A pattern that a stranger wrote into an event is answered at once, though nothing fits it."""
    began = time.process_time()
    assert not Selection((pattern,)).matcher()(path)
    assert time.process_time() - began < 5  # by trying all ways it takes longer than anyone waits
