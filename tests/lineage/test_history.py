"""A history of three datasets, twelve versions, forty runs and two machines, with each question's answer.

`raw` is collected, `clean` is made of it, `model` is trained on that. `raw@1.0.0` has a bad `b.csv`, which
1.0.1 mends; 1.0.2 renames `a.csv`, 1.0.3 adds `d.csv`, 1.0.4 drops `c.csv`. In the end `raw@1.0.2` and
`model@1.0.0` are deleted. Every answer below follows from this page alone.
"""

import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import dataver
from dataver.errors import NotFound
from dataver.lineage.queries.results import IndexedLink, IndexedRun

# run, what it does, with what; `sync` is done in the run of the process's own
FIRST = """
sync raw a.csv=alpha b.csv=bad c.csv=gamma
01 make clean from raw@1.0.0
05 make model from clean@1.0.0
08 fetch raw@1.0.0
09 fetch raw@1.0.0 a.csv
10 read raw@1.0.0 b.csv
11 read raw@1.0.0 a.csv c.csv
12 fetch model@1.0.0
13 fail raw@1.0.0
sync raw a.csv=alpha b.csv=beta c.csv=gamma
02 make clean from raw@1.0.1
06 make model from clean@1.0.1
14 fetch raw@1.0.1
15 read raw@1.0.1 a.csv
16 fetch clean@1.0.1
17 fetch model@1.0.1
"""
SECOND = """
sync raw x/a.csv=alpha b.csv=beta c.csv=gamma
18 fetch raw@1.0.2
19 fetch raw@1.0.2 x/**
20 read raw@1.0.2 x/a.csv
sync raw x/a.csv=alpha b.csv=beta c.csv=gamma d.csv=delta
03 make clean from raw@1.0.3
07 make model from clean@1.0.2
21 fetch raw@1.0.3
22 read raw@1.0.3 d.csv
23 fetch raw@1.0.3 b.csv d.csv
24 fetch clean@1.0.0
25 fetch model@1.0.0
26 fetch model@1.0.2
27 read raw@1.0.0 b.csv
28 read raw@1.0.3 b.csv
29 fail clean@1.0.2
sync raw x/a.csv=alpha b.csv=beta d.csv=delta
04 make clean from raw@1.0.4
30 fetch raw@1.0.4
"""
THIRD = """
31 fetch raw@1.0.4 d.csv
32 read raw@1.0.4 x/a.csv
33 fetch clean@1.0.3
34 fetch clean@1.0.3 all.txt
35 read clean@1.0.1 c.csv
36 fetch raw@1.0.0 c.csv
37 fetch model@1.0.2
38 read raw@1.0.2 c.csv
39 read raw@1.0.1 b.csv
40 fetch model@1.0.1
delete raw@1.0.2
delete model@1.0.0
"""

PROGRAM = """
import shutil, sys
from pathlib import Path
import dataver

repo = dataver.open()

def sync(name, files):
    shutil.rmtree("files", ignore_errors=True)
    for path, text in files.items():
        Path("files", path).parent.mkdir(parents=True, exist_ok=True)
        Path("files", path).write_text(text)
    repo.sync("files", name)

def act(what, *rest):
    if what in ("fetch", "fail"):
        dataver.fetch(rest[0], include=list(rest[1:]) or None)
        if what == "fail":
            raise ArithmeticError
    elif what == "read":
        for path in rest[1:]:
            repo.files(rest[0]).read(path)
    else:  # `c.csv` goes on as it is, all else in one text
        name, _, source = rest
        folder = dataver.fetch(source).path
        paths = sorted(each for each in folder.rglob("*") if each.is_file())
        made = {"all.txt": f"{name} of " + " ".join(each.read_text() for each in paths)}
        made |= {each.name: each.read_text() for each in paths if name == "clean" and each.name == "c.csv"}
        sync(name, made)

for line in sys.argv[1].strip().splitlines():
    first, *rest = line.split()
    if first == "sync":
        sync(rest[0], dict(each.split("=") for each in rest[1:]))
    elif first == "delete":
        repo.delete(rest[0])
    else:
        try:
            with dataver.run(f"number {first}", key=f"lab:{first}"):
                act(*rest)
        except ArithmeticError:
            pass
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the two machines and the repository, in which all of it has happened."""
    root = tmp_path_factory.mktemp("history")
    dataver.init(root / "repository")
    for machine, program in (("one", FIRST), ("two", SECOND), ("one", THIRD)):
        folder = root / machine
        (folder / "work").mkdir(parents=True, exist_ok=True)
        environment = {
            "DATAVER_REPO": str(root / "repository"),
            "DATAVER_STATE": str(folder / "state"),
            "DATAVER_CACHE": str(folder / "cache"),
        }
        subprocess.run(
            [sys.executable, "-c", PROGRAM, program],
            env=environment,
            cwd=folder / "work",
            check=True,
            timeout=120,
        )
    return root


@pytest.fixture(params=["one", "two"])
def repo(
    root: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dataver.Repository]:
    """The repository as each machine sees it."""
    monkeypatch.setenv("DATAVER_LINEAGE", "off")  # who asks is no run
    monkeypatch.setenv("DATAVER_STATE", str(root / request.param / "state"))
    monkeypatch.setenv("DATAVER_CACHE", str(root / request.param / "cache"))
    repo = dataver.open(root / "repository")
    yield repo
    repo.lineage.close()


def numbers(runs: Iterable[IndexedRun]) -> str:
    """Return the numbers of runs, in order; `own` for one of a process's own."""
    keys = {run.key for run in runs}  # a run that was sent while it read has a link for each time
    return " ".join(sorted("own" if key.startswith("dataver:") else key[4:] for key in keys))


def parts(links: list[IndexedLink]) -> list[str]:
    """Return links as texts: each version, and the parts of it unless they are the whole.

    A run that is sent while it reads has a link for each time.
    """
    found: dict[str, list[str]] = {}
    for link in links:
        found.setdefault(link.ref, []).extend([*link.subset.patterns, *link.subset.paths])
    return [
        " ".join([ref, *sorted(subset)]) for ref, subset in found.items()
    ]  # one link each time it is sent


def test_there_are_forty_runs_and_twelve_versions(repo: dataver.Repository) -> None:
    """The latest first; two of them failed. Two processes made `raw` in runs of their own."""
    runs = repo.lineage.runs()
    assert numbers(runs) == f"{ALL} own own"
    assert [run.key for run in runs if run.key.startswith("lab:")][::39] == ["lab:40", "lab:01"]
    assert numbers(repo.lineage.runs(outcome="failed")) == "13 29"
    assert numbers(repo.lineage.runs(name="number 07")) == "07"
    assert sorted(version.ref for name in ("raw", "clean", "model") for version in repo.versions(name)) == [
        *("clean@1.0.0", "clean@1.0.1", "clean@1.0.2", "clean@1.0.3", "model@1.0.1", "model@1.0.2"),
        *("raw@1.0.0", "raw@1.0.1", "raw@1.0.3", "raw@1.0.4"),
    ]


VERSIONS = {  # made by, read by
    "raw@1.0.0": ("own", "01 08 09 10 11 13 27 36"),
    "raw@1.0.1": ("own", "02 14 15 39"),
    "raw@1.0.2": ("own", "18 19 20 38"),
    "raw@1.0.3": ("own", "03 21 22 23 28"),
    "raw@1.0.4": ("own", "04 30 31 32"),
    "clean@1.0.0": ("01", "05 24"),
    "clean@1.0.1": ("02", "06 16 35"),
    "clean@1.0.2": ("03", "07 29"),
    "clean@1.0.3": ("04", "33 34"),
    "model@1.0.0": ("05", "12 25"),
    "model@1.0.1": ("06", "17 40"),
    "model@1.0.2": ("07", "26 37"),
}


@pytest.mark.parametrize("ref", VERSIONS)
def test_which_runs_made_and_read_a_version(repo: dataver.Repository, ref: str) -> None:
    """Deleted ones, too, and it says so."""
    answer = repo.lineage.version(ref)
    made, read = VERSIONS[ref]
    assert (numbers(run for run, _ in answer.produced), numbers(run for run, _ in answer.consumed)) == (
        made,
        read,
    )
    assert numbers(repo.lineage.runs(version=ref)) == " ".join(sorted(f"{made} {read}".split()))
    assert (answer.version.deleted is not None) == (ref in ("raw@1.0.2", "model@1.0.0"))


@pytest.mark.parametrize(
    ("run", "inputs", "outputs"),
    [
        ("01", ["raw@1.0.0"], ["clean@1.0.0"]),
        ("05", ["clean@1.0.0"], ["model@1.0.0"]),
        ("09", ["raw@1.0.0 a.csv"], []),
        ("10", ["raw@1.0.0 b.csv"], []),
        ("11", ["raw@1.0.0 a.csv c.csv"], []),
        ("13", ["raw@1.0.0"], []),
        ("19", ["raw@1.0.2 x/**"], []),
        ("23", ["raw@1.0.3 b.csv d.csv"], []),
        ("35", ["clean@1.0.1 c.csv"], []),
        ("38", ["raw@1.0.2 c.csv"], []),
    ],
)
def test_which_versions_a_run_read_and_made(
    repo: dataver.Repository, run: str, inputs: list[str], outputs: list[str]
) -> None:
    """With the part that it read."""
    answer = repo.lineage.run(f"lab:{run}")
    assert (parts(answer.inputs), parts(answer.outputs)) == (inputs, outputs)


ALL = " ".join(f"{number:02}" for number in range(1, 41))
IMPACT = {  # what is bad: the versions, the runs, and what was made again from good data
    ("raw@1.0.0", None): (" ".join(VERSIONS), ALL, ""),
    ("raw@1.0.0", "b.csv"): (
        "clean@1.0.0 model@1.0.0 raw@1.0.0",
        "01 05 08 10 12 13 24 25 27",
        "clean@1.0.1",  # it kept `c.csv`; model@1.0.1 kept nothing
    ),
    ("raw@1.0.3", "d.csv"): (
        "clean@1.0.2 clean@1.0.3 model@1.0.2 raw@1.0.3 raw@1.0.4",
        "03 04 07 21 22 23 26 29 30 31 33 34 37",
        "",
    ),
    ("raw@1.0.2", "c.csv"): (
        """clean@1.0.0 clean@1.0.1 clean@1.0.2 model@1.0.0 model@1.0.1 model@1.0.2 raw@1.0.0 raw@1.0.1
        raw@1.0.2 raw@1.0.3""",
        "01 02 03 05 06 07 08 11 12 13 14 16 17 18 21 24 25 26 29 35 36 37 38 40",
        "",
    ),
    ("clean@1.0.3", None): ("clean@1.0.3", "33 34", ""),
    ("model@1.0.0", None): ("model@1.0.0", "12 25", ""),
}


@pytest.mark.parametrize(("ref", "paths"), IMPACT)
def test_what_is_tainted(repo: dataver.Repository, ref: str, paths: str | None) -> None:
    """By a whole version or a file of it; all of it is certain."""
    answer = repo.lineage.impact(ref, paths)
    versions, runs, mended = IMPACT[ref, paths]
    assert " ".join(sorted(version.ref for version, _ in answer.versions)) == " ".join(
        sorted(versions.split())
    )
    assert numbers(run for run, _, _ in answer.runs) == runs
    assert all(certain for _, _, certain in answer.runs)
    assert " ".join(sorted(version.ref for version, _ in answer.mended)) == mended


def test_which_versions_held_a_file_and_which_runs_saw_it(repo: dataver.Repository, tmp_path: Path) -> None:
    """By its content, under any name and in any dataset."""
    (tmp_path / "mine.txt").write_text("gamma")
    (tmp_path / "yours.txt").write_text("alpha")
    gamma = repo.lineage.file(tmp_path / "mine.txt")
    assert {f"{each.version.ref}/{each.path}" for each in gamma.holdings} == {
        *("raw@1.0.0/c.csv", "raw@1.0.1/c.csv", "raw@1.0.2/c.csv", "raw@1.0.3/c.csv"),
        *("clean@1.0.0/c.csv", "clean@1.0.1/c.csv", "clean@1.0.2/c.csv"),
    }
    assert numbers({each.run.key: each.run for each in gamma.saw}.values()) == (
        "01 02 03 05 06 07 08 11 13 14 16 18 21 24 29 35 36 38 own own"
    )
    alpha = repo.lineage.file(tmp_path / "yours.txt")
    assert {f"{each.version.ref}/{each.path}" for each in alpha.holdings} == {
        *(
            "raw@1.0.0/a.csv",
            "raw@1.0.1/a.csv",
            "raw@1.0.2/x/a.csv",
            "raw@1.0.3/x/a.csv",
            "raw@1.0.4/x/a.csv",
        ),
    }
    assert numbers({each.run.key: each.run for each in alpha.saw}.values()) == (
        "01 02 03 04 08 09 11 13 14 15 18 19 20 21 30 32 own own"
    )


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("09", "20", True),  # a.csv and x/a.csv
        ("28", "39", True),  # b.csv of two versions
        ("36", "35", True),  # c.csv of two datasets
        ("10", "27", True),  # on two machines
        ("10", "28", False),  # b.csv before and after the mending
        ("08", "14", False),
        ("12", "25", True),
    ],
)
def test_which_runs_read_the_same(repo: dataver.Repository, first: str, second: str, same: bool) -> None:
    """Contents count, whatever they are called."""
    assert repo.lineage.compare(f"lab:{first}", f"lab:{second}").same is same


@pytest.mark.parametrize(
    ("run", "files"),
    [
        ("01", {"a.csv": "alpha", "b.csv": "bad", "c.csv": "gamma"}),
        ("11", {"a.csv": "alpha", "c.csv": "gamma"}),
        ("23", {"b.csv": "beta", "d.csv": "delta"}),
        ("32", {"x/a.csv": "alpha"}),
        ("35", {"c.csv": "gamma"}),
    ],
)
def test_a_run_gets_what_it_read_again(
    repo: dataver.Repository, tmp_path: Path, run: str, files: dict[str, str]
) -> None:
    """On either machine."""
    (report,) = repo.fetch_run(f"lab:{run}", dest=tmp_path / "again").values()
    found = [path for path in report.path.rglob("*") if path.is_file()]
    found = {path.relative_to(report.path).as_posix(): path.read_text() for path in found}
    assert found == files


def test_what_a_run_read_of_a_deleted_version_is_named(repo: dataver.Repository, tmp_path: Path) -> None:
    """It cannot be fetched any more."""
    with pytest.raises(NotFound, match=r"raw@1\.0\.2, which the run read, is not in"):
        repo.fetch_run("lab:18", dest=tmp_path / "again")
