"""Budgets of the pages, measured in headless Chromium beside a server on this machine.

    python -m benchmarks.ui [--only lineage] [--runs 5]

Needs Playwright and Chromium, or the one that CHROMIUM names. Each budget is a function that returns rows:
what was measured, its value with the unit, and the budget. Add one to `BUDGETS`. The server is a process
of its own, so that its first answers include what it imports and reads only once.
"""

import argparse
import json
import os
import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

from playwright.sync_api import Browser, Page, sync_playwright

import dataver
from dataver.formats.event import Link, link_id
from dataver.hashing import digest
from dataver.lineage.index.event_rows import run_number, version_number
from dataver.repository.layout import block_key, record_key
from dataver.tree import build

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
)
_PAN = """async () => {
  const canvas = document.querySelector(".graph canvas"), box = canvas.getBoundingClientRect();
  const send = (type, clientX, clientY) =>
    canvas.dispatchEvent(new PointerEvent(type, {pointerId: 1, clientX, clientY}));
  canvas.setPointerCapture = () => {};
  const times = [];
  let x = box.x + box.width / 2, y = box.y + box.height / 2, last = performance.now();
  send("pointerdown", x, y);
  const until = last + 3000;
  for (let step = 0; last < until; step++) {
    send("pointermove", x += 9 * Math.cos(step / 90), y += 9 * Math.sin(step / 90));
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    times.push(now - last);
    last = now;
  }
  times.sort((one, other) => one - other);
  const mean = times.reduce((sum, each) => sum + each) / times.length;
  return [1000 / mean, times[Math.floor(times.length * 0.95)]];
}"""
_TURN = """async (rel) => {
  const link = document.querySelector(`.pager [rel="${rel}"]`), began = performance.now();
  link.click();
  while (link.isConnected) await new Promise(requestAnimationFrame);
  await new Promise((drawn) => requestAnimationFrame(() => setTimeout(drawn)));
  return performance.now() - began;
}"""
_SERVE = """
import dataver, sys
from dataver.serving import serve
server = serve(dataver.open(sys.argv[1]), port=0)
server.prepare()
print(server.url, flush=True)
sys.stdin.read()
"""
_LOOKING = 2_000  # milliseconds that a person looks at the first page at least
_PAINTED = "performance.getEntriesByName('first-contentful-paint').map(each => each.startTime)[0]"
_RECEIVED = """[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
  .reduce((sum, each) => sum + each.encodedBodySize, 0) / 1000"""


class Row(NamedTuple):
    """One measurement; of several runs the median is given."""

    what: str
    values: list[float]
    unit: str
    budget: str


def datasets(browser: Browser, folder: Path, runs: int) -> Iterator[Row]:
    """The list of 100 datasets: its bytes, and its drawing by a new server and by one that has answered."""
    size, cold, warm = list[float](), list[float](), list[float]()
    _fill(folder / "datasets", _fill_datasets)
    for _ in range(runs):
        with _serving(folder / "datasets") as url:
            for times in (cold, warm):
                with _page(browser, f"{url}/-/datasets") as page:
                    times.append(_painted(page))
                    size.append(page.evaluate(_RECEIVED))
                    page.wait_for_timeout(_LOOKING)
    yield Row("first page of 100 datasets, with its style and script, compressed", size, "kB", "≤ 60")
    yield Row("first page of 100 datasets: drawn, by a new server", cold, "ms", "< 300")
    yield Row("first page of 100 datasets: drawn, later", warm, "ms", "< 300")


def _fill_datasets(repository: dataver.Repository, folder: Path) -> None:
    (folder / "source").mkdir()
    for number in range(100):
        (folder / "source/a.txt").write_text(f"{number}\n" * (1 + number))
        name = f"team{number % 7}/data-{number:03}"
        message = f"measurements of week {number}"
        repository.sync(folder / "source", name, workspace=folder / f"work/{number}", message=message)
        repository.tag(f"{name}@1.0.0", "production")


def names(browser: Browser, folder: Path, runs: int) -> Iterator[Row]:
    """Pages of a folder of 1,000,000 files: the first one, pages anywhere in it, and turning them."""
    first, later, turned = list[float](), list[float](), list[float]()
    _fill(folder / "names", _fill_names)
    chance = random.Random(3)
    for _ in range(runs):
        with _serving(folder / "names") as url, _page(browser, f"{url}/-/datasets") as page:
            for number in range(6):  # in one browser, which keeps the style and scripts
                at = chance.randrange(990_000) if number else 0
                page.goto(f"{url}/-/version?ref=many@2&path=files&from={at}")
                (later if number else first).append(_painted(page))
                turned += [page.evaluate(_TURN, rel) for rel in ("next", "next", "prev")]
    yield Row("folder of 1,000,000 files: first page of a new server", first, "ms", "")
    yield Row("folder of 1,000,000 files: an address anywhere in it", later, "ms", "")
    yield Row("folder of 1,000,000 files: turning a page, until it is drawn", turned, "ms", "< 150")


def _fill_names(repository: dataver.Repository, folder: Path) -> None:
    """Publish a version of 1,000,000 files with one chunk, of which each has another digest."""
    (folder / "source").mkdir()
    (folder / "source/a.txt").write_bytes(b"text")
    seed = repository.sync(folder / "source", "many", workspace=folder / "work", label="1").version
    assert seed is not None
    core, (real,) = repository._core, seed.tree.iterate()
    root = build(
        (
            real._replace(path=f"files/{number:07}.txt", digest=digest(b"%d" % number))
            for number in range(1_000_000)
        ),
        lambda block: core.store.put(block_key(block.digest), block.data),
    )
    record = replace(seed._record, label="2", tree=root.digest, write_id="1" * 32, files=root.files)
    record = replace(record, size=root.size, entries=root.entries)
    core.store.put(record_key("many", "2"), record.encode())


def table(browser: Browser, folder: Path, runs: int) -> Iterator[Row]:
    """The first rows of a Parquet file of 100 columns and 1,000,000 rows, in one row group."""
    first, later, read = list[float](), list[float](), list[float]()
    _fill(folder / "table", _fill_table)
    for _ in range(runs):
        with _serving(folder / "table") as url:
            with _page(browser, f"{url}/-/datasets") as page:
                _painted(page)
                page.wait_for_timeout(_LOOKING)
            query = "ref=wide&path=wide.parquet"
            for times in (first, later):
                with _page(browser, f"{url}/-/version?{query}") as page:
                    times.append(_painted(page))
            with urlopen(f"{url}/-/version.json?{query}") as reply:
                read.append(json.load(reply)["preview"]["read"] / 1e3)
    yield Row("table of 100 columns: first rows, the first table of a server", first, "ms", "< 500")
    yield Row("table of 100 columns: first rows, later", later, "ms", "< 500")
    yield Row("table of 100 columns: bytes read of its rows", read, "kB", "< 2,000")


def _fill_table(repository: dataver.Repository, folder: Path) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    chance, rows = np.random.default_rng(4), 1_000_000
    columns: dict[str, Any] = {f"x{number}": chance.random(rows, np.float32) for number in range(50)}
    columns |= {f"n{number}": chance.integers(0, 10**6, rows, np.int32) for number in range(30)}
    words = np.array([f"word {number}" for number in range(1_000)])
    columns |= {f"w{number}": words[chance.integers(0, 1_000, rows)] for number in range(20)}
    (folder / "source").mkdir()
    pq.write_table(pa.table(columns), folder / "source/wide.parquet")
    repository.sync(folder / "source", "wide", workspace=folder / "work")


def lineage(browser: Browser, folder: Path, runs: int) -> Iterator[Row]:
    """The whole lineage of 10,000 nodes and 20,000 edges: its first drawing, and panning."""
    _fill(folder / "lineage", _fill_lineage)
    with _serving(folder / "lineage") as url:
        first, drawn, whole, near = [], [], [], []
        for number in range(runs):
            with _page(browser, f"{url}/-/lineage?all=1&hops={number + 3}") as page:  # not in its memory
                while not page.evaluate("performance.getEntriesByName('lineage').length"):
                    page.wait_for_timeout(50)
                first.append(page.evaluate("performance.getEntriesByType('navigation')[0].responseEnd"))
                drawn.append(page.evaluate("performance.getEntriesByName('lineage')[0].startTime"))
                assert page.evaluate("document.querySelectorAll('.graph canvas').length") == 1
                whole.append(page.evaluate(_PAN))
                for _ in range(12):
                    page.click("[data-zoom='1.4']")
                near.append(page.evaluate(_PAN))
    yield Row("lineage of 10,000 nodes: page received", first, "ms", "")
    yield Row("lineage of 10,000 nodes: first drawing, since the request", drawn, "ms", "< 1,000")
    for what, found in (("all in view", whole), ("with texts", near)):
        yield Row(f"panning, {what}", [each[0] for each in found], "frames/s", "≥ 30")
        yield Row(f"panning, {what}: 95th percentile of a frame", [each[1] for each in found], "ms", "")


def _fill_lineage(repository: dataver.Repository, _: Path) -> None:
    """Fill the index with the rows of 5,000 versions and runs: each run reads two and makes one from one.

    A pull keeps versions without a tree, which it would drop otherwise, as the repository has no records.
    """
    chance, began = random.Random(5), datetime(2026, 1, 1, tzinfo=UTC)
    repository.lineage.sync()
    db: sqlite3.Connection
    with repository.lineage._index.writing() as db:
        made: list[tuple[str, str]] = []
        for number in range(5_000):
            when = (
                (began + timedelta(minutes=number)).isoformat(timespec="microseconds").replace("+00:00", "Z")
            )
            name, record = f"team{number % 7}/data{number % 50}", chance.randbytes(32).hex()
            key = f"mlflow:{chance.randbytes(16).hex()}"
            db.execute("INSERT OR IGNORE INTO datasets VALUES (?)", [name])
            db.execute(
                """INSERT INTO versions (id, record, dataset, label, created, author, message, files, size)
                VALUES (?,?,?,?,?,'ana','',100,1000000)""",
                [version_number(record), record, name, f"1.0.{number}", when],
            )
            db.execute(
                "INSERT INTO runs (id, key, name, started, ended, outcome, user) VALUES (?,?,?,?,?,?,'ana')",
                [run_number(key), key, f"train {number}", when, when, "finished"],
            )
            _add_link(db, key, "output", (name, record), when)
            for source in chance.sample(made[-400:], min(2, len(made))):
                _add_link(db, key, "input", source, when)
            if made:
                parent = version_number(chance.choice(made[-400:])[1])
                db.execute("INSERT INTO parents VALUES (?,0,?)", [version_number(record), parent])
            made.append((name, record))


def _add_link(db: sqlite3.Connection, key: str, role: str, version: tuple[str, str], when: str) -> None:
    name, record = version
    link = Link(
        role=role, dataset=name, tree=record, record=record, time=datetime.fromisoformat(when), how="fetch"
    )
    db.execute(
        """INSERT INTO links (id, run, role, version, named, dataset, tree, subset, files, size, time, how)
        VALUES (?,?,?,?,?,?,?,'{}',100,1000000,?,'fetch')""",
        [link_id(key, link), run_number(key), role, *[version_number(record)] * 2, name, record, when],
    )


BUDGETS: dict[str, Callable[[Browser, Path, int], Iterator[Row]]] = {
    "datasets": datasets,
    "names": names,
    "table": table,
    "lineage": lineage,
}
"""The measurements by name."""


def _fill(folder: Path, fill: Callable[[dataver.Repository, Path], object]) -> None:
    """Make a repository with a cache and state of its own, and fill it."""
    os.environ.update(
        DATAVER_CACHE=str(folder / "cache"), DATAVER_STATE=str(folder / "state"), DATAVER_LINEAGE="off"
    )
    fill(dataver.init(folder / "repo"), folder)


@contextmanager
def _serving(folder: Path) -> Iterator[str]:
    """Serve a repository with a new process; yield its URL."""
    own = {"DATAVER_CACHE": str(folder / "cache"), "DATAVER_STATE": str(folder / "state")}
    with subprocess.Popen(
        [sys.executable, "-c", _SERVE, str(folder / "repo")],
        env=os.environ | own, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


def _painted(page: Page) -> float:
    """Return the milliseconds from the request to the first drawing with content."""
    while (found := page.evaluate(_PAINTED)) is None:
        page.wait_for_timeout(20)
    return float(found)


@contextmanager
def _page(browser: Browser, url: str, **how: Any) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 850}, **how)
    page = context.new_page()
    page.goto(url)
    yield page
    context.close()


def main() -> None:
    """Measure, print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", choices=BUDGETS, action="append")
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not program:
        sys.exit("Chromium is missing: apt-get install chromium")
    print("| measured | median | range | unit | budget |\n|---|---|---|---|---|")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        for name in given.only or BUDGETS:
            for row in BUDGETS[name](browser, Path(folder), given.runs):
                span = f"{min(row.values):,.0f} to {max(row.values):,.0f}"
                median = f"{statistics.median(row.values):,.0f}"
                print(f"| {row.what} | {median} | {span} | {row.unit} | {row.budget} |", flush=True)
        browser.close()


if __name__ == "__main__":
    main()
