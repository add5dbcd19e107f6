"""A user's terminal session: commands of bash, Python code, and programs that run until Ctrl-C."""

import contextlib
import json
import os
import platform
import pty
import re
import shlex
import signal
import subprocess
import termios
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

from .page import Block, Command, match

__all__ = ["Session"]

PATIENCE = 600  # seconds for one command
_ID = re.compile(r"\b[0-9a-f]{8,64}\b")
UNTIL_CTRL_C = ("dataver mount ", "dataver serve", "dataver ui")
_SHELL = 'source "$1"; eval "$2"; __code=$?; { export -p; printf "cd %q\\n" "$PWD"; } >"$1"; exit $__code'
_PYTHON = """
import contextlib, json, sys, traceback
names, answers = {"__name__": "__main__"}, sys.stdout
for line in sys.stdin:
    error = ""
    with contextlib.redirect_stdout(sys.stderr):
        try:
            exec(compile(json.loads(line), "block", "exec"), names)
        except BaseException:
            error = traceback.format_exc()
    print(json.dumps(error), file=answers, flush=True)
"""


class Session:
    """Runs the blocks of a page in an empty home folder.

    Args:
        home: the empty folder, which is also the current one.
        programs: the folder with `dataver` and `python`.
        environment: variables in addition to PATH and HOME.
    """

    def __init__(self, home: Path, programs: Path, environment: Mapping[str, str]) -> None:
        self.home = home
        self._state = home.with_name(home.name + ".state")
        network = (name for name in os.environ if name.startswith("PIP_") or name.lower().endswith("_proxy"))
        variables = {
            **{name: os.environ[name] for name in network},
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "LOGNAME": "me",
            "TERM": "dumb",
            **environment,
        }
        lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
        self._state.write_text("\n".join([*lines, f"cd {shlex.quote(str(home))}"]))
        self._ids: dict[str, str] = {}
        self._running: list[subprocess.Popen[str]] = []
        self._python: subprocess.Popen[str] | None = None
        self._master, self._terminal = pty.openpty()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:  # a killed mount would stay in the folder
            self._interrupt(process, patience=30)
        if self._python is not None:
            os.killpg(self._python.pid, signal.SIGKILL)
            self._python.communicate()
        os.close(self._master)
        os.close(self._terminal)

    def play(self, block: Block, change: Mapping[str, str]) -> None:
        """Run a block, with the changes to its text.

        Raises:
            AssertionError: a command failed, or its output is not as shown.
        """
        if block.excepted:
            return
        block = block.changed({**change, "/home/me": str(self.home), "laptop": platform.node()})
        if block.title:
            path = self.home / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(block.lines) + "\n", "utf-8")
        elif block.kind == "console":
            for command in block.commands():
                self._type(command)
        elif block.kind == "python":
            self._execute("\n" * (block.line - 1) + self._with_own_ids("\n".join(block.lines)))

    def end(self) -> None:
        """End the programs that run until Ctrl-C.

        Raises:
            AssertionError: one did not end with 0.
        """
        while self._running:
            process = self._running.pop()
            said = self._interrupt(process, PATIENCE)
            assert process.returncode == 0, f"{process.args}\n{said}"

    def _interrupt(self, process: subprocess.Popen[str], patience: float) -> str:
        """Send Ctrl-C to a program, wait for its end, and return what it printed."""
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        with _patience(process, patience):
            said, _ = process.communicate()
        return said

    def _type(self, command: Command) -> None:
        text = self._with_own_ids(command.text)
        where = f"line {command.line}: $ {text}"
        if text.startswith("dataver mount ") and not os.access("/dev/fuse", os.R_OK | os.W_OK):
            return  # this machine has no FUSE; tests/mounting reports it
        if text.startswith(UNTIL_CTRL_C):
            output = self._start(text)
        else:
            output, code = self._run(text)
            assert code == 0, f"{where}\nended with {code}:\n{output}"
        if command.output:
            pairs = match(command.output, output.splitlines())
            shown = "\n".join(command.output)
            assert pairs is not None, f"{where}\nshown:\n{shown}\nprinted:\n{output}"
            for line, own in pairs:
                self._ids |= zip(_ID.findall(line), _ID.findall(own), strict=False)

    def _with_own_ids(self, text: str) -> str:
        """Replace the ids that the page shows by those that were printed here, as a reader does."""
        return _ID.sub(lambda shown: self._own(shown[0]), text)

    def _own(self, beginning: str) -> str:
        own = {mine[: len(beginning)] for shown, mine in self._ids.items() if shown.startswith(beginning)}
        return own.pop() if len(own) == 1 else beginning

    def _begin(self, script: str, *words: str, stdin: int, stderr: int | None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", "-c", script, "bash", str(self._state), *words],
            env={},  # all variables are in the state
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )

    def _run(self, text: str) -> tuple[str, int]:
        termios.tcflush(self._terminal, termios.TCIFLUSH)
        os.write(self._master, b"y\n")  # the answer to commands that ask
        process = self._begin(_SHELL, text, stdin=self._terminal, stderr=subprocess.STDOUT)
        with _patience(process):
            output, _ = process.communicate()
        return output, process.returncode

    def _start(self, text: str) -> str:
        script = 'source "$1"; eval "exec $2"'
        process = self._begin(script, text, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        self._running.append(process)
        output = ""
        with _patience(process):
            for line in process.stdout or ():
                output += line
                if "until Ctrl-C" in line:
                    return output
        raise AssertionError(f"{text} ended:\n{output}")

    def _execute(self, code: str) -> None:
        if self._python is None:
            script = 'source "$1"; exec python -c "$2"'
            self._python = self._begin(script, _PYTHON, stdin=subprocess.PIPE, stderr=None)
        stdin, stdout = self._python.stdin, self._python.stdout
        assert stdin and stdout
        with _patience(self._python):
            print(json.dumps(code), file=stdin, flush=True)
            answer = stdout.readline()
        assert answer, "Python has ended"
        assert not (error := json.loads(answer)), error


@contextlib.contextmanager
def _patience(process: subprocess.Popen[str], seconds: float = PATIENCE) -> Iterator[None]:
    """Kill a process and its children if the block takes too long."""
    timer = threading.Timer(seconds, os.killpg, (process.pid, signal.SIGKILL))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
