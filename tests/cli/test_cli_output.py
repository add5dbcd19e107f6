"""Sizes, tables, progress bars and graphs."""

import contextlib
import io
import os
import pty
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataver import progress
from dataver_cli.graph import children_first, draw
from dataver_cli.output import count, duration, safe, size, table


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_951, "1.0 MB"),
        (553_300_000, "553.3 MB"),
        (5 * 10**12, "5.0 TB"),
        (7 * 10**18, "7000.0 PB"),
    ],
)
def test_sizes_read_well(number: int, text: str) -> None:
    """1 MB is 10^6 bytes, and no rounding shows 1000.0 of a unit that has a next one."""
    assert size(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.1234, "0.12 s"), (12.34, "12.3 s"), (200, "3 min 20 s"), (7300, "2 h 1 min")]
)
def test_durations_read_well(seconds: float, text: str) -> None:
    """Seconds, then minutes, then hours."""
    assert duration(seconds) == text


def test_counts_agree_with_their_noun() -> None:
    """One file, many files."""
    assert [count(n, "file") for n in (0, 1, 8000)] == ["0 files", "1 file", "8,000 files"]
    assert count(2, "entry", "entries") == "2 entries"


def test_a_table_is_cut_at_the_width_of_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wide characters count twice; a pipe gets whole lines."""
    rows = [("a", "0123456789abcdef"), ("b", "日本" * 5)]
    assert table(rows, shorten=1) == ["a  0123456789abcdef", f"b  {'日本' * 5}"]
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setenv("COLUMNS", "15")
    assert table(rows, shorten=1) == ["a  0123456789a…", "b  日本日本日…"]
    assert table([("x" * 20, "y")], omit=(0,)) == ["y"]


@given(st.text())
def test_safe_text_is_printable(text: str) -> None:
    """Whatever a name holds, what is printed moves no cursor; printable text stays as it is."""
    assert safe(text).isprintable()
    if text.isprintable():
        assert safe(text) == text


def test_columns_align_for_wide_characters() -> None:
    """A wide character takes two columns; numbers align to the right."""
    rows = table([("猫", "1"), ("cats", "100")], ("NAME", "N"), right=(1,))
    assert rows == ["NAME    N", "猫      1", "cats  100"]


class Terminal(io.StringIO):
    """A stderr that people look at."""

    def isatty(self) -> bool:
        return True


def test_bar_shows_bytes_files_and_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar on a terminal shows bytes, files and the new bytes, in 80 columns."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    with progress.Bar("Adding", command=True, shown=True, fresh="new") as bar:
        bar.start(10, 4_000_000)
        bar.advance(5, 2_000_000, new=500_000)
    said = screen.getvalue()
    assert "Adding" in said
    assert "5 of 10 files, 500kB new]" in said


def test_bar_moves_within_a_large_file_and_says_nothing_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is known there is no bar of zeros; new bytes of an incomplete file count."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    with progress.Bar("Adding", command=True, shown=True, fresh="new") as bar:
        bar.advance(0, 0)
        assert screen.getvalue() == ""
        bar.start(1, 1_000_000)
        bar.advance(0, 0, new=500_000)
    assert " 50%" in screen.getvalue()
    assert "0 of 1 file, 500kB new]" in screen.getvalue()


def test_bar_is_drawn_on_a_real_terminal() -> None:
    """On a terminal, here one that does not know its size, the bar appears and is cleared at the end."""
    code = (
        "from dataver import progress; progress._PATIENCE = 0.0\n"
        "with progress.Bar('Adding', command=True, shown=True) as bar:\n"
        "    bar.start(2, 100); bar.advance(1, 50)"
    )
    master, slave = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", code], stderr=slave)
    os.close(slave)
    said = b""
    with contextlib.suppress(OSError):  # how Linux says that the other end is closed
        while piece := os.read(master, 4096):
            said += piece
    os.close(master)
    assert process.wait() == 0
    assert b"1 of 2 files" in said
    assert said.endswith(b"\r")


@pytest.mark.parametrize(("screen", "shown"), [(Terminal(), False), (io.StringIO(), True)])
def test_no_bar_where_nobody_looks(monkeypatch: pytest.MonkeyPatch, screen: io.StringIO, shown: bool) -> None:
    """Quiet commands and streams that are no terminal get no bar."""
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    with progress.Bar("Adding", command=True, shown=shown) as bar:
        bar.advance(1, 1)
    assert screen.getvalue() == ""


def test_no_bar_for_what_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before its second is over, nothing is drawn."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(progress, "_PATIENCE", 1e9)
    with progress.Bar("Adding", command=True, shown=True) as bar:
        bar.advance(1, 1)
    assert screen.getvalue() == ""


def lines(parents: dict[str, list[str]]) -> list[str]:
    order = children_first(parents, ord)
    return list(draw(order, parents, lambda node: [node, node.upper()]))


def test_graph_of_a_line() -> None:
    """A history without branches is one column."""
    assert lines({"b": ["a"], "a": []}) == ["* b", "| B", "* a", "  A"]


def test_graph_of_a_merge() -> None:
    """A merge opens a column, and the common parent closes it."""
    assert lines({"d": ["b", "c"], "c": ["a"], "b": ["a"], "a": []}) == [
        "* d",
        "|\\ ",
        "| | D",
        "| * c",
        "| | C",
        "* | b",
        "| | B",
        "|/",
        "* a",
        "  A",
    ]


@given(st.lists(st.lists(st.integers(0, 30), max_size=3), max_size=25))
def test_graph_shows_every_node_once_and_children_first(picks: list[list[int]]) -> None:
    """Any history: each node has one star, and stands before its parents."""
    parents = {
        str(node): [str(pick % node) for pick in picked] if node else [] for node, picked in enumerate(picks)
    }
    order = children_first(parents, float)
    assert sorted(order) == sorted(parents)
    assert all(order.index(node) < order.index(parent) for node in parents for parent in parents[node])
    stars = [
        line.partition("* ")[2] for line in draw(order, parents, lambda node: [f"n{node}"]) if "*" in line
    ]
    assert [star.split()[-1] for star in stars] == [f"n{node}" for node in order]
