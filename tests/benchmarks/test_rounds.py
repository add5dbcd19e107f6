"""Whole rounds on small data, and the makers of data."""

import hashlib
import json
from pathlib import Path

import pytest

from benchmarks.data import make
from benchmarks.machine import machine_facts
from benchmarks.rounds import OPERATIONS, Round, run_round
from benchmarks.tools import TOOLS


def digest(folder: Path) -> str:
    """Return one digest of all names and bytes of a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    parts = [path.relative_to(folder).as_posix().encode() + path.read_bytes() for path in files]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


@pytest.mark.parametrize("name", ["images", "table", "tiny"])
def test_makers_give_the_same_bytes_every_time(name: str, tmp_path: Path) -> None:
    """Data sets are seeded: made twice they are the same, and v2 is not v1."""
    one, other = (make(name, tmp_path / part, 0.001) for part in ("one", "other"))
    assert [digest(version) for version in one] == [digest(version) for version in other]
    assert digest(one[0]) != digest(one[1])
    assert make(name, tmp_path / "one", 0.001) == one


def test_checkpoints_are_of_a_run_that_learns(tmp_path: Path) -> None:
    """Ten checkpoints, each with weights, moments and half-size weights, and the loss goes down."""
    np = pytest.importorskip("numpy")
    versions = make("checkpoints", tmp_path, 0.005)
    states = [json.loads((version / "state.json").read_text()) for version in versions]
    assert [state["step"] for state in states] == [12 * number for number in range(1, 11)]
    assert sum(state["loss"] for state in states[-3:]) < sum(state["loss"] for state in states[:3])
    weights = [np.load(path) for path in sorted((versions[-1] / "model").iterdir())]
    assert all(array.dtype == np.float32 for array in weights)
    assert (versions[-1] / "model.bf16").stat().st_size == 2 * sum(array.size for array in weights)
    assert len({digest(version) for version in versions}) == 10


@pytest.mark.slow
def test_a_round_measures_every_tool_and_leaves_nothing(tmp_path: Path) -> None:
    """Every operation of a tool gives a figure or says that it is lacking; restores are identical."""
    plan = Round(
        number=1,
        dataset="tiny",
        scale=0.002,
        versions=make("tiny", tmp_path / "sets", 0.002),
        operations=frozenset(OPERATIONS),
        timeout=60,
        work=tmp_path / "round",
        machine=machine_facts(tmp_path),
    )
    tools = {TOOLS[name]: program for name in ("dataver", "cp", "tar") if (program := TOOLS[name].find())}
    assert len(tools) >= 2
    results = list(run_round(plan, tools))
    assert results[-1].done
    rows = results[:-1]
    assert {row.tool for row in rows} == {kind.name for kind in tools}
    assert [row.error for row in rows if row.error] == []
    assert all(row.lacking or row.wall_s for row in rows)
    assert all(row.identical for row in rows if row.operation and row.operation.startswith("fetch"))
    ours = [row for row in rows if row.tool == "dataver"]
    assert not any(row.lacking for row in ours)
    assert all(row.rss_tree and row.cpu_s is not None for row in ours)
    assert not plan.work.exists()
