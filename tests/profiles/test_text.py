"""Profiles of text files, and the choice of a kind by name."""

import pytest

from dataver.profiles.kinds import kind_of

from .sources import profile


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.TXT", "text"), ("x/y.tar/b.md", "text"), (".txt", None), ("README", None), ("a.b.c.rst", "text")],
)
def test_the_name_decides_the_kind(name: str, kind: str | None):
    found = kind_of(name)
    assert (found and found.name) == kind


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_lines_are_counted_in_any_encoding_with_a_mark(encoding: str):
    found = profile("a.txt", "eins\nzwei ä\n\ndrei".encode(encoding))
    assert found == {"kind": "text", "full": True, "encoding": encoding, "lines": 4}


def test_mixed_encodings_are_a_problem_and_not_an_error():
    data = "ä\n".encode() * 10 + "ä\n".encode("latin-1")
    assert "not utf-8" in profile("a.txt", data)["problem"]
    assert "problem" not in profile("a.txt", "é".encode() * 200_000, full=False)  # cut inside a character


def test_a_cheap_profile_counts_the_lines_of_short_files_only():
    assert profile("a.txt", b"x\n" * 10, full=False)["lines"] == 10
    assert "lines" not in profile("a.txt", b"x\n" * 100_000, full=False)
    assert profile("a.txt", b"x\n" * 2_000_000)["lines"] == 2_000_000
    assert profile("a.txt", b"")["lines"] == 0
