"""Questions on a large lineage: 100,000 runs, 1,000 versions of a million files each; a simulated index.

    python -m benchmarks.lineage [--runs 100000] [--versions 1000] [--files 1000000] [--changed 1000]

The index is filled with the rows that pulling would have put there (the same schema, the same keys), because
making a thousand million-file versions for real would take hours and change nothing about a question. The
first version lists all files; every later one replaces `--changed` of them. Runs read one version each, one
in ten produces a version of another dataset. Each question is asked once on a fresh connection, then warm.
"""

import argparse
import json
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from dataver.errors import NotFound
from dataver.formats.event import Link, Subset, link_id
from dataver.lineage.index.event_rows import run_number, version_number
from dataver.lineage.index.index import migrate
from dataver.lineage.index.schema import MIGRATIONS
from dataver.lineage.queries.compare import compare_inputs
from dataver.lineage.queries.content import CONTENT_SIZE, Covers, contents_at, describe_content, files_of
from dataver.lineage.queries.impact import impact_of_contents, impact_of_version
from dataver.lineage.queries.resolve import find_version
from dataver.lineage.queries.results import IndexedLink as Answer
from dataver.lineage.queries.runs import RunFilter, describe_run, list_runs
from dataver.lineage.queries.versions import describe_version, graph_of_version

_START = 1_700_000_000
_DATASETS = 100  # of models that runs produce
_VERSION = """INSERT INTO versions (id, record, dataset, label, tree, write_id, created, author, message,
    files, size, base, changed) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)"""
_PROCESS = """INSERT INTO processes (run, process, sequence, event, started, ended, outcome, facts)
    VALUES (?,?,?,?,?,?,?,?)"""
_LINK = """INSERT INTO links (id, run, role, version, named, dataset, tree, subset, files, size, time, how)
    VALUES (?,?,?,?,?,?,?,?,?,?,?,?)"""


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime(_START + seconds))


def _content(file: int, edit: int) -> bytes:
    return random.Random(file * 1_000_003 + edit).randbytes(CONTENT_SIZE)


def _path(file: int) -> str:
    return f"train/{file // 1000:04d}/img_{file:07d}.jpg"


def _record(name: str) -> str:
    return random.Random(name).randbytes(32).hex()


def _versions(count: int) -> Iterator[tuple[object, ...]]:
    for number in range(count):
        record = _record(f"cats@{number}")
        base = version_number(_record(f"cats@{number - 1}")) if number else None
        values = (
            record,
            "cats",
            f"1.0.{number}",
            _record(f"tree {number}"),
            None,
            _time(number * 1000),
            "ana",
        )
        yield version_number(record), *values, f"version {number}", 1_000_000, 10**11, base, 1


def _changes(files: int, versions: int, changed: int) -> Iterator[tuple[bytes, int, str, int]]:
    chance = random.Random(7)
    edits = dict.fromkeys(range(files), 0)
    first = version_number(_record("cats@0"))
    for file in range(files):
        yield _content(file, 0), first, _path(file), 1
    for number in range(1, versions):
        version = version_number(_record(f"cats@{number}"))
        for file in chance.sample(range(files), changed):
            yield _content(file, edits[file]), version, _path(file), 0
            edits[file] += 1
            yield _content(file, edits[file]), version, _path(file), 1


def build(path: Path, *, runs: int, versions: int, files: int, changed: int) -> None:
    """Fill an index with the rows of a long history."""
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -400000;")
    migrate(db, MIGRATIONS, path)
    db.execute("BEGIN")
    names = ["cats", *(f"models/{number}" for number in range(_DATASETS))]
    db.executemany("INSERT INTO datasets VALUES (?)", ((name,) for name in names))
    db.executemany(_VERSION, _versions(versions))
    for number in range(1, versions):
        ends = (version_number(_record(f"cats@{number}")), version_number(_record(f"cats@{number - 1}")))
        db.execute("INSERT INTO parents VALUES (?,0,?)", ends)
    db.executemany("INSERT INTO changes VALUES (?,?,?,?)", sorted(_changes(files, versions, changed)))
    for number in range(runs):
        _add_run(db, number, versions)
    db.execute("COMMIT")
    db.close()


def _add_run(db: sqlite3.Connection, number: int, versions: int) -> None:
    chance = random.Random(f"run {number}")
    key, seconds = f"mlflow:{chance.randbytes(16).hex()}", number * 10.0
    run = run_number(key)
    facts = json.dumps({"argv": ["python", "train.py"], "host": f"gpu-{number % 40}", "user": "ana"})
    ends = (_time(seconds), _time(seconds + 600), "finished")
    db.execute(
        "INSERT INTO runs VALUES (?,?,?,?,?,?,?,?,?,?)",
        (run, key, f"train {number % 50}", *ends, "ana", f"gpu-{number % 40}", "c0ffee", None),
    )
    db.execute(
        _PROCESS,
        (run, f"{number:032x}", 1, f"{number:032x}", *ends, facts),
    )
    for system, kind, native in (("mlflow", "tracker", key[7:]), ("slurm", "cluster", f"hpc/{number}")):
        db.execute(
            "INSERT INTO contexts VALUES (?,?,?,?,?)",
            (run, f"{system}:{native}", kind, "{}", f"{number:032x}"),
        )
    read = _record(f"cats@{chance.randrange(versions)}")
    _add_link(db, run, key, "input", "cats", read, _time(seconds))
    if number % 10 == 0:
        name, made = f"models/{number % _DATASETS}", _record(f"model {number}")
        values = (
            name,
            f"1.0.{number}",
            _record(f"model tree {number}"),
            None,
            _time(seconds + 600),
            "ana",
            "",
            3,
        )
        db.execute(_VERSION, (version_number(made), made, *values, 10**8, None, 1))
        _add_link(db, run, key, "output", name, made, _time(seconds + 600))


def _add_link(
    db: sqlite3.Connection, run: int, key: str, role: str, dataset: str, record: str, when: str
) -> None:
    from datetime import datetime

    subset = Subset(patterns=("train/**",)) if run % 7 == 0 else Subset()
    link = Link(
        role=role,
        dataset=dataset,
        tree=record,
        record=record,
        time=datetime.fromisoformat(when),
        how="fetch",
        subset=subset,
    )
    db.execute(
        _LINK,
        (
            *(link_id(key, link), run, role, version_number(record), version_number(record), dataset, record),
            *(json.dumps(subset.values()), 1_000_000, 10**11, when, "fetch"),
        ),
    )


def questions(runs: int, versions: int) -> dict[str, Callable[[sqlite3.Connection], object]]:
    """Return the questions, each as a person would ask it."""
    key = f"mlflow:{random.Random(f'run {runs // 2}').randbytes(16).hex()}"
    other = f"mlflow:{random.Random(f'run {runs // 2 + 1}').randbytes(16).hex()}"
    covers = Covers(lambda _digest: ())
    late = f"cats@1.0.{versions - 1}"

    def no_tree(link: Answer) -> NoReturn:
        raise NotFound(f"the tree of {link.ref} is simulated.")

    def contents_read(db: sqlite3.Connection, link: Answer) -> set[bytes]:
        files = files_of(db, link.version_row or 0) or {}
        return {content for path, content in files.items() if covers(link.subset, path)}

    def by_path(db: sqlite3.Connection) -> object:
        return describe_content(db, "path", contents_at(db, _path(4242)), covers, 50)

    return {
        "run, by its whole id": lambda db: describe_run(db, key),
        "run, by the beginning of a bare id": lambda db: describe_run(db, key[7:19]),
        "version: its runs and neighbours": lambda db: describe_version(db, late),
        "version --down, all steps, of a late one": lambda db: graph_of_version(db, late, up=False),
        "version --up, all steps, of a late one": lambda db: graph_of_version(db, late, down=False),
        "file by content, in one version": lambda db: describe_content(
            db, "content", _newest(db, versions), covers, 50
        ),
        "file by path": by_path,
        "impact of a late version": lambda db: impact_of_version(db, find_version(db, late)),
        "impact of one file of a late version": lambda db: impact_of_contents(
            db, _newest(db, versions), covers
        ),
        "compare two runs": lambda db: compare_inputs(
            describe_run(db, key), describe_run(db, other), no_tree, lambda link: contents_read(db, link)
        ),
        "runs, the latest 50": lambda db: list_runs(db, RunFilter(), 50),
        "runs of one version": lambda db: list_runs(db, RunFilter(version=late), 50),
        "runs of a dataset": lambda db: list_runs(db, RunFilter(version="cats"), 50),
        "runs of a tracker on a host": lambda db: list_runs(db, RunFilter(system="mlflow", host="gpu-3"), 50),
    }


def _newest(db: sqlite3.Connection, versions: int) -> list[bytes]:
    newest = version_number(_record(f"cats@{versions - 1}"))
    row = db.execute(
        "SELECT content FROM changes WHERE version = ? AND kind = 1 LIMIT 1", [newest]
    ).fetchone()
    return [row[0]]


def main() -> None:
    """Build the index, ask, print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--versions", type=int, default=1_000)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--changed", type=int, default=1_000)
    parser.add_argument("--times", type=int, default=7)
    parser.add_argument("--index", type=Path, help="keep the index here, or use the one that is there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = given.index or Path(folder) / "index.sqlite"
        if not path.exists():
            began = time.perf_counter()
            build(path, runs=given.runs, versions=given.versions, files=given.files, changed=given.changed)
            print(f"built in {time.perf_counter() - began:.0f} s, {path.stat().st_size / 1e6:.0f} MB\n")
        print(f"| question | cold ms | warm ms (median of {given.times}) | answer |\n|---|---|---|---|")
        for name, ask in questions(given.runs, given.versions).items():
            cold, warm, size = _measure(path, ask, given.times)
            print(f"| {name} | {cold:.1f} | {warm:.1f} | {size} |", flush=True)


def _measure(path: Path, ask: Callable[[sqlite3.Connection], object], times: int) -> tuple[float, float, str]:
    db = sqlite3.connect(path)
    took, answer = [], None
    for _ in range(times + 1):
        began = time.perf_counter()
        answer = ask(db)
        took.append((time.perf_counter() - began) * 1000)
    db.close()
    return took[0], statistics.median(took[1:]), _size(answer)


def _size(answer: object) -> str:
    if isinstance(answer, list):
        return f"{len(answer)} runs"
    parts = {
        name: getattr(answer, name, None)
        for name in ("versions", "runs", "holdings", "saw", "consumed", "inputs")
    }
    return ", ".join(f"{len(each)} {name}" for name, each in parts.items() if each)


if __name__ == "__main__":
    main()
