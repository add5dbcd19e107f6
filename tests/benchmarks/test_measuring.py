"""Measuring real commands: time, processor, memory, requests."""

import os
import sys
from pathlib import Path

import pytest

from benchmarks.measure import Command, Failed, Stopped, measure
from benchmarks.requests import can_count, count_requests
from waiting import until

BURN = "import time; began = time.process_time()\nwhile time.process_time() - began < {}: pass"


def python(script: str) -> Command:
    return Command((sys.executable, "-c", script))


def test_a_command_s_time_and_memory_are_its_own() -> None:
    """Processor time is what was burnt, the peak holds what was kept, sleeping takes time alone."""
    usage = measure(
        [python(BURN.format(0.3)), python("import time; b = b'x' * 90_000_000; time.sleep(0.2)")], 60
    )
    assert usage.user_s + usage.sys_s >= 0.3
    assert usage.wall_s >= 0.5
    assert 90_000_000 < usage.rss_largest <= usage.rss_tree < 400_000_000


def test_what_a_daemon_uses_counts() -> None:
    """A process that a command leaves running is waited for, and its processor time is in the sum."""
    script = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {BURN.format(0.4)!r}])"
    usage = measure([python(script)], 60)
    assert usage.user_s + usage.sys_s >= 0.4


def test_a_command_that_takes_too_long_is_stopped_with_all_it_started() -> None:
    """After the time it may take a command and its children are gone."""
    number = f"1{os.getpid():09}"  # no other suite on this machine sleeps so long
    with pytest.raises(Stopped, match="stopped after 1 s") as stopped:
        measure([Command(("sh", "-c", f"sleep {number} & sleep {number}"))], 1)
    assert stopped.value.seconds == 1
    words = f"sleep\0{number}\0".encode()
    until(lambda: not any(_reads(path) == words for path in Path("/proc").glob("[0-9]*/cmdline")))


def _reads(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_command_that_fails_says_why() -> None:
    """The message holds the exit code and the last lines of what was printed."""
    with pytest.raises(Failed, match="exit 3: no such thing"):
        measure([Command(("sh", "-c", "echo no such thing >&2; exit 3"))], 60)


@pytest.mark.skipif(not can_count(), reason="strace is not installed")
def test_requests_are_the_files_of_a_repository_that_are_touched(tmp_path: Path) -> None:
    """Opening, making, moving, removing and listing count; failures, sizes and other folders do not."""
    script = """
import os, sys
home = sys.argv[1]
os.mkdir(home + "/store"); os.mkdir(home + "/else")
open(home + "/store/a.tmp", "wb").close()           # 1
os.rename(home + "/store/a.tmp", home + "/store/a")  # 2
open(home + "/else/b", "wb").close()
os.rename(home + "/else/b", home + "/store/b")       # 3
with open(home + "/store/a", "rb") as file: file.read(); file.seek(0); file.read()  # 4
os.listdir(home + "/store")                          # 5
os.stat(home + "/store/b")
os.unlink(home + "/store/a")                         # 6
try: open(home + "/store/absent")
except FileNotFoundError: pass
open(home + "/else/c", "wb").close()
"""
    command = Command((sys.executable, "-c", script, str(tmp_path)))
    try:
        count = count_requests([command], lambda: [tmp_path / "store"], 60)
    except Failed as error:
        if "PTRACE" in str(error) or "ptrace" in str(error):
            pytest.skip("this machine lets nobody trace")
        raise
    assert count == 6
