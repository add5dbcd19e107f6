"""Run the tutorial on real data: create versions, store them on several stores, and fetch them.

    python scripts/walk.py --store folder --store seaweedfs --store moto --store rclone

Creates three datasets on each store: ten consecutive releases of Django as ten versions of one dataset, and a
CSV and a Parquet data set edited three times. Every version is fetched into an empty folder with an empty
cache and compared with its source. Prints one Markdown row per dataset and store; `docs/tutorial.md` shows
them.

Needs the dependency group `test` (pip, a package index, pyarrow, and the servers that it starts).
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dataver

RELEASES = ["5.2", *(f"5.2.{number}" for number in range(1, 10))]
ROWS = 400_000


def releases(work: Path) -> list[Path]:
    """Return a folder with the contents of each release's wheel."""
    folders = []
    for release in RELEASES:
        folder = work / "django" / release
        if not folder.is_dir():
            command = [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                "--dest",
                str(work / "wheels"),
            ]
            subprocess.run([*command, f"django=={release}"], check=True, stderr=subprocess.DEVNULL)
            (wheel,) = (work / "wheels").glob(f"[dD]jango-{release}-py3*.whl")
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder)  # a wheel from the index, for reading only
        folders.append(folder)
    return folders


def tables(work: Path) -> list[Path]:
    """Return four versions of a CSV data set: made, then edited three times."""
    rng = random.Random(7)
    lines = [
        f"{row},user{rng.randrange(99999)},{rng.random():.6f},{rng.choice('abcdef')}" for row in range(ROWS)
    ]
    folders = []
    for version in range(4):
        folder = work / "csv" / str(version)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "table.csv").write_text("\n".join(["id,user,score,class", *lines]) + "\n")
        folders.append(folder)
        for _ in range(50):
            lines[rng.randrange(len(lines))] = f"edited,{version},{rng.random():.6f},z"
        lines.insert(rng.randrange(len(lines)), f"inserted,{version},0,z")
    return folders


def parquets(work: Path) -> list[Path]:
    """Return four versions of a Parquet data set: made, then rows appended three times."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = random.Random(8)
    columns: dict[str, list[Any]] = {"id": [], "score": [], "name": []}
    folders = []
    for version in range(4):
        for _ in range(ROWS if version == 0 else ROWS // 100):
            columns["id"].append(len(columns["id"]))
            columns["score"].append(rng.random())
            columns["name"].append(f"name {rng.randrange(5000)}")
        folder = work / "parquet" / str(version)
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), folder / "table.parquet", row_group_size=50_000)
        folders.append(folder)
    return folders


@contextmanager
def store(kind: str, work: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the URL and the storage options of a fresh place of that kind."""
    if kind == "folder":
        yield str(work / "repository"), {}
        return
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from servers import SERVERS

    folder = work / "server"
    folder.mkdir()
    with SERVERS[kind](folder) as server:
        yield server.url("walk"), server.options


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def walk(kind: str, name: str, folders: list[Path], repository: dataver.Repository, work: Path) -> str:
    """Make a version of each folder, fetch all of them, compare; return a row of the table."""
    began = time.perf_counter()
    for folder in folders:
        repository.sync(folder, name, message=folder.name, workspace=work)
    made = time.perf_counter() - began
    versions = repository.versions(name)
    shutil.rmtree(work / "cache", ignore_errors=True)
    fetched = 0.0
    for version, folder in zip(versions, folders, strict=True):
        target = work / "out" / str(version.label)
        began = time.perf_counter()
        repository.fetch(version.ref, dest=target)
        fetched += time.perf_counter() - began
        if contents(target) != contents(folder):
            raise SystemExit(f"{version.ref} from {kind} is not what went in")
        shutil.rmtree(target)
    raw = sum(version.size for version in versions)
    stored = sum(info.size for info in repository._core.store.list())
    return (
        f"| {kind} | {name} | {len(versions)} | {versions[-1].file_count:,} | {raw / 1e6:.1f} "
        f"| {stored / 1e6:.1f} "
        f"| {made:.1f} | {fetched:.1f} |"
    )


def main() -> None:
    """Run the walk on the stores asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", action="append", choices=["folder", "seaweedfs", "moto", "rclone"])
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "dataver-walk")
    options = parser.parse_args()
    work: Path = options.work
    data = {"django": releases(work), "csv": tables(work), "parquet": parquets(work)}
    print("| store | dataset | versions | files | raw MB | stored MB | add s | fetch s |")
    print("|---|---|---|---|---|---|---|---|")
    for kind in options.store or ["folder"]:
        for name, folders in data.items():
            scratch = Path(tempfile.mkdtemp(prefix="dataver-walk-"))
            os.environ["DATAVER_CACHE"] = str(scratch / "cache")
            with store(kind, scratch) as (url, storage_options):
                repository = dataver.init(url, storage_options=storage_options)
                print(walk(kind, name, folders, repository, scratch), flush=True)
            shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
