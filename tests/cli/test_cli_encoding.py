"""Streams and locales that cannot encode every name."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from command_line import Run

NAME = "naïve-日本.txt"
LOCALES = {
    "ascii locale": {"LC_ALL": "C", "PYTHONUTF8": "0"},
    "ascii streams": {"PYTHONIOENCODING": "ascii"},
    "strict ascii streams": {"PYTHONIOENCODING": "ascii:strict"},
    "Windows": {"PYTHONIOENCODING": "cp1252:strict"},
}
COMMANDS = [
    ["ls", "cats"],
    ["ls", "cats", "-l"],
    ["list", "cats"],
    ["log", "cats"],
    ["show", "cats"],
    ["cat", "cats", NAME],
    ["diff", "cats@1.0.0", "cats"],
    ["fetch", "cats", "--dest", "größe"],
    ["verify", "cats", "größe"],
    ["lineage", "file", NAME],
    ["create", "cats", "--parent", "cats"],
    ["add", "größe", "--dest", "日本"],
    ["status"],
    ["move", NAME, "ö"],
    ["remove", "ö"],
    ["finalize", "-m", "Größe"],
    ["upload", "--tag", "日"],
    ["tag", "cats", "ö"],
    ["cat", "cats", "日"],
    ["nöpe"],
    ["add"],
]
ALL = """
import json, pathlib, sys
from dataver_cli.main import main

def run(words):
    sys.argv[1:] = words
    return main()

commands = json.loads(sys.argv[1])
pathlib.Path("codes.json").write_text(json.dumps([run(words) for words in commands]))
"""
Program = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def program(run: Run, work: Path) -> Program:
    """Run the program in a folder with a dataset whose second version holds `NAME`."""
    run("init", "repo")
    (work / "in").mkdir()
    (work / "in" / "a").write_text("a")
    run("sync", "in", "--name", "cats")
    (work / "in" / NAME).write_text("b")
    run("sync", "in", "--name", "cats", "-m", "Größe")

    def program(
        *arguments: str, start: Sequence[str] = ("-m", "dataver_cli"), **environment: str
    ) -> "subprocess.CompletedProcess[bytes]":
        command = [sys.executable, *start, *arguments]
        return subprocess.run(command, capture_output=True, timeout=300, env=os.environ | environment)

    return program


@pytest.mark.parametrize("locale", LOCALES)
def test_names_that_a_stream_cannot_encode_are_escaped(program: Program, work: Path, locale: str) -> None:
    """Commands do the same work under every locale, and what they print is valid in its encoding."""
    encoding = "cp1252" if locale == "Windows" else "ascii"
    done = program(json.dumps(COMMANDS), start=("-c", ALL), **LOCALES[locale])
    said = done.stderr.decode(encoding) + done.stdout.decode(encoding)
    assert "internal" not in said, said
    assert "Error" not in said, said
    assert json.loads((work / "codes.json").read_text()) == [0] * 16 + [1, 1, 4, 2, 2]


def test_an_ascii_locale_changes_no_name(program: Program, run: Run, work: Path) -> None:
    """Files with any name are added and fetched, and messages keep their text."""
    (work / "in" / "größe").write_text("c")
    program("sync", "in", "--name", "cats", "-m", "日本", **LOCALES["ascii locale"])
    assert run("ls", "cats").out.split() == ["a", "größe", NAME]
    assert run("show", "cats", "--json").json["message"] == "日本"
    listed = program("ls", "cats", **LOCALES["ascii locale"]).stdout.decode("ascii")
    assert listed.split() == ["a", "gr\\xf6\\xdfe", "na\\xefve-\\u65e5\\u672c.txt"]


def test_an_ellipsis_is_three_dots_in_ascii(program: Program) -> None:
    """Punctuation of messages has an ASCII form."""
    done = program("add", PYTHONIOENCODING="ascii")
    assert done.stderr.startswith(b"dataver: missing source: dataver add FILE_OR_FOLDER ...")


def test_arguments_that_are_not_text_are_errors_of_the_user(run: Run, work: Path) -> None:
    """An argument that is not UTF-8 is named, and is not an internal error."""
    run("init", "repo")
    done = run("lineage", "file", "\udcff", expect=1)
    assert done.err.startswith("dataver: the characters '\\udcff' cannot be encoded as utf-8.\n")
