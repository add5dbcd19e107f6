"""`dataver run`, `runs` and `lineage` as a user types them, with real processes as runs."""

import json
import os
import sys
from pathlib import Path

import pytest
from command_line import Run

import dataver
from dataver.formats.event import new_event_id, parse_event

READ = "import dataver; dataver.fetch('vision/cats@1.0.0', include='labels.csv')"
MAKE = (
    "import dataver, pathlib; dataver.fetch('vision/cats'); pathlib.Path('m').mkdir();"
    "pathlib.Path('m/net.bin').write_text('weights'); dataver.open().sync('m', 'models/net')"
)


@pytest.fixture
def traced(run: Run, two_versions: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two runs: one reads a file of version 1.0.0, the other all of 1.0.1 and makes a model; their keys."""
    monkeypatch.setenv("DATAVER_LINEAGE", "on")
    monkeypatch.setenv("DATAVER_STATE", str(work / "state"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    run("run", "--name", "read", "--", sys.executable, "-c", READ)
    run("run", "--name", "make", "--", sys.executable, "-c", MAKE)
    found = {each["name"]: each["run"] for each in run("runs", "--json").json}
    return [found["read"], found["make"]]


def test_a_wrapped_command_is_a_run(run: Run, traced: list[str]) -> None:
    """The run says what it consumed, in part, and what it produced; also by the beginning of its id."""
    read = run("lineage", "run", traced[0][:24], "--json").json
    assert [(each["ref"], each["subset"]) for each in read["inputs"]] == [
        ("vision/cats@1.0.0", {"patterns": ["labels.csv"]})
    ]
    assert read["outcome"] == "finished"
    text = run("lineage", "run", traced[1]).out
    assert "consumed  vision/cats@1.0.1" in text
    assert "produced  models/net@1.0.0" in text


def test_the_exit_code_of_a_wrapped_command_is_its_own(run: Run, traced: list[str]) -> None:
    """A failed run is listed as failed."""
    run("run", "--name", "bad", "--", sys.executable, "-c", f"{READ}; raise SystemExit(7)", expect=7)
    failed = run("runs", "--outcome", "failed", "--json").json
    assert [each["name"] for each in failed] == ["bad"]


def test_from_data_to_runs(run: Run, traced: list[str], two_versions: Path) -> None:
    """Versions, contents under any name, impact, as text and as JSON."""
    assert "read by" in run("lineage", "version", "vision/cats@1.0.0").out
    graph = run("lineage", "version", "models/net", "--up", "--json").json
    assert {each["ref"] for each in graph["versions"].values()} >= {"models/net@1.0.0", "vision/cats@1.0.1"}
    assert run("lineage", "version", "models/net", "--dot").out.startswith("digraph")
    assert run("lineage", "run", traced[1], "--mermaid").out.startswith("flowchart")
    saw = run("lineage", "file", two_versions / "z.jpg", "--json").json
    assert {each["path"] for each in saw["versions"]} == {"a.jpg", "z.jpg"}
    assert {each["run"] for each in saw["runs"]} == {traced[1]}
    tainted = run("lineage", "impact", "vision/cats@1.0.1", "--json").json
    assert "models/net@1.0.0" in {each["ref"] for each in tainted["versions"]}
    assert "1 run are tainted" in run("lineage", "impact", "vision/cats@1.0.0", "--include", "labels.csv").err


def test_compare_says_what_differs(run: Run, traced: list[str]) -> None:
    """Two runs differ by what one of them alone read: a file that neither read is not listed."""
    found = run("lineage", "compare", *traced, "--json").json
    assert not found["same"]
    summary = found["pairs"][0]["diff"]["summary"]
    assert (summary["added"], summary["renamed"], summary["modified"]) == (4, 0, 1)
    shown = run("lineage", "compare", *traced).out
    assert "A  z.jpg" in shown and "a.jpg" not in shown
    assert "the same data" in run("lineage", "compare", traced[0], traced[0]).err


def test_fetch_by_run_brings_the_same_bytes(run: Run, traced: list[str], work: Path) -> None:
    """`fetch --run` brings the version and the part of it that the run read."""
    run("fetch", "--run", traced[0], "--dest", "again")
    assert [path.name for path in (work / "again").iterdir()] == ["labels.csv"]
    assert (work / "again" / "labels.csv").stat().st_size > 100_000
    run("fetch", "--run", "nobody:1", expect=4)


def test_the_index_is_made_anew(run: Run, traced: list[str], work: Path) -> None:
    """Deleted or damaged, it comes back with `rebuild`; a damaged one says so."""
    before = run("lineage", "run", traced[1], "--json").json
    (index,) = (work / "state" / "lineage").rglob("index-*.sqlite")
    for beside in index.parent.glob(f"{index.name}-*"):
        beside.unlink()
    index.write_bytes(b"no database at all" * 1000)
    assert "dataver lineage rebuild" in run("runs", expect=6).err
    assert run("lineage", "rebuild", "--json").json["events"] >= 2
    assert run("lineage", "run", traced[1], "--json").json == before


def test_compacting_shows_its_plan_first(run: Run, traced: list[str], work: Path) -> None:
    """Without --yes nothing changes; with it, the same runs stand in one object."""
    event = next(iter((work / "repo" / "lineage").rglob("*.json")))
    parsed = parse_event(event.read_bytes())
    repository = dataver.open(work / "repo")
    for number in range(60):
        key = f"test:{number}"
        repository._core.events.put(parsed._replace(id=new_event_id(), run=parsed.run._replace(key=key)))
    events = list((work / "repo" / "lineage").rglob("*.json"))
    run("lineage", "compact", "--older-than", "0")
    assert list((work / "repo" / "lineage").rglob("*.json")) == events
    run("lineage", "compact", "--older-than", "0", "--yes")
    assert not list((work / "repo" / "lineage").rglob("*.json"))
    assert len(run("runs", "--json", "-n", "100").json) == 62
    run("lineage", "rebuild")
    assert len(run("runs", "--json", "-n", "100").json) == 62


def test_export_and_sync(run: Run, traced: list[str]) -> None:
    """Each line is one OpenLineage event; a sync with nothing new says so."""
    lines = [json.loads(line) for line in run("lineage", "export").out.splitlines()]
    assert {each["eventType"] for each in lines} == {"START", "COMPLETE"}
    assert run("lineage", "sync", "--json").json["events"] == 0


def test_bad_input_gets_a_sentence(run: Run, traced: list[str]) -> None:
    """Unknown runs, versions and contents, ambiguous ids, times that are none."""
    assert "no run 'zzz'" in run("lineage", "run", "zzz", expect=4).err
    assert "matches several runs" in run("lineage", "run", "dataver:", expect=1).err
    run("lineage", "version", "nothing@1", expect=4)
    run("lineage", "file", "no/such/file", expect=4)
    run("lineage", "impact", "vision/cats@1.0.0", "--include", "none/**", expect=4)
    run("runs", "--since", "yesterday", expect=2)
    run("runs", "vision/cats@'; DROP TABLE runs; --", expect=4)
