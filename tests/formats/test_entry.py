"""What a path may look like, and what only some systems cannot hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataver.errors import InvalidInput
from dataver.formats.entry import (
    Entry,
    Extent,
    Kind,
    check_path,
    check_paths,
    check_target,
    portability_problems,
    same_content,
)

GOOD = ["a", "a/b", "train/cat 1.jpg", "ümlaut/日本語.txt", ".hidden", "a..b", "...", "a:b", "CON", "x" * 255]
BAD = {
    "": "empty",
    "/etc/passwd": "absolute",
    ".": "part '.'",
    "a/../b": "part '..'",
    "a//b": "empty part",
    "a/": "empty part",
    "a\0b": "control",
    "a\nb": "control",
    "a\x9bb": "control",
    "a\\b": "backslash",
    "a\ud800": "Unicode",
    ".git/config": "reserved",
    "x/.GIT": "reserved",
    "x/.dataver/y": "reserved",
    "x" * 256: "255 bytes",
    "é" * 128: "255 bytes",
    "/".join(["d" * 200] * 21): "4096 bytes",
}


@pytest.mark.parametrize("path", GOOD)
def test_good_paths_are_taken(path):
    """Names that every system can at least store are no error."""
    check_path(path)
    check_paths([path])


@pytest.mark.parametrize(("path", "why"), BAD.items(), ids=[repr(path)[:20] for path in BAD])
def test_bad_paths_are_refused_each_with_its_reason(path, why):
    """A path that could leave its folder or name something else says why it is refused."""
    with pytest.raises(InvalidInput, match=why):
        check_path(path)
    with pytest.raises(InvalidInput, match=why):
        check_paths([*GOOD, path])


def test_a_path_of_4096_bytes_is_taken():
    """The limit itself is allowed."""
    path = "/".join(["d" * 255] * 15 + ["e" * 256])[:4096]
    assert len(path) == 4096
    with pytest.raises(InvalidInput, match="255"):
        check_path(path)
    check_path("/".join(["d" * 240] * 16 + ["e" * 240])[:4096])


@given(st.lists(st.text(st.characters(), max_size=8), max_size=6))
def test_checking_many_paths_equals_checking_each(paths):
    """The fast test of all at once misses nothing and refuses nothing more."""
    try:
        for path in paths:
            check_path(path)
    except InvalidInput:
        with pytest.raises(InvalidInput):
            check_paths(paths)
    else:
        check_paths(paths)


@given(st.lists(st.text("/.\\abgit\0\x7f", max_size=6), max_size=4))
def test_checking_many_suspicious_paths_equals_checking_each(paths):
    """The same, where nearly every character is a dangerous one."""
    test_checking_many_paths_equals_checking_each.hypothesis.inner_test(paths)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_paths_sort_like_their_bytes(one, two):
    """Python's order of str is the order of UTF-8 bytes, on which trees rely."""
    assert (one < two) == (one.encode() < two.encode())


@pytest.mark.parametrize("target", ["", "a\0b", "\udcff", "x" * 4097])
def test_link_targets_no_system_can_hold_are_refused(target):
    """Targets are stored as they are, within what a file system can hold."""
    with pytest.raises(InvalidInput):
        check_target("link", target)


def test_link_targets_that_leave_the_dataset_are_stored():
    """Whether a link may be made is decided where it is made."""
    check_target("link", "/etc/passwd")
    check_target("link", "../../x")


def test_identity_leaves_out_the_extents():
    """Two entries are the same content wherever their bytes lie."""
    here = Entry("a", Kind.FILE, 3, b"d" * 32, "", (Extent(b"p" * 32, 8, 9, 0, 3),))
    assert same_content(here, here._replace(extents=()))
    assert not same_content(here, here._replace(kind=Kind.EXECUTABLE))
    assert not same_content(here, None)
    assert same_content(None, None)


def test_names_some_systems_cannot_hold_are_listed():
    """Reserved names, characters, endings, case and Unicode form are each named once, folders too."""
    paths = sorted(
        [
            "A/x",
            "a/y",
            "aux/x",
            "con.txt",
            "dot.",
            "e\u0301",
            "fine/Fine",
            "q?",
            "Read",
            "read",
            "\u00e9",
            "z",
        ]
    )
    found = dict(portability_problems(paths))
    assert set(found) == {"a", "aux", "con.txt", "dot.", "q?", "read", "\u00e9"}
    assert "'A'" in found["a"]
    assert "reserved" in found["aux"]
    assert "'Read'" in found["read"]


@given(st.lists(st.text("abAB/.", min_size=1, max_size=5), unique=True))
def test_every_folding_pair_is_listed(paths):
    """A path is listed for its spelling exactly when an earlier name folds to the same."""
    paths = sorted(p for p in paths if not p.startswith("/") and not p.endswith("/") and "//" not in p)
    paths = [p for p in paths if not any(other.startswith(p + "/") for other in paths)]
    names = {"/".join(p.split("/")[: n + 1]): None for p in paths for n in range(p.count("/") + 1)}
    folded = [name.casefold() for name in names]
    found = [name for name, why in portability_problems(paths) if "only in case" in why]
    assert len(found) == len(folded) - len(set(folded))
