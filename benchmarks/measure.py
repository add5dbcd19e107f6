"""Runs a command as a whole process, start-up included, and says what it used.

Wall time is taken around the process; CPU time comes from `os.wait4`, so it holds every child that was
waited for. What a command leaves running behind it, a daemon, falls to this process (a "subreaper" of Linux):
its CPU time counts too, its wall time does not. Memory is given twice: the largest single process
(`/usr/bin/time` where it is installed, else `wait4`), and the peak of the sum over the whole process tree,
sampled every 20 ms (shared pages counted once a process, and a peak between two samples is missed).
"""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

__all__ = ["Command", "Failed", "Stopped", "Usage", "environment", "measure", "run", "shown"]

_INTERVAL = 0.02
_PATIENCE = 30.0  # seconds that what a command left running may go on
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of linux/prctl.h
_PAGE = os.sysconf("SC_PAGE_SIZE")
# A child starts with its parent's peak as its own; this tiny parent keeps it honest.
_TIME = shutil.which("time")


class Failed(Exception):
    """A command ended with an error."""


class Stopped(Failed):
    """A command was stopped because it took longer than it may."""

    def __init__(self, command: "Command", seconds: float) -> None:
        super().__init__(f"{shown(command)}: stopped after {seconds:.0f} s")
        self.seconds = seconds


@dataclass(frozen=True)
class Command:
    """One process to run: its arguments, where, and what its environment has besides ours."""

    argv: tuple[str, ...]
    cwd: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Usage:
    """What commands used: seconds, and bytes of memory at the peak."""

    wall_s: float = 0.0
    user_s: float = 0.0
    sys_s: float = 0.0
    rss_largest: int = 0
    rss_tree: int = 0

    def then(self, other: "Usage") -> "Usage":
        """Return the use of both, one after the other."""
        return Usage(
            self.wall_s + other.wall_s,
            self.user_s + other.user_s,
            self.sys_s + other.sys_s,
            max(self.rss_largest, other.rss_largest),
            max(self.rss_tree, other.rss_tree),
        )


def measure(commands: Iterable[Command], timeout: float, nice: int = 0) -> Usage:
    """Run commands one after the other and return what they used together.

    Args:
        commands: what to run.
        timeout: seconds that each of them may take.
        nice: their niceness, below 0 for more than the usual priority; that takes root.

    Raises:
        Failed: one of them exited non-zero.
        Stopped: one of them was still running after `timeout` seconds.
    """
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    usage = Usage()
    for command in commands:
        usage = usage.then(_measure_one(command, timeout, nice))
    return usage


def run(command: Command, timeout: float = 3600) -> str:
    """Run a command that is not measured and return its standard output."""
    try:
        done = subprocess.run(
            command.argv,
            cwd=command.cwd,
            env=environment(command),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Stopped(command, timeout) from error
    if done.returncode:
        raise Failed(f"{shown(command)}: exit {done.returncode}: {_tail(done.stderr or done.stdout)}")
    return done.stdout


def _measure_one(command: Command, timeout: float, nice: int) -> Usage:
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        said, peak_file = Path(scratch, "said"), Path(scratch, "peak")
        argv = ["nice", "-n", str(nice), *command.argv] if nice else list(command.argv)
        argv = [_TIME, "-q", "-f", "%M", "-o", str(peak_file), *argv] if _TIME else argv
        ours = _children()
        with said.open("wb") as out:
            start = time.perf_counter()
            process = subprocess.Popen(
                argv,
                cwd=command.cwd,
                env=environment(command),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            with _Sampler(process.pid) as sampler, _Limit(process.pid, timeout) as limit:
                _, status, used = os.wait4(process.pid, 0)
            wall = time.perf_counter() - start
            process.returncode = os.waitstatus_to_exitcode(status)
        left = _outlive(ours)
        if limit.passed:
            raise Stopped(command, timeout)
        if process.returncode:
            raise Failed(
                f"{shown(command)}: exit {process.returncode}: {_tail(said.read_text(errors='replace'))}"
            )
        largest = int(peak_file.read_text().split()[-1]) if _TIME else used.ru_maxrss
    largest = max(largest * 1024, left.rss_largest)
    return Usage(
        wall, used.ru_utime + left.user_s, used.ru_stime + left.sys_s, largest, max(sampler.peak, largest)
    )


def _outlive(ours: set[int]) -> Usage:
    """Wait for the processes that a command left behind and return what they used; end those that stay."""
    usage, deadline = Usage(), time.monotonic() + _PATIENCE
    while left := _children() - ours:
        for pid in left:
            if time.monotonic() > deadline:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            ended, _, used = os.wait4(pid, os.WNOHANG)
            if ended:
                usage = usage.then(Usage(0, used.ru_utime, used.ru_stime, used.ru_maxrss * 1024))
        time.sleep(0.005)
    return usage


def _children() -> set[int]:
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            found.update(map(int, Path(task, "children").read_bytes().split()))
    return found


def environment(command: Command) -> dict[str, str]:
    """Return the environment a command runs in: ours without the user's own folders, and what it adds."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    return own | dict(command.env)


def shown(command: Command) -> str:
    """Return a command as a message names it."""
    return " ".join(command.argv)[:200]


def _tail(text: str) -> str:
    return " | ".join(text.strip().splitlines()[-4:])[-600:]


class _Sampler(threading.Thread):
    """Keeps the peak of a process tree's resident memory while it runs."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._pid = pid
        self._stop_event = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_event.set()
        self.join()

    def run(self) -> None:
        while not self._stop_event.wait(_INTERVAL):
            self.peak = max(self.peak, _tree_memory(self._pid))


class _Limit:
    """Ends the process group of a process that runs too long."""

    def __init__(self, pid: int, seconds: float) -> None:
        self.passed = False
        self._pid = pid
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def _end(self) -> None:
        self.passed = True
        os.killpg(self._pid, signal.SIGKILL)


def _tree_memory(pid: int) -> int:
    """Return the resident bytes of a process and all below it; one that has ended counts nothing."""
    try:
        total = int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE
        tasks = os.listdir(f"/proc/{pid}/task")
    except (OSError, IndexError):
        return 0
    for task in tasks:
        try:
            children = Path(f"/proc/{pid}/task/{task}/children").read_bytes().split()
        except OSError:
            continue
        total += sum(_tree_memory(int(child)) for child in children)
    return total
