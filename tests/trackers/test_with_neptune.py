"""Neptune offline: the run's queue of operations is read back, as `neptune sync` would send it."""

import json
from pathlib import Path

import dataver

from .conftest import Script, linked


def test_a_run_that_is_passed_has_the_version(
    repo: dataver.Repository, program: Script, tmp_path: Path
) -> None:
    """`fetch(run=…)` links the version to the run and writes it there."""
    ran = program("""
import neptune, dataver
run = neptune.init_run(mode="offline", project="team/cats", git_ref=False, source_files=[])
dataver.fetch("vision/cats@production", run=run)
from dataver.lineage.record.recorder import flush
flush(60)
run.wait()
result = {"run": run._id}
run.stop()
""")
    assert linked(repo) == {f"neptune:{ran['run']}": {("input", "1.1.0")}}
    written = "".join(
        path.read_text(errors="replace") for path in (tmp_path / "program" / ".neptune").rglob("data-*.log")
    )
    version = repo.version("vision/cats@1.1.0")
    assert json.dumps(version.digest) in written
    assert '"dataver", "input", "vision", "cats", "1.1.0", "digest"' in written
