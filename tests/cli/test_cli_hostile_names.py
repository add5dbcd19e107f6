"""Names, messages and facts that a terminal would obey: every command shows them escaped."""

import json
import os
import sys
from pathlib import Path

import pytest
from command_line import Run

EVIL = "a\x1b]0;b\x07\x7f\x9b2Jc\u202ed\u2066e\u200bf"  # title, bell, delete, clear, right to left, isolate
NAME = "a\u202egpj.exe\u2066\u200b"  # control characters cannot be in a path, these can
COMMANDS = [
    *("list", "list cats", "show cats", "ls cats", "ls cats -l", "log cats", "diff cats@1.0.0 cats"),
    *("du", "du cats", "verify cats", "status", "drafts", "delete cats@1.0.0 --plan"),
    *("runs", "lineage run {run}", "lineage run {run} --dot", "lineage run {run} --mermaid"),
    *("lineage version cats@1.0.0", "lineage file x/{name}", "lineage impact cats@1.0.0", "lineage export"),
    *("lineage version cats --dot", "lineage compare {run} {run}", "cache info", "gc --plan --grace 0"),
    "delete cats --entire-dataset --plan",
]  # fmt: skip
REFUSED = {  # and the exit code of each
    "delete cats@1.0.0": 2,
    "discard": 2,
    "cat cats {evil}/no": 4,
    "show {evil}": 1,
    "ls cats@{evil}": 1,
    "add {evil}": 4,
    "{evil}": 2,
}
READ = "import dataver; dataver.fetch('cats@1.0.0')"


@pytest.fixture
def evil(run: Run, work: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A repository with two versions and a run whose every word is hostile; the key of the run."""
    monkeypatch.setenv("DATAVER_LINEAGE", "on")
    monkeypatch.setenv("DATAVER_STATE", str(work / "state"))
    monkeypatch.setenv("DATAVER_AUTHOR", EVIL)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    (work / "x").mkdir()
    run("init", "repo")
    for text in ("1", "2"):
        (work / "x" / NAME).write_text(text)
        run("sync", "x", "--name", "cats", "-m", EVIL)
    run("run", "--name", EVIL, "--", sys.executable, "-c", READ, EVIL)
    run("create", "cats", "--parent", "cats@1.0.1")
    run("add", "x", "--dest", NAME)
    return str(run("runs", "--json").json[0]["run"])


def test_nothing_that_is_printed_steers_a_terminal(run: Run, evil: str) -> None:
    """Text has printable characters alone, also errors and plans before a question; JSON is ASCII."""
    escaped = 0
    for line, *code in [*((each,) for each in COMMANDS), *REFUSED.items()]:
        words = [word.format(run=evil, name=NAME, evil=EVIL) for word in line.split(" ")]
        texts = [run(*words, expect=sum(code))]
        if line != "lineage export" and words[0] != "cat":
            texts.append(run(*words, "--json", expect=sum(code)))
            assert texts[1].out.isascii()
            escaped += "\\u202e" in texts[1].out
        for text in texts:
            for each in (text.out + text.err).splitlines():
                assert each.isprintable(), (line, each)
    assert escaped > 8
    events = [json.loads(each) for each in run("lineage", "export").out.splitlines()]
    assert EVIL in {each["job"]["name"] for each in events}
