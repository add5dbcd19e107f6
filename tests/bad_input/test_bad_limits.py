"""Few descriptors, no memory, no threads: said in a sentence, and never half a version."""

import json
import os
import subprocess
import sys

import pytest

import dataver
from dataver_cli.errors import exit_code_of

from .conftest import contents

_EACH = """
import json, os, resource, sys
from dataver_cli.main import main
codes = {}
main(["sync", "source", "--name", "all", "--repo", "repo"])  # which also loads every module
for limit in range(4, 14):
    commands = {"sync": ["sync", "source", "--name", f"n{limit}"], "fetch": ["fetch", "all"]}
    for name, command in commands.items():
        child = os.fork()
        if not child:
            os.environ["DATAVER_CACHE"] = f"cache{limit}"
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            os._exit(main([*command, "-q", "--repo", "repo"]))
        codes[f"{name} {limit}"] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(json.dumps(codes))
"""


@pytest.mark.slow
def test_few_descriptors_are_said_and_leave_no_half_version(tmp_path, monkeypatch):
    """From 4 descriptors up: a version is published whole or not at all, and no defect is reported."""
    monkeypatch.chdir(tmp_path)
    repo = dataver.init("repo")
    (tmp_path / "source").mkdir()
    for number in range(40):
        (tmp_path / "source" / f"{number}").write_bytes(os.urandom(60_000))
    done = subprocess.run([sys.executable, "-c", _EACH], capture_output=True, text=True, check=True)
    codes = json.loads(done.stdout.splitlines()[-1])
    assert set(codes.values()) > {0} and "too many open files" in done.stderr.lower()
    assert "defect" not in done.stderr and "Traceback" not in done.stderr
    expected = contents(tmp_path / "source")
    for dataset in repo.datasets():
        assert contents(repo.fetch(dataset.name, dest=tmp_path / "own" / dataset.name).path) == expected
    published = {dataset.name for dataset in repo.datasets()}
    assert published == {"all"} | {f"n{limit}" for limit in range(4, 14) if codes[f"sync {limit}"] == 0}


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (MemoryError(), "not enough memory"),
        (RuntimeError("can't start new thread"), "threads"),
        (OSError(24, "Too many open files", "x"), "ulimit -n"),
        (OSError(11, "Resource temporarily unavailable"), "ulimit -u"),
        (ModuleNotFoundError("No module named 'xxhash'"), "install dataver again"),
    ],
)
def test_what_the_system_lacks_is_no_defect(capsys, error, says):
    """Each has a sentence and a next step, and ends with 1."""
    assert exit_code_of(error, as_json=False) == 1
    said = capsys.readouterr().err
    assert says in said and "hint" in said and "defect" not in said
