"""Buffers that a command frees are used again, not fetched from the system anew."""

import subprocess
import sys

import pytest

from dataver_cli.memory import keep_freed_memory

ROUNDS = """
import resource, sys
from dataver_cli.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def faults_of_a_round():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    buffers = [b"x" * 200_000 for _ in range(100)]
    del buffers
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults_of_a_round()
print(faults_of_a_round())
"""


def faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", ROUNDS, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux" or not keep_freed_memory(), reason="not glibc")
def test_freed_buffers_cost_no_page_faults():
    """The second time 20 MB of buffers are needed their pages are there; left alone, glibc asks anew."""
    assert faults("keep") < 100 < faults("leave")
