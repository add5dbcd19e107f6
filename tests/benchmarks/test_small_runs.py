"""Benchmarks that the other tests do not call run to their end with little data."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [
        "histories --versions 20 --only requests",
        "lineage --runs 50 --versions 5 --files 300 --changed 10 --times 1",
        "million --files 2000 --runs 1",
        "recording --runs 1",
        "reuse --versions 3 --runs 1 --only bytes",
        "tree 20000",
        "trips",
    ],
)
def test_a_benchmark_ends(line: str, tmp_path: Path) -> None:
    """It uses functions of dataver that no type checker compares with their signatures."""
    module, *arguments = line.format(tmp_path).split()
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip()
