"""Reading a version through `dataver mount` and `dataver serve`, beside reading the same files from the disk.

    python -m benchmarks.mounted --size 1000 --runs 3 --out benchmarks/results/NAME.md

Every figure is of the first read: before it, the kernel is told to drop the pages of the file and of all
files that it comes from, so both sides read from the disk. The rows that say "again" are of a second read,
those that say "sources in memory" of a first one whose bytes need not come from the disk. A version is read
from a repository in a folder, and after this machine fetched it. Needs Linux with FUSE, and curl.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import dataver
from benchmarks.machine import machine_facts

_SMALL = 2000
_BLOCK = 1 << 20
_RANDOM = 2000  # reads of 4 KiB
_CLIENTS = 8


def make(folder: Path, megabytes: int) -> None:
    """Write a file of noise, a table that compresses, and small files."""
    chance = random.Random(1)
    with (folder / "noise.bin").open("wb") as file:
        for _ in range(megabytes):
            file.write(chance.randbytes(1_000_000))
    with (folder / "table.csv").open("w") as file:
        number = 0
        while file.tell() < megabytes * 250_000:
            file.writelines(
                f"{n},{chance.random():.9f},{n % 97},cat-{n % 7}\n" for n in range(number, number + 10_000)
            )
            number += 10_000
    (folder / "small").mkdir()
    for number in range(_SMALL):
        (folder / "small" / f"{number:04}.jpg").write_bytes(
            chance.randbytes(chance.randrange(20_000, 120_000))
        )


def drop(*folders: Path) -> None:
    """Have the kernel forget the pages of all files in folders."""
    for folder in folders:
        for at, _, names in os.walk(folder):
            for name in names:
                file = os.open(Path(at, name), os.O_RDONLY)
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(file)


def in_order(path: Path) -> int:
    buffer = memoryview(bytearray(_BLOCK))
    total = 0
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            total += count
    return total


def at_random(path: Path) -> int:
    chance, size = random.Random(2), path.stat().st_size
    file = os.open(path, os.O_RDONLY)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
    total = sum(len(os.pread(file, 4096, chance.randrange(size - 4096))) for _ in range(_RANDOM))
    os.close(file)
    return total


def all_small(folder: Path) -> int:
    return sum(len(path.read_bytes()) for path in sorted((folder / "small").iterdir()))


def warm(*folders: Path) -> None:
    """Have the kernel remember all files in folders."""
    for folder in folders:
        for at, _, names in os.walk(folder):
            for name in names:
                in_order(Path(at, name))


def ranges_by_http(port: int, path: str, size: int, clients: int) -> int:
    """Read ranges of 4 KiB at random, shared by clients that keep their connections."""

    def client(number: int) -> int:
        chance, total = random.Random(number), 0
        connection = HTTPConnection("127.0.0.1", port)
        for _ in range(_RANDOM // clients):
            start = chance.randrange(size - 4096)
            connection.request("GET", path, headers={"Range": f"bytes={start}-{start + 4095}"})
            total += len(connection.getresponse().read())
        connection.close()
        return total

    with ThreadPoolExecutor(clients) as pool:
        return sum(pool.map(client, range(clients)))


def by_http(url: str) -> int:
    done = subprocess.run(
        ["curl", "-sSf", "-o", "/dev/null", "-w", "%{size_download}", url],
        check=True,
        capture_output=True,
        text=True,
    )
    return int(done.stdout)


def small_by_http(port: int, path: str) -> int:
    """Read all small files on one connection."""
    connection, total = HTTPConnection("127.0.0.1", port), 0
    for number in range(_SMALL):
        connection.request("GET", f"{path}small/{number:04}.jpg")
        total += len(connection.getresponse().read())
    connection.close()
    return total


@contextmanager
def running(repository: Path, cache: Path, *words: str) -> Iterator[dict[str, Any]]:
    """Run `dataver mount` or `dataver serve` until the block ends; gives what it says when it is ready."""
    environment = {**os.environ, "DATAVER_REPO": str(repository), "DATAVER_CACHE": str(cache)}
    process = subprocess.Popen(
        [sys.executable, "-m", "dataver_cli", *words, "--json"],
        stdout=subprocess.PIPE,
        text=True,
        env={**environment, "DATAVER_LINEAGE": "off"},
    )
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(60)


class Table:
    """Seconds by row and column."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, list[float]]] = {}
        self.sizes: dict[str, int] = {}

    def time(self, row: str, column: str, read: Callable[[], int]) -> None:
        began = time.perf_counter()
        self.sizes[column] = read()
        self.found.setdefault(row, {}).setdefault(column, []).append(time.perf_counter() - began)

    def lines(self) -> Iterator[str]:
        columns = list(self.sizes)
        yield "| |" + "".join(f" {column} |" for column in columns)
        yield "|---|" + "---|" * len(columns)
        for row, cells in self.found.items():
            shown = [self._cell(column, cells.get(column)) for column in columns]
            yield f"| {row} |" + "".join(f" {cell} |" for cell in shown)

    def ratio(self, row: str, beside: str, column: str) -> float:
        """Return how much quicker a row is than another."""
        return statistics.median(self.found[beside][column]) / statistics.median(self.found[row][column])

    def _cell(self, column: str, seconds: list[float] | None) -> str:
        if not seconds:
            return ""
        middle = statistics.median(seconds)
        if column.startswith("4 KiB"):
            return f"{middle / _RANDOM * 1e6:,.0f} µs"  # a read
        return f"{self.sizes[column] / middle / 1e6:,.0f} MB/s"


def files(table: Table, row: str, folder: Path, *below: Path) -> None:
    """Measure what a folder gives, whose bytes come from files in the folders `below`."""
    for name in ("noise.bin", "table.csv"):
        read = partial(in_order, folder / name)
        drop(folder, *below)
        table.time(row, f"{name} in order", read)
        table.time(f"{row}, again", f"{name} in order", read)
        if below:
            drop(folder)
            warm(*below)
            table.time(f"{row}, sources in memory", f"{name} in order", read)
    drop(folder, *below)
    table.time(row, "4 KiB at random", partial(at_random, folder / "noise.bin"))
    drop(folder, *below)
    table.time(row, f"{_SMALL} small files", partial(all_small, folder))
    table.time(f"{row}, again", f"{_SMALL} small files", partial(all_small, folder))


def served(table: Table, row: str, told: dict[str, Any], size: int, *below: Path) -> None:
    """Measure what a server gives."""
    path = "/bench@1.0.0/"
    for name in ("noise.bin", "table.csv"):
        read = partial(by_http, f"{told['url']}{path}{name}")
        drop(*below)
        table.time(row, f"{name} in order", read)
        warm(*below)
        table.time(f"{row}, sources in memory", f"{name} in order", read)
    small = partial(small_by_http, told["port"], path)
    table.time(f"{row}, sources in memory", f"{_SMALL} small files", small)
    listing = partial(by_http, f"{told['url']}{path}small/?format=json")
    table.time(f"{row}, sources in memory", f"a listing of {_SMALL} files", listing)
    for clients, shown in ((1, "1 client"), (_CLIENTS, f"{_CLIENTS} clients")):
        ranges = partial(ranges_by_http, told["port"], f"{path}noise.bin", size, clients)
        table.time(f"{row}, sources in memory, {shown}", "4 KiB at random", ranges)


def measure(table: Table, root: Path, megabytes: int, runs: int) -> None:
    """Make the data, and read it in all ways, `runs` times."""
    source, mounted = root / "source", root / "mnt"
    source.mkdir()
    mounted.mkdir()
    make(source, megabytes)
    os.environ |= {"DATAVER_CACHE": str(root / "cache"), "DATAVER_LINEAGE": "off"}
    repository = dataver.init(root / "repo")
    repository.sync(source, "bench", workspace=root / "work")
    os.sync()
    for number in range(runs):
        files(table, "disk", source)
        for where, cache in (("repository", root / "empty"), ("fetched", root / "cache")):
            shutil.rmtree(root / "empty", ignore_errors=True)
            below = (root / "repo" / "packs",) if where == "repository" else (cache,)
            if where == "fetched" and not number:
                repository.fetch("bench")
                os.sync()
            with running(root / "repo", cache, "mount", "bench", str(mounted)):
                files(table, f"mount, {where}", mounted, *below)
            with running(root / "repo", cache, "serve", "--port", "0") as told:
                served(table, f"HTTP, {where}", told, megabytes * 1_000_000, *below)


def report(table: Table, root: Path, megabytes: int, runs: int) -> Iterator[str]:
    """Yield the lines of the report."""
    facts = machine_facts(root)
    yield "# Reading through a mount and over HTTP"
    yield ""
    yield f"`python -m benchmarks.mounted --size {megabytes} --runs {runs}`: a file of {megabytes} MB of"
    yield f"noise, a table of {megabytes // 4} MB that compresses, {_SMALL} files of 20 to 120 kB;"
    yield f"{facts['cpus']} cores ({facts['cpu']}), {facts['filesystem']}, {facts['system']}."
    yield f"Medians of {runs} runs; the clients of the server run on the same machine."
    yield "Reads at random are microseconds for each of them."
    yield ""
    yield from table.lines()
    yield ""
    yield "Reading in order through the mount, as a multiple of the local disk:"
    yield ""
    for where in ("repository", "fetched"):
        shown = []
        for name in ("noise.bin", "table.csv"):
            first = table.ratio(f"mount, {where}", "disk", f"{name} in order")
            again = table.ratio(f"mount, {where}, again", "disk, again", f"{name} in order")
            shown.append(f"{name} {first:.2f}, again {again:.2f}")
        yield f"- {where}: {'; '.join(shown)}"


def main() -> int:
    """Measure, and print or write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--size", type=int, default=1000, help="MB of the file of noise; the table has a quarter"
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where data is made; the default is a temporary folder")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="mounted-", dir=given.folder))
    table = Table()
    try:
        measure(table, root, given.size, given.runs)
        text = "\n".join(report(table, root, given.size, given.runs)) + "\n"
    finally:
        subprocess.run(["chmod", "-R", "u+w", root], check=False)
        shutil.rmtree(root, ignore_errors=True)
    sys.stdout.write(text)
    if given.out:
        given.out.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
