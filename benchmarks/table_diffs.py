"""Memory and time of the difference of two large tables.

    python -m benchmarks.table_diffs [--rows 10000000] [--memory 1024]

Makes tables of six columns with DuckDB, and compares each pair in a process of its own. The counts must be
those of the changes that were made. Prints a Markdown table; `peak` is the largest resident memory of the
process, and `disk` the largest size of its temporary files.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import duckdb

from dataver.diffs import File, TableDiff, compare_tables

TABLE = """
    SELECT i * 7919 % {rows} AS id, 'user-' || (i * 7919 % {rows})::VARCHAR || '@example.org' AS email,
        'customer ' || (hash(i) % 1000000)::VARCHAR AS customer, (hash(i + 1) % 100000) / 100 AS price,
        (hash(i + 2) % 50)::INTEGER AS quantity,
        TIMESTAMP '2024-01-01' + to_seconds((hash(i + 3) % 31536000)::BIGINT) AS "time"
    FROM range({rows}) t(i)
"""
CHANGED = """
    SELECT * REPLACE (CASE WHEN id % 1000 = 0 THEN price + 1 ELSE price END AS price) FROM ({table})
    WHERE id % 10000 <> 7
    UNION ALL SELECT {rows} + i, 'new-' || i::VARCHAR, 'new', 1.5, 1, TIMESTAMP '2025-01-01'
    FROM range({rows} // 5000) t(i)
"""
EVERY = "SELECT * REPLACE (price + 1 AS price) FROM ({table})"
REPEATED = "SELECT * REPLACE (id // 2 AS id) FROM ({table})"


def cases(rows: int) -> dict[str, tuple[str, str, str | None, dict[str, int]]]:
    """Return the old file, the new file, the key, and the expected numbers of rows of each case."""
    few = {"changed": rows // 1000, "added": rows // 5000, "removed": rows // 10000}
    whole = {"changed": 0, "added": few["changed"] + few["added"], "removed": few["changed"] + few["removed"]}
    return {
        "Parquet, key found": ("old.parquet", "new.parquet", None, few),
        "Parquet, text key": ("old.parquet", "new.parquet", "email", few),
        "Parquet, two columns as key": ("old.parquet", "new.parquet", "id,email", few),
        "Parquet, whole rows": ("old.parquet", "new.parquet", "", whole),
        "Parquet, text key, every row changed": (
            "old.parquet", "every.parquet", "email", {"changed": rows, "added": 0, "removed": 0},
        ),
        "Parquet, every key twice": (
            "twice.parquet", "twice-every.parquet", "id", {"changed": 0, "added": rows, "removed": rows},
        ),
        "CSV, key found": ("old.csv", "new.csv", None, few),
    }  # fmt: skip


def make(folder: Path, rows: int) -> None:
    """Write the tables."""
    table = TABLE.format(rows=rows)
    queries = {
        "old": table,
        "new": CHANGED.format(table=table, rows=rows),
        "every": EVERY.format(table=table),
        "twice": REPEATED.format(table=table),
        "twice-every": EVERY.format(table=REPEATED.format(table=table)),
    }
    with duckdb.connect(config={"temp_directory": str(folder), "preserve_insertion_order": False}) as db:
        for name, query in queries.items():
            db.execute(f"COPY ({query}) TO '{folder / name}.parquet'")
        for name in ("old", "new"):
            db.execute(f"COPY (FROM '{folder / name}.parquet') TO '{folder / name}.csv'")


def compare(old: Path, new: Path, key: str | None, memory: int) -> None:
    """Compare two tables; print the counts, seconds and bytes as JSON."""
    files = [File(each.name, "d@1.0.0", each.stat().st_size, each.absolute) for each in (old, new)]
    columns = None if key is None else [name for name in key.split(",") if name]
    done, largest = threading.Event(), 0

    def watch() -> None:
        nonlocal largest
        while not done.wait(0.2):
            largest = max(largest, size_of(Path(os.environ["DATAVER_CACHE"])))

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    found = compare_tables(files[0], files[1], columns, memory=memory)
    assert isinstance(found, TableDiff)
    with found:
        compared = time.perf_counter() - began
        sample = found.values(10)
        seconds = time.perf_counter() - began
    done.set()
    watcher.join()
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({
        "rows": sample["rows"], "cells": sample["cells"], "seconds": compared, "with drift": seconds,
        "cpu": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss * 1024, "disk": largest,
    }))  # fmt: skip


def size_of(folder: Path) -> int:
    """Return the size of the files below a folder, some of which may disappear meanwhile."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(parent) / name).stat().st_size
            except FileNotFoundError:
                continue
    return total


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of each table")
    parser.add_argument("--memory", type=int, default=1024, metavar="MIB", help="limit of DuckDB")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        old, new, key = json.loads(options.one)
        compare(Path(old), Path(new), key, options.memory << 20)
        return 0
    print("| tables | s | s with drift | CPU s | peak MB | disk MB |\n|---|---|---|---|---|---|")
    failed = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, options.rows)
        for title, (old, new, key, expected) in cases(options.rows).items():
            wanted = json.dumps([str(folder / old), str(folder / new), key])
            command = [
                sys.executable,
                "-m",
                "benchmarks.table_diffs",
                "--memory",
                str(options.memory),
                "--one",
                wanted,
            ]
            environment = {**os.environ, "DATAVER_CACHE": str(folder / "cache")}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                failed = True
                print(f"| {title} | failed: {done.stderr.splitlines()[-1]} | | | | |", flush=True)
                continue
            found = json.loads(done.stdout)
            wrong = {kind: found["rows"][kind] for kind in expected if found["rows"][kind] != expected[kind]}
            failed = failed or bool(wrong)
            shown = f"{title} WRONG: {wrong}" if wrong else title
            times = " | ".join(f"{found[name]:.1f}" for name in ("seconds", "with drift", "cpu"))
            sizes = " | ".join(f"{found[name] / 1e6:,.0f}" for name in ("peak", "disk"))
            print(f"| {shown} | {times} | {sizes} |", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
