"""How fast a history comes over: `python -m benchmarks.importing`, a DVC cache beside `add` of its files.

A folder with the data set, and a git repository whose DVC cache has the same files, are made first. DVC is
not needed: its layout is written by hand. Then rounds of these, each into a new repository with an empty
cache, in turn:

- add: a version of the folder, added, sealed and uploaded
- import: `import_versions` of the DVC repository, which also verifies each object by its MD5
- in place: the same with `in_place`, of many small files
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import dataver
from benchmarks.machine import machine_facts
from dataver.importers import import_versions
from dataver.importers.dvc import DvcSource


def main() -> int:
    """Measure, and print a JSON line for each measurement and the medians."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.importing", description=main.__doc__)
    parser.add_argument("--files", type=int, default=4_000, help="files whose bytes are stored")
    parser.add_argument("--size", type=int, default=64, help="KiB of one of them; it does not compress")
    parser.add_argument("--small", type=int, default=100_000, help="files that are left in place")
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    os.environ["DATAVER_LINEAGE"] = "off"
    print(json.dumps({"machine": str(machine_facts(Path(tempfile.gettempdir())))}))
    with tempfile.TemporaryDirectory(prefix="bench-import-") as work:
        root = Path(work)
        os.environ |= {"DATAVER_CACHE": f"{work}/cache", "DATAVER_STATE": f"{work}/state"}
        large, small = root / "large", root / "small"
        _make(large, args.files, args.size << 10)
        _make(small, args.small, 200)
        jobs = {
            "add": lambda: _add(root, large / "data"),
            "import": lambda: _import(root, large, in_place=False),
            "add small": lambda: _add(root, small / "data"),
            "import small": lambda: _import(root, small, in_place=False),
            "in place": lambda: _import(root, small, in_place=True),
        }
        seconds: dict[str, list[float]] = {name: [] for name in jobs}
        for _ in range(args.runs):
            for name, job in jobs.items():
                load = round(os.getloadavg()[0], 1)
                began, cpu = time.perf_counter(), time.process_time()
                job()
                wall = time.perf_counter() - began
                seconds[name].append(wall)
                used = round(time.process_time() - cpu, 2)
                print(
                    json.dumps({"job": name, "wall_s": round(wall, 2), "cpu_s": used, "load": load}),
                    flush=True,
                )
    medians = {name: round(statistics.median(each), 2) for name, each in seconds.items()}
    print(json.dumps({"medians": medians, "rate of import": round(medians["add"] / medians["import"], 2)}))
    return 0


def _make(root: Path, files: int, size: int) -> None:
    """Write a folder, and a DVC repository with the same files in its cache."""
    rows, chance = [], random.Random(7)
    cache = root / "repository" / ".dvc" / "cache" / "files" / "md5"
    for number in range(files):
        data, name = chance.randbytes(size), f"{number // 1000:03d}/{number:06d}.bin"
        md5 = hashlib.md5(data).hexdigest()
        path = root / "data" / name
        for each in (path, cache / md5[:2] / md5[2:]):
            each.parent.mkdir(parents=True, exist_ok=True)
            each.write_bytes(data)
        rows.append({"md5": md5, "relpath": name})
    listing = json.dumps(rows).encode()
    md5 = hashlib.md5(listing).hexdigest() + ".dir"
    (cache / md5[:2]).mkdir(exist_ok=True)
    (cache / md5[:2] / md5[2:]).write_bytes(listing)
    repository = root / "repository"
    (repository / "data.dvc").write_text(f"outs:\n- md5: {md5}\n  hash: md5\n  path: data\n", "utf-8")
    who = ["-c", "user.name=b", "-c", "user.email=b@b"]
    for words in (["init", "-q"], ["add", "data.dvc"], [*who, "commit", "-qm", "data"]):
        subprocess.run(["git", *words], check=True, cwd=repository)


def _add(root: Path, folder: Path) -> None:
    with _Fresh(root) as repo:
        draft = repo.create("data")
        draft.add(folder, dest="data")
        draft.finalize("data")
        draft.upload()


def _import(root: Path, made: Path, *, in_place: bool) -> None:
    with _Fresh(root) as repo:
        report = import_versions(repo, DvcSource(str(made / "repository")), in_place=in_place)
        assert len(report.versions) == 1
        assert report.problems == []


class _Fresh:
    """A new repository, removed afterwards with the cache."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __enter__(self) -> dataver.Repository:
        os.chdir(self.root)
        return dataver.init(self.root / "store")

    def __exit__(self, *_: object) -> None:
        for name in ("store", "cache", "state", ".dataver"):
            shutil.rmtree(self.root / name, ignore_errors=True)


if __name__ == "__main__":
    raise SystemExit(main())
