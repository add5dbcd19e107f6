"""Budgets of the pages, measured in headless Chromium beside a server on this machine.

    python -m benchmarks.ui [--only lineage] [--runs 5]

Needs Playwright and Chromium, or the one that CHROMIUM names. Each budget is a function that returns rows:
what was measured, its value with the unit, and the budget. Add one to `BUDGETS`.
"""

import argparse
import os
import random
import shutil
import sqlite3
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from playwright.sync_api import Browser, Page, sync_playwright

import dataver
from dataver.formats.event import Link, link_id
from dataver.lineage.index.event_rows import run_number, version_number
from dataver.serving import Server, serve

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


class Row(NamedTuple):
    """One measurement; of several runs the median is given."""

    what: str
    values: list[float]
    unit: str
    budget: str


def lineage(browser: Browser, folder: Path, runs: int) -> Iterator[Row]:
    """The whole lineage of 10,000 nodes and 20,000 edges: its first drawing, and panning."""
    with _serving(folder / "lineage", _fill_lineage) as server:
        first, drawn, whole, near = [], [], [], []
        for number in range(runs):
            with _page(
                browser, f"{server.url}/-/lineage?all=1&hops={number + 3}"
            ) as page:  # not in its memory
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


def _fill_lineage(repository: dataver.Repository) -> None:
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


BUDGETS: dict[str, Callable[[Browser, Path, int], Iterator[Row]]] = {"lineage": lineage}
"""The measurements by name."""


@contextmanager
def _serving(folder: Path, fill: Callable[[dataver.Repository], object]) -> Iterator[Server]:
    """Serve a new repository that a function fills, with a cache and state of its own."""
    os.environ.update(DATAVER_CACHE=str(folder / "cache"), DATAVER_STATE=str(folder / "state"))
    repository = dataver.init(folder / "repo")
    fill(repository)
    with serve(repository, port=0) as server:
        yield server


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
