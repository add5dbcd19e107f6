"""What a second worker gains on an engine: one and two workers in turn, the engine's start-up apart.

    python -m benchmarks.engines dask|ray|spark [--runs 3] [--scale 1]

Runs in the engine's environment (`make engines`). Dask and Ray add the images; Spark writes a table of random
numbers as Parquet. The engine has as many cores as workers, and has done such tasks before. Prints a row of a
Markdown table: the seconds of a job (fork, tasks, join) with one worker and with two, medians, and the ratio.
"""

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import dataver
from benchmarks.cluster import place
from benchmarks.data import make

TASKS = 8
ROWS = 6_000_000

Job = Callable[[dataver.Draft, bool], object]
"""Adds to a draft; a little only, if the flag says so."""


@contextmanager
def dask(workers: int, source: Path) -> Iterator[Job]:
    """A cluster of processes with one thread each."""
    from distributed import Client, LocalCluster

    from dataver.integrations.dask import add_files

    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster),
    ):
        yield lambda draft, little: add_files(draft, *(some(source) if little else [source]), tasks=TASKS)


@contextmanager
def ray(workers: int, source: Path) -> Iterator[Job]:
    """A local cluster with as many tasks at a time."""
    import ray as engine

    from dataver.integrations.ray import add_files

    engine.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)
    try:
        yield lambda draft, little: add_files(draft, *(some(source) if little else [source]), tasks=TASKS)
    finally:
        engine.shutdown()


@contextmanager
def spark(workers: int, _: Path) -> Iterator[Job]:
    """A local session with as many tasks at a time."""
    from pyspark.sql import SparkSession, functions

    from dataver.integrations.spark import DataverSource

    os.environ["PYSPARK_PYTHON"] = sys.executable
    session = (
        SparkSession.builder.master(f"local[{workers}]").config("spark.ui.enabled", "false").getOrCreate()
    )
    session.dataSource.register(DataverSource)

    def write(draft: dataver.Draft, little: bool) -> None:
        numbers = session.range(0, 1000 if little else ROWS, 1, TASKS)
        frame = numbers.select("id", *(functions.rand(seed).alias(f"x{seed}") for seed in range(6)))
        repo = os.environ["DATAVER_REPO"]
        frame.write.format("dataver").mode("append").option("repo", repo).save(draft.dataset)

    try:
        yield write
    finally:
        session.stop()


def some(source: Path) -> list[Path]:
    """Return one file for each task."""
    return [path for path in sorted(source.rglob("*")) if path.is_file()][:TASKS]


def measure(engine: str, workers: int, source: Path, folder: Path) -> float:
    """Return the seconds of a job, in a process of its own: the engine keeps its cores."""
    os.sched_setaffinity(0, range(workers))
    with place(folder) as home:
        repo = dataver.init(home / "repo")
        with globals()[engine](workers, source) as job:
            job(repo.create("little", workspace=home), True)
            draft = repo.create("d", workspace=home)
            began = time.perf_counter()
            job(draft, False)
            return time.perf_counter() - began


def main() -> None:
    """Measure, and print the row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=["dask", "ray", "spark"])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "dataver-benchmarks")
    args = parser.parse_args()
    source = make("images", args.folder / "sets", args.scale)[0]
    times: dict[int, list[float]] = {1: [], 2: []}
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as fresh:
        for _ in range(args.runs):
            for workers, found in times.items():
                found.append(fresh.submit(measure, args.engine, workers, source, args.folder).result())
    one, two = (statistics.median(found) for found in times.values())
    print(f"| {args.engine} | {one:.2f} | {two:.2f} | {one / two:.2f} |")


if __name__ == "__main__":
    main()
