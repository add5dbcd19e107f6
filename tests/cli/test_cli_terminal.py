"""What a person sees at a terminal: tables that fit, colours, a pager; and none of it in a pipe."""

import contextlib
import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Run

from dataver_cli.main import main

_MAIN = "import sys; from dataver_cli.main import main; sys.exit(main(sys.argv[1:]))"
_LONG = "photos of the whole summer, with the ones that arrived late and the ones that nobody wanted"


def screen(*arguments: str, columns: int = 80, lines: int = 24, **environment: str) -> str:
    """Run a command at a terminal of a size; return what it shows, one line after the other."""
    variables = {"TERM": "xterm", "COLUMNS": str(columns), "LINES": str(lines), **environment}
    master, slave = pty.openpty()
    command = [sys.executable, "-c", _MAIN, *arguments]
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "PAGER", "LESS")}
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=kept | variables)
    os.close(slave)
    shown = b""
    with contextlib.suppress(OSError):  # how Linux says that the other end is closed
        while piece := os.read(master, 65536):
            shown += piece
    os.close(master)
    assert process.wait() == 0, shown
    return shown.decode().replace("\r\n", "\n")


@pytest.fixture
def long_message(run: Run, two_versions: Path) -> Path:
    """A third version with a message of more than 80 columns."""
    (two_versions / "late.txt").write_text("late")
    run("sync", two_versions, "--name", "vision/cats", "-m", _LONG)
    return two_versions


@pytest.mark.parametrize("columns", [60, 80, 100, 200])
@pytest.mark.parametrize("command", [("list",), ("list", "vision/cats"), ("du", "vision/cats"), ("runs",)])
def test_a_table_fits_the_terminal(
    run: Run, long_message: Path, columns: int, command: tuple[str, ...]
) -> None:
    """Columns of less worth are left out, then a text is shortened; what names a version stays."""
    table = screen(*command, "--quiet", columns=columns).splitlines()
    assert all(len(line) <= columns for line in table), table
    if command == ("list", "vision/cats"):
        assert [line.split()[0] for line in table[1:]] == [f"vision/cats@1.0.{n}" for n in (2, 1, 0)]
        assert (_LONG in table[1]) == (columns == 200)
        assert ("DIGEST" in table[0]) == (columns == 200)
        assert ("CREATED" in table[0]) == (columns >= 80)


@pytest.mark.parametrize("command", ["head", "stats"])
def test_a_wide_table_names_the_columns_that_do_not_fit(run: Run, tmp_path: Path, command: str) -> None:
    """No row is folded; a pipe has all columns."""
    folder = tmp_path / "wide"
    folder.mkdir()
    names = ",".join(f"measurement_{at}" for at in range(20))
    (folder / "t.csv").write_text(f"{names}\n" + f"{','.join(['123456.789'] * 20)}\n" * 30)
    run("init", "repo")
    run("sync", folder, "--name", "wide")
    lines = screen(command, "wide", "t.csv", "--quiet", columns=60, lines=60).splitlines()
    assert all(len(line) <= 60 for line in lines), lines
    assert lines[-1].endswith("not shown; --json has all")
    assert "measurement_19" in run(command, "wide", "t.csv").out


@pytest.mark.parametrize("columns", [40, 80])
def test_sentences_are_broken_between_words(run: Run, two_versions: Path, columns: int) -> None:
    """Errors, hints and lines of text are folded at a terminal, without a broken word."""
    told = screen("cache", "info", columns=columns)
    lines = [line for line in told.splitlines() if " " in line.strip()]
    assert all(len(line) <= columns for line in lines), lines
    assert "small objects of remote repositories" in " ".join(told.split())


def test_nothing_is_left_out_in_a_pipe(run: Run, long_message: Path) -> None:
    """Programs get every column whole, whatever the size of the terminal is said to be."""
    found = run("list", "vision/cats").out
    assert _LONG in found
    assert "DIGEST" in found


def test_changes_have_colours_at_a_terminal_only(run: Run, two_versions: Path) -> None:
    """Green is added, red removed; `NO_COLOR` and a pipe have none."""
    told = screen("diff", "vision/cats", PAGER="cat")
    assert "\x1b[32mA  new.txt" in told
    assert "\x1b[31mD  b.jpg" in told
    assert "\x1b[33mM  labels.csv" in told
    assert "\x1b" not in screen("diff", "vision/cats", NO_COLOR="1", PAGER="cat")
    assert "\x1b" not in run("diff", "vision/cats").out


def test_what_is_longer_than_the_screen_is_paged(run: Run, two_versions: Path, tmp_path: Path) -> None:
    """The pager gets everything; what fits on the screen is shown without one."""
    pager = tmp_path / "pager"
    pager.write_text("#!/bin/sh\necho PAGED\ncat\n")
    pager.chmod(0o755)
    assert "PAGED" not in screen("diff", "vision/cats", PAGER=str(pager))
    paged = screen("diff", "vision/cats", lines=3, PAGER=str(pager))
    assert paged.startswith("PAGED\n")
    for name in ("a.jpg -> z.jpg", "b.jpg", "labels.csv", "new.txt"):
        assert name in paged


def test_a_no_changes_nothing_and_is_no_interruption(
    run: Run, two_versions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan is shown, and the answer `no` ends the command with exit code 1."""

    class Answers(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Answers("n\n"))
    with contextlib.redirect_stderr(io.StringIO()) as said:
        assert main(["delete", "vision/cats@1.0.0"]) == 1
    assert said.getvalue().startswith("vision/cats@1.0.0  dv1:")
    assert "dataver: not confirmed; nothing was changed." in said.getvalue()
    run("show", "vision/cats@1.0.0")
