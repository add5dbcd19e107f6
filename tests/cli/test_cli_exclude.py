"""`dataver fetch --exclude` as a user types it: what arrives, and what the run is said to have read."""

import os
import subprocess
import sys
from pathlib import Path

from command_line import Run


def names(folder: Path) -> list[str]:
    """Return the paths of the files in a folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def fetch_as(key: str, *arguments: str) -> None:
    """Fetch in a process of its own, which belongs to a run."""
    code = "import sys; from dataver_cli.main import main; sys.exit(main(['fetch', *sys.argv[1:]]))"
    environment = os.environ | {"DATAVER_RUN": key}
    subprocess.run([sys.executable, "-c", code, *arguments], env=environment, check=True)


def test_excluded_files_do_not_arrive(run: Run, two_versions: Path, work: Path) -> None:
    """With and without `--include`, once or often; the plan, the cache and the errors know it."""
    run("fetch", "vision/cats", "--exclude", "*.jpg", "--exclude", "empty", "--dest", "out")
    assert names(work / "out") == ["labels.csv", "new.txt"]
    got = run("fetch", "vision/cats", "--include", "*.jpg", "--exclude", "sub", "--json").json
    assert names(Path(got["path"])) == ["z.jpg"]
    planned = run("fetch", "vision/cats", "--exclude", "*.jpg", "--plan", "--json").json
    assert planned["files"] == 3
    (cached,) = run("cache", "info", "--json").json["versions"]
    assert (cached["paths"], cached["exclude"]) == (["*.jpg"], ["sub"])
    assert "excludes all" in run("fetch", "vision/cats", "--exclude", "**", expect=4).err
    run("fetch", "--run", "x:1", "--exclude", "*.jpg", expect=2)


def test_a_run_says_what_it_left_out(run: Run, two_versions: Path, work: Path, monkeypatch) -> None:
    """The text and JSON of lineage name the exclusion, and impact does not reach the run through it."""
    monkeypatch.setenv("DATAVER_LINEAGE", "on")
    monkeypatch.setenv("DATAVER_STATE", str(work / "state"))
    fetch_as("mlflow:without", "vision/cats@1.0.1", "--exclude", "*.jpg")
    fetch_as(
        "mlflow:part", "vision/cats@1.0.1", "--include", "sub", "--include", "z.jpg", "--exclude", "sub/*"
    )
    (read,) = run("lineage", "run", "mlflow:without", "--json").json["inputs"]
    assert (read["subset"], read["files"]) == ({"exclude": ["*.jpg"]}, 3)
    assert "without *.jpg" in run("lineage", "run", "mlflow:without").out
    assert "sub z.jpg, without sub/*" in run("lineage", "run", "mlflow:part").out
    tainted = run("lineage", "impact", "vision/cats@1.0.1", "--include", "z.jpg", "--json").json
    assert [each["run"] for each in tainted["runs"]] == ["mlflow:part"]
    fetch_as("mlflow:again", "--run", "mlflow:without", "--dest", "again")
    assert names(work / "again") == ["empty", "labels.csv", "new.txt"]
