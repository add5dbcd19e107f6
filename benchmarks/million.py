"""A version of a million files: what the commands cost that should not care.

    python -m benchmarks.million [--files 1000000] [--runs 5]

Makes a repository whose one dataset has a version of a million files in 1,000 folders (the entries are made,
the tree and everything above it is dataver's own; all files share one real pack), and a second version that
differs in ten files. Then times whole commands, start-up included, and the library alone; prints a JSON line
each with the median. Python may keep its bytecode, as it does for whatever is installed.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import dataver
from dataver.formats.entry import Entry, Extent, Kind
from dataver.formats.record import Record
from dataver.repository.layout import block_key
from dataver.repository.lines import find_position
from dataver.repository.publish import publish
from dataver.tree import build, edit

NAME = "big/set"


def entries(count: int, extent: Extent) -> Iterator[Entry]:
    """Yield entries in path order, with random digests."""
    rng = random.Random(1)
    for number in range(count):
        path = f"{number // 1000:05d}/file-{number % 1000:04d}.jpg"
        yield Entry(path, Kind.FILE, extent.length, rng.randbytes(32), "", (extent,))


def make(home: Path, count: int) -> float:
    """Make the repository; return the seconds that the million-file tree took."""
    repository = dataver.init(home / "repo")
    (home / "one").mkdir()
    (home / "one" / "f").write_bytes(b"content")
    seed = repository.sync(home / "one", "seed", workspace=home).version
    assert seed is not None
    (extent,) = seed.entry("f").extents
    blocks: dict[bytes, bytes] = {}

    def save(block: object) -> None:
        blocks[block.digest] = block.data  # type: ignore[attr-defined]

    began = time.perf_counter()
    root = build(entries(count, extent), save)
    seconds = time.perf_counter() - began
    repository._core.store.put_many_new((block_key(digest), data) for digest, data in blocks.items())
    _publish(repository, seed, root)
    rng = random.Random(2)
    chosen = sorted(rng.sample(range(count), 10))
    changes = [
        (path, Entry(path, Kind.FILE, extent.length, rng.randbytes(32), "", (extent,)))
        for path in (f"{number // 1000:05d}/file-{number % 1000:04d}.jpg" for number in chosen)
    ]
    blocks.clear()
    changed = edit(root.digest, changes, repository._core.blocks.load, save, lambda _digest: True)
    repository._core.store.put_many_new((block_key(digest), data) for digest, data in blocks.items())
    _publish(repository, seed, changed)
    return seconds


def _publish(repository: dataver.Repository, like: dataver.Version, root: object) -> None:
    record = Record(
        dataset=NAME,
        label="0.0.0",
        tree=root.digest,  # type: ignore[attr-defined]
        parents=(),
        created=like.created,
        author="benchmark",
        message="a million files",
        files=root.files,  # type: ignore[attr-defined]
        size=root.size,  # type: ignore[attr-defined]
        entries=root.entries,  # type: ignore[attr-defined]
        tool="benchmark",
        write_id=random.Random(root.digest).randbytes(16).hex(),  # type: ignore[attr-defined]
    )
    core = repository._core
    published = publish(core.store, core.records, record, find_position(core.records, record, label=None))
    assert published is not None


def timed(command: list[str], folder: Path) -> float:
    """Run a command and return its seconds."""
    began = time.perf_counter()
    done = subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr.decode()}")
    return seconds


def first_page(command: list[str], folder: Path) -> float:
    """Return the seconds until a command has printed 50 lines."""
    began = time.perf_counter()
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        for _ in range(50):
            process.stdout.readline()
        seconds = time.perf_counter() - began
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    return seconds


def main() -> None:
    """Make the repository and time the commands."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="dataver-million-"))
    os.environ["DATAVER_CACHE"] = str(home / "cache")
    os.environ["DATAVER_LINEAGE"] = "off"  # its events would be sent after the repository is deleted
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    middle = f"{options.files // 2000:05d}"  # a folder
    tool = [sys.executable, "-m", "dataver_cli", "--repo", str(home / "repo"), "--quiet"]
    try:
        seconds = make(home, options.files)
        print(json.dumps({"operation": "build tree", "files": options.files, "seconds": round(seconds, 3)}))
        for name, run in {
            "list": lambda: timed([*tool, "list", NAME], home),
            "ls, first page": lambda: first_page([*tool, "ls", NAME], home),
            "ls -r, first page": lambda: first_page([*tool, "ls", NAME, "--recursive"], home),
            "ls of a folder": lambda: timed([*tool, "ls", NAME, middle], home),
            "show": lambda: timed([*tool, "show", NAME], home),
            "diff, 10 files": lambda: timed([*tool, "diff", f"{NAME}@1.0.0", f"{NAME}@1.0.1"], home),
            "child, 1 file": lambda: child(tool, home, middle),
            "child, 1 file, library": lambda: child_by_library(home, middle),
        }.items():
            runs = [run() for _ in range(options.runs)]
            result = {"operation": name, "seconds": round(statistics.median(runs), 3), "runs": len(runs)}
            print(json.dumps(result), flush=True)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def child(tool: list[str], home: Path, dest: str) -> float:
    """Make and publish a child that changes one file: create, add, finalize --upload; return the seconds."""
    folder = workspace(home)
    return (
        timed([*tool, "create", NAME, "--parent", NAME], folder)
        + timed([*tool, "add", "in/file-0500.jpg", "--dest", dest], folder)
        + timed([*tool, "finalize", "-m", "one file", "--upload"], folder)
    )


def child_by_library(home: Path, dest: str) -> float:
    """Do the same by the library, opening the repository included; return the seconds."""
    folder = workspace(home)
    began = time.perf_counter()
    repository = dataver.open(home / "repo")
    draft = repository.create(NAME, parents=NAME, workspace=folder)
    draft.add(folder / "in" / "file-0500.jpg", dest=dest)
    draft.finalize("one file")
    draft.upload()
    return time.perf_counter() - began


def workspace(home: Path) -> Path:
    """Make a folder with a changed file in it."""
    folder = home / f"work-{time.monotonic_ns()}"
    (folder / "in").mkdir(parents=True)
    (folder / "in" / "file-0500.jpg").write_bytes(os.urandom(1000))
    return folder


if __name__ == "__main__":
    main()
