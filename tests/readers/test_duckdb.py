"""DuckDB 2 on `dataver://`: its threads seek and read one open file without a lock.

Local files through fsspec fail this test; DATAVER_TEST_DUCKDB says in how many processes it runs.
"""

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

import dataver

_QUERIES = """
import sys, threading, duckdb, fsspec

failed = []

def ask(cursor):
    for _ in range(2):
        try:
            (found,) = cursor.sql(
                "select count(*), sum(key), count(distinct name)"
                " from read_parquet('dataver://many@1.0.0/many.parquet')"
            ).fetchall()
        except duckdb.Error as error:
            found = error
        if found != (300_000, 44_999_850_000, 300_000):
            failed.append(found)

with duckdb.connect(config={"threads": 4}) as database:
    database.register_filesystem(fsspec.filesystem("dataver"))
    threads = [threading.Thread(target=ask, args=(database.cursor(),)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
sys.exit(f"{failed[:3]}" if failed else 0)
"""


@pytest.mark.parametrize("fetched", [False, True])
def test_twenty_threads_query_one_file(machine: Path, repo: dataver.Repository, fetched: bool) -> None:
    """In fresh processes, all get the right sums; thirty processes are the long form."""
    folder = machine / "folder"
    folder.mkdir()
    duckdb.sql(
        "copy (select range as key, hash(range) as value, 'row ' || range as name from range(300_000))"
        f" to '{folder / 'many.parquet'}' (row_group_size 5000)"
    )
    repo.sync(folder, "many", workspace=machine / "work")
    if fetched:
        dataver.fetch("many@1.0.0")
    for _ in range(int(os.environ.get("DATAVER_TEST_DUCKDB", "3"))):
        command = [sys.executable, "-c", _QUERIES]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
