"""What recording adds: to the first warm fetch of a process, to later ones, to a small read, and to a loader.

    python -m benchmarks.recording [--runs 15] [--mlflow]

Each run is a new process, with lineage on and off in turn; the table gives the median and the least. All is
counted in CPU time of the calling thread, which waits for that part of a fetch; the rest happens on a daemon
thread. With `--mlflow`, an MLflow run is active, and each read determines it (in an environment with the
package).

The loader reads whole files of 60 to 160 kB of a fetched version, as `FileStream` does, and only counts their
bytes. Passes with and without lineage alternate in one process: each over files that are new to its run, then
over the same files again; what recording adds is the median of the differences of adjacent passes. "All
threads" is the CPU time of the process, including that of making links of the files.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import dataver

_IMAGES = 1_000
_CODE = """
import time
import dataver
repo = dataver.open()
began = time.thread_time()
repo.fetch("cats")
first = time.thread_time() - began
repo.fetch("cats")
time.sleep(1)  # the daemon thread has noted the machine and the code
began = time.thread_time()
for _ in range(20):
    repo.fetch("cats")
later = (time.thread_time() - began) / 20
files = repo.files("cats")
files.read("0.bin")
began = time.thread_time()
for _ in range(200):
    files.read("0.bin")
print(first, later, (time.thread_time() - began) / 200)
"""


_LOADER = """
import os, time
import dataver
from dataver.lineage.attribution.state import STATE
from dataver.reading.samples import SampleSource, contents
from dataver.reading.sharding import Plan
repo, sets = dataver.open(), {}
modes = [os.environ["DATAVER_LINEAGE"], "on" if os.environ["DATAVER_LINEAGE"] == "off" else "off"]
for mode in modes:
    os.environ["DATAVER_LINEAGE"] = mode
    files = repo.files("images")
    sets[mode] = SampleSource(repo._core, files, None, None, None, None, exclude=(), opened=False)
plan = Plan(sets["on"].listing, shuffle=True)
for number in range(12):
    times = {}
    for mode in modes if number % 2 else modes[::-1]:
        os.environ["DATAVER_LINEAGE"] = mode
        with dataver.run(key=f"b:{mode}-{number}"):
            source = sets[mode]
            source.files.read(source.listing[0])  # the run and the version are known from here on
            for what in ("new", "again"):
                began, every = time.thread_time(), time.process_time()
                groups = map(source.named, plan.turn(number).groups())
                for path, data in contents(source.files, groups):
                    len(data)
                times[what, mode] = (time.thread_time() - began) / len(source.listing)
                if what == "new":
                    if mode == "on":
                        STATE.recorder.notes.gather()
                    times["all", mode] = (time.process_time() - every) / len(source.listing)
    if number:
        print(*[times[what, mode] for what in ("new", "all", "again") for mode in ("off", "on")])
"""


_MLFLOW = """
import mlflow
mlflow.set_tracking_uri("sqlite:///mlflow.db")
mlflow.start_run()
"""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recording", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--mlflow", action="store_true", help="with a run of MLflow")
    args = parser.parse_args()
    start = _MLFLOW if args.mlflow else ""
    with tempfile.TemporaryDirectory() as root:
        environment = os.environ | {
            f"DATAVER_{name}": f"{root}/{name}" for name in ("REPO", "CACHE", "STATE")
        }
        data = Path(root, "cats")
        data.mkdir()
        for number in range(6):
            (data / f"{number}.bin").write_bytes(os.urandom(1000))
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        images = Path(root, "images")
        images.mkdir()
        noise = random.Random(1)
        for number in range(_IMAGES):
            (images / f"{number:04}.jpg").write_bytes(noise.randbytes(noise.randrange(60_000, 160_000)))
        os.environ |= environment | {"DATAVER_LINEAGE": "off"}
        repo = dataver.init(environment["DATAVER_REPO"])
        repo.sync(data, "cats", workspace=root)
        repo.sync(images, "images", workspace=root)
        repo.fetch("images")
        times: dict[str, list[list[list[float]]]] = {"off": [], "on": []}
        passes: list[list[list[float]]] = []
        for number in range(args.runs + 1):
            for mode, found in times.items():
                played = [_play(start + each, root, environment, mode) for each in (_CODE, _LOADER)]
                if number:  # the first of each fills the cache
                    found.append(played[0])
                    passes.append(played[1])
    print("| what | off: median (least), ms | on: median (least), ms | more: median |")
    print("|---|---|---|---|")
    for column, name in enumerate(("first fetch", "later fetch", "read of 1 kB")):
        off, on = ([row[0][column] for row in times[mode]] for mode in ("off", "on"))
        _print(name, off, on, statistics.median(on) - statistics.median(off))
    for at, name in enumerate(("a new file", "a new file, all threads", "a file again")):
        pairs = [row[2 * at : 2 * at + 2] for each in passes for row in each]
        more = statistics.median(on - off for off, on in pairs)
        _print(f"loader, {name}", [off for off, _ in pairs], [on for _, on in pairs], more)


def _play(code: str, root: str, environment: Mapping[str, str], mode: str) -> list[list[float]]:
    """Return the numbers that a process prints, in ms, by line."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "DATAVER_LINEAGE": mode},
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    )
    return [[1000 * float(word) for word in line.split()] for line in done.stdout.splitlines()]


def _print(name: str, off: list[float], on: list[float], more: float) -> None:
    columns = [f"{statistics.median(each):.4f} ({min(each):.4f})" for each in (off, on)]
    share = f"{100 * more / statistics.median(off):.1f} %"
    print(f"| {name} | {' | '.join(columns)} | {more:.4f}, {share} |")


if __name__ == "__main__":
    main()
