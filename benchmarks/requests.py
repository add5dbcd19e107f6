"""Counts what a command asks of a repository on disk, with `strace`.

A request is what would be one call to an object store: a file of the repository that is opened, moved or
linked into place, or removed, and a folder of it that is listed. What a tool reads or writes through a file
it has open is the same request, asking for a file's size or presence is none. Attempts that fail count
nothing. Tracing slows a command down, so nothing else is measured of it.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from benchmarks.measure import Command, Failed, Stopped, environment, shown

__all__ = ["can_count", "count_requests"]

_CALLS = "open,openat,openat2,creat,rename,renameat,renameat2,link,linkat,unlink,unlinkat"
_LINE = re.compile(r"^\d+ +(?P<call>\w+)\((?P<words>.*)\) += +\d+(?:<(?P<opened>.*)>)?$")
_PATHS = re.compile(r'(?:(?:AT_FDCWD|\d+)<(?P<at>[^>]*)>, )?"(?P<path>(?:[^"\\]|\\.)*)"')


def can_count() -> bool:
    """Say whether requests can be counted here."""
    return shutil.which("strace") is not None


def count_requests(commands: Iterable[Command], stored: Callable[[], Sequence[Path]], timeout: float) -> int:
    """Run commands and return how many requests they made of the files and folders in `stored`.

    Args:
        commands: what to run.
        stored: asked after each command, since that may have made some of them.
        timeout: seconds that each of the commands may take.

    Raises:
        Failed: one of them exited non-zero.
        Stopped: one of them was still running after `timeout` seconds.
    """
    return sum(_count(command, stored, timeout) for command in commands)


def _count(command: Command, stored: Callable[[], Sequence[Path]], timeout: float) -> int:
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        calls = Path(scratch, "calls")
        words = [
            "strace",
            "-f",
            "--seccomp-bpf",
            "-qq",
            "-y",
            "-z",
            "-e",
            "signal=none",
            "-e",
            f"trace={_CALLS}",
        ]
        try:
            done = subprocess.run(
                [*words, "-o", str(calls), *command.argv],
                cwd=command.cwd,
                env=environment(command),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise Stopped(command, timeout) from error
        if done.returncode:
            raise Failed(f"{shown(command)} under strace: exit {done.returncode}: {done.stderr[-300:]!r}")
        home = str(command.cwd or Path.cwd())
        roots = tuple(os.path.realpath(path) for path in stored())
        with calls.open(errors="surrogateescape") as lines:
            return sum(_touches(line, home, roots) for line in lines)


def _touches(line: str, home: str, roots: tuple[str, ...]) -> bool:
    """Say whether a line of strace is a call that succeeded on something at or below one of the roots."""
    found = _LINE.match(line)
    if not found:
        return False
    if found["opened"]:
        paths = [found["opened"]]
    else:
        paths = [os.path.join(path["at"] or home, path["path"]) for path in _PATHS.finditer(found["words"])]
    return any(
        path == root or path.startswith(f"{root}/") for path in map(os.path.normpath, paths) for root in roots
    )
