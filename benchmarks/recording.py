"""What recording adds: to the first warm fetch of a process, to later ones, to a small read, and to a loader.

    python -m benchmarks.recording [--runs 15] [--mlflow]

Each run is a new process, with lineage on and off in turn; the table gives the median and the least. The
first fetch is counted in CPU time of the calling thread, which waits for that part; the rest happens on a
daemon thread. Later fetches and reads are counted in wall time. With `--mlflow`, an MLflow run is active, and
each read determines it (in an environment with the package).

The loader reads whole files of 60 to 160 kB of a fetched version, as `FileStream` does, and only counts
their bytes. Its passes with and without lineage alternate in one process: once over files that are new to the
process, then again and again; the table gives medians of all processes.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import dataver

_IMAGES = 300
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
read = (time.thread_time() - began) / 200

import os
from dataver.reading.prefetch import contents
mode, sets, names, passes = os.environ["DATAVER_LINEAGE"], {}, [], {"off": [], "on": []}
for each in passes:
    os.environ["DATAVER_LINEAGE"] = each
    sets[each] = repo.files("images")
    names = names or [info.path for info in sets[each].walk()]
    sets[each].read(names[0])
for number in range(20):
    for each in ("off", "on") if (number % 2 == 1) == (mode == "on") else ("on", "off"):
        began = time.thread_time()
        for path, data in contents(sets[each], [names]):
            len(data)
        passes[each].append((time.thread_time() - began) / len(names))
print(first, later, read, passes[mode][0], sorted(passes[mode][1:])[10])
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
    code = (_MLFLOW if args.mlflow else "") + _CODE
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
        times: dict[str, list[tuple[float, ...]]] = {"off": [], "on": []}
        for number in range(args.runs + 1):
            for mode, found in times.items():
                done = subprocess.run(
                    [sys.executable, "-c", code],
                    env=environment | {"DATAVER_LINEAGE": mode},
                    cwd=root,
                    check=True,
                    capture_output=True,
                    text=True,
                )
                if number:  # the first of each fills the cache
                    found.append(tuple(1000 * float(word) for word in done.stdout.split()))
    print("| what | off: median (least), ms | on: median (least), ms | more: median (least), ms |")
    print("|---|---|---|---|")
    rows = ("first fetch", "later fetch", "read of 1 kB", "loader, a new file", "loader, a file again")
    for column, name in enumerate(rows):
        off, on = ([row[column] for row in times[mode]] for mode in ("off", "on"))
        pairs = [(statistics.median(each), min(each)) for each in (off, on)]
        pairs.append((pairs[1][0] - pairs[0][0], pairs[1][1] - pairs[0][1]))
        print(f"| {name} | " + " | ".join(f"{middle:.4f} ({least:.4f})" for middle, least in pairs) + " |")


if __name__ == "__main__":
    main()
