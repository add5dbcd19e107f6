"""Every command with standard streams that are closed or full."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Run

from dataver_cli.main import SECTIONS

COMMANDS = {
    "demo": ["demo"],
    "init": ["init", "other", "--no-config"],
    "create": ["create", "cats"],
    "add": ["add", "photos"],
    "add-external": ["add-external", "photos", "--dest", "outside"],
    "remove": ["remove", "z.jpg"],
    "move": ["move", "z.jpg", "b2.jpg"],
    "sync": ["sync", "photos", "--name", "fresh"],
    "status": ["status"],
    "finalize": ["finalize", "-m", "m"],
    "upload": ["upload", "--plan"],
    "restore": ["restore", "vision/cats@1.0.0"],
    "rename": ["rename", "vision/cats", "animals/cats", "--plan"],
    "drafts": ["drafts"],
    "discard": ["discard", "--yes"],
    "fetch": ["fetch", "vision/cats"],
    "cat": ["cat", "vision/cats", "labels.csv"],
    "export": ["export", "vision/cats", "exported"],
    "mount": ["mount", "vision/cats", "no-such-folder"],
    "serve": ["serve", "--port", "99999"],
    "lock": ["lock", "vision/cats"],
    "verify": ["verify", "vision/cats"],
    "ui": ["ui", "--port", "99999"],
    "list": ["list"],
    "search": ["search", "cats"],
    "show": ["show", "vision/cats"],
    "ls": ["ls", "vision/cats", "-r"],
    "head": ["head", "vision/cats", "labels.csv"],
    "schema": ["schema", "vision/cats", "labels.csv"],
    "stats": ["stats", "vision/cats", "labels.csv"],
    "profile": ["profile", "vision/cats"],
    "log": ["log", "vision/cats"],
    "audit": ["audit"],
    "diff": ["diff", "vision/cats@1.0.0", "vision/cats@1.0.1"],
    "describe": ["describe", "vision/cats", "-m", "more"],
    "tag": ["tag", "vision/cats", "best"],
    "untag": ["untag", "vision/cats@production"],
    "push": ["push", "elsewhere", "vision/cats"],
    "pull": ["pull", "elsewhere", "vision/cats"],
    "mirror": ["mirror", "repo", "elsewhere"],
    "import": ["import", "folders", "photos", "--name", "dated"],
    "compat": ["compat", "clearml-data", "list", "--project", "vision"],
    "du": ["du"],
    "delete": ["delete", "vision/cats@1.0.0", "--yes"],
    "gc": ["gc", "--yes", "--grace", "0"],
    "repack": ["repack", "--yes"],
    "run": ["run", "--", "true"],
    "runs": ["runs"],
    "lineage": ["lineage", "version", "vision/cats"],
    "doctor": ["doctor"],
    "cache": ["cache", "info"],
    "config": ["config"],
    "completion": ["completion", "bash"],
}
EXTRA = {
    "help": ["--help"],
    "command's help": ["fetch", "--help"],
    "version": ["--version"],
    "unknown": ["finalise"],
    "not found": ["show", "nope"],
    "json": ["show", "vision/cats", "--json"],
    "nothing at all": [],
}

STREAMS = ("", ">&-", ">/dev/full", "2>&- <&-", "2>/dev/full")
SOME = ("sync", "cat", "list", "move", "help", "unknown", "not found")

_EACH = """
import json, os, shutil, sys
from dataver_cli.main import main

def redirect(how):
    for each in how.split():
        number = "<>2".index(each[0])
        if each.endswith("/dev/full"):
            os.dup2(os.open("/dev/full", os.O_WRONLY), number)
            continue
        os.close(number)
        name = ("stdin", "stdout", "stderr")[number]
        setattr(sys, name, None)
        setattr(sys, f"__{name}__", None)

def end(arguments, how):
    shutil.rmtree("work", ignore_errors=True)
    shutil.copytree("made", "work")
    before = os.path.getsize("out")
    child = os.fork()
    if not child:
        os.chdir("work")
        redirect(how)
        sys.exit(main(arguments))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, os.path.getsize("out") > before

table, streams = json.loads(sys.argv[1]), json.loads(sys.argv[2])
for module in sys.argv[3:]:
    __import__(module)
ends = {how: {name: end(arguments, how) for name, arguments in table.items()} for how in streams}
with open("ends", "w") as file:
    json.dump(ends, file)
"""

End = Callable[[dict[str, list[str]]], tuple[dict[str, dict[str, tuple[int, bool]]], str]]


@pytest.fixture
def end(two_versions: Path, run: Run, work: Path, tmp_path: Path) -> End:
    """Run commands with each redirection, in a fresh folder; return their ends by it, and all of stderr.

    An end is the exit code, and whether something came to stdout. All are forked from one process.
    """
    shutil.copytree(two_versions, "photos")
    run("init", "elsewhere", "--no-config")
    run("push", "elsewhere", "vision/cats")
    run("create", "dogs")
    run("add", "photos")
    os.chdir(tmp_path)
    work.rename(tmp_path / "made")

    def end(commands: dict[str, list[str]]) -> tuple[dict[str, dict[str, tuple[int, bool]]], str]:
        loaded = [name for name in sys.modules if name.startswith(("dataver.", "dataver_cli."))]
        with open("out", "w") as out, open("err", "w") as err:
            subprocess.run(
                [sys.executable, "-c", _EACH, json.dumps(commands), json.dumps(STREAMS), *sorted(loaded)],
                stdout=out,
                stderr=err,
                check=True,
            )
        return json.loads(Path("ends").read_text()), Path("err").read_text()

    return end


def check(end: End, commands: dict[str, list[str]]) -> None:
    """Compare the ends with those of the same commands whose streams are whole."""
    ends, said = end(commands)
    usual = ends[""]
    incomplete = {name: 3 if printed else code for name, (code, printed) in usual.items()}
    unchanged = {name: code for name, (code, _) in usual.items()}
    assert set(unchanged.values()) == {0, 2, 4}
    for how in STREAMS:
        found = {name: code for name, (code, _) in ends[how].items()}
        assert found == (incomplete if how in (">&-", ">/dev/full") else unchanged), how
    lost = sum(printed for _, printed in usual.values())
    assert said.count("dataver: standard output cannot be written: ") > lost  # a demo shows its own on stdout
    assert not any(word in said for word in ("Traceback", "ignored", "defect"))


@pytest.mark.slow
def test_lost_streams_are_said_by_the_exit_code(end: End) -> None:
    """Closed or full, stdout ends a command that prints there with 3; stdin and stderr change nothing."""
    check(end, {name: (COMMANDS | EXTRA)[name] for name in SOME})


def test_every_command_is_tried() -> None:
    """A new command has its line above."""
    assert list(COMMANDS) == [name for section in SECTIONS.values() for name in section]


@pytest.mark.slow
def test_lost_streams_are_said_by_the_exit_code_of_every_command(end: End) -> None:
    """The same for all commands."""
    check(end, COMMANDS | EXTRA)


def test_a_process_that_starts_with_closed_streams_does_its_work(run: Run, photos: Path, work: Path) -> None:
    """Streams that a shell has closed lend their numbers to no file, and the version is published."""
    run("init", "repo")
    for dataset, redirections, code in (("a", ">&- 2>&- <&-", 3), ("b", "2>&- <&-", 0)):
        sync = f'"$0" -m dataver_cli sync {photos} --name {dataset} {redirections}'
        assert (
            subprocess.run(["sh", "-c", sync, sys.executable], stdout=subprocess.DEVNULL).returncode == code
        )
        run("verify", dataset)
