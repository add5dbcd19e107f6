"""Many processes make one version: what workers gain, and what the driver pays.

    python -m benchmarks.cluster --runs 3 --scale 1 > RESULT.md

Prints three Markdown tables. The first: `add` of images and of tiny files with 1, 2 and 4 processes beside
`tar | zstd -1 -T2`, in turn, in seconds of wall and CPU time. The second: tasks of a fork on
two processes, each with a cache of its own or one for both, and the bytes that they store more than one
process, since they do not know of each other. The third: the driver's time and memory for joining parts of a
million entries, and the bytes of the parts. `chrt -r 1` before the command measures on a machine that others
use, too.
"""

import argparse
import multiprocessing
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dataver
from benchmarks.data import make
from dataver.formats.fork import encode_blocks, fingerprint
from dataver.hashing import digest
from dataver.repository.layout import part_key
from dataver.tree import build


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "dataver-benchmarks")
    args = parser.parse_args()
    for name in ("images", "tiny"):
        source = make(name, args.folder / "sets", args.scale)[0]
        print(f"\n{name}, {len(list(source.rglob('*')))} files and folders, {args.runs} rounds\n")
        adding(source, args.folder, args.runs)
    for name in ("images", "source"):
        forking(name, make(name, args.folder / "sets", args.scale)[0], args.folder)
    joining(args.folder, args.entries)


@contextmanager
def place(folder: Path) -> Iterator[Path]:
    """An empty folder, and in it a cache and a state for this process and its children."""
    home = Path(tempfile.mkdtemp(dir=folder))
    os.environ.update(DATAVER_CACHE=str(home / "cache"), DATAVER_STATE=str(home / "state"))
    os.environ.update(DATAVER_LINEAGE="off", DATAVER_REPO=str(home / "repo"))
    try:
        yield home
    finally:
        shutil.rmtree(home)


def timed(command: str, cwd: Path) -> tuple[float, float]:
    """Return the seconds of wall and CPU time of a shell command."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, cwd=cwd, shell=True, check=True, capture_output=True)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def adding(source: Path, folder: Path, runs: int) -> None:
    """Print the first table."""
    program = f"{sys.executable} -m dataver_cli"

    def add(workers: int) -> Callable[[Path], tuple[float, float]]:
        def measure(home: Path) -> tuple[float, float]:
            dataver.init(home / "repo").create("d", workspace=home)
            return timed(f"{program} add {source} --workers {workers}", home)

        return measure

    kinds = {"tar and zstd": lambda home: timed(f"tar -C {source} -cf - . | zstd -1 -T2 -q -o x.zst", home)}
    kinds |= {f"add, {count} processes": add(count) for count in (1, 2, 4)}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in kinds}
    for _ in range(runs):
        for name, measure in kinds.items():
            with place(folder) as home:
                found[name].append(measure(home))
    print("| | wall s | CPU s | wall, tar = 1 |\n|---|---:|---:|---:|")
    base = statistics.median(wall for wall, _ in found["tar and zstd"])
    for name, times in found.items():
        wall, cpu = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"| {name} | {wall:.2f} | {cpu:.2f} | {wall / base:.2f} |")


def task(token: str, files: list[tuple[str, str]], cache: str) -> str:
    """Be a worker with a cache of its own."""
    os.environ["DATAVER_CACHE"] = cache
    with dataver.join_draft(token) as worker:
        worker.add_files(files)
        return worker.finish().to_json()


def forking(name: str, source: Path, folder: Path) -> None:
    """Print the second table."""
    files = [
        (str(path), str(path.relative_to(source))) for path in sorted(source.rglob("*")) if path.is_file()
    ]
    print(f"\n{name}, {len(files)} files, in halves by path\n")
    print("| | stored bytes | more than one | bytes of parts |\n|---|---:|---:|---:|")
    one = 0
    for kind, caches in (("one", ["a"]), ("two, one machine", ["a", "a"]), ("two machines", ["a", "b"])):
        with place(folder) as home:
            repo = dataver.init(home / "repo")
            draft = repo.create("d", workspace=home)
            half = -(-len(files) // len(caches))
            jobs = [
                (token, files[number * half :][:half], str(home / cache))
                for number, (token, cache) in enumerate(zip(draft.fork(len(caches)), caches, strict=True))
            ]
            with multiprocessing.get_context("spawn").Pool(len(jobs)) as pool:
                parts = pool.starmap(task, jobs)
            draft.join(map(dataver.Part.from_json, parts))
            stored = sum(each.stat().st_size for each in (home / "repo/packs").rglob("*") if each.is_file())
            one = one or stored
            print(f"| {kind} | {stored} | {100 * (stored / one - 1):.2f} % | {sum(map(len, parts))} |")


def joining(folder: Path, entries: int) -> None:
    """Print the third table: joins 100 parts, each in an object of the repository, and publishes.

    All files share one real chunk.
    """
    with place(folder) as home:
        repo = dataver.init(home / "repo")
        draft = repo.create("d", workspace=home)
        (home / "file").write_bytes(bytes(range(256)) * 16)
        draft.add(home / "file")
        (real,) = draft.tree.iterate()
        draft.fork(1)
        parts = []
        for number in range(100):
            blocks: list[tuple[bytes, bytes]] = []
            root = build(
                (
                    real._replace(path=f"{number:03}/{at:06}.jpg", digest=digest(b"%d %d" % (number, at)))
                    for at in range(entries // 100)
                ),
                lambda block, blocks=blocks: blocks.append((block.digest, block.data)),
            )  # fmt: skip
            data, key = encode_blocks(blocks), part_key(draft.id, f"{number:032x}")
            repo._core.store.put(key, data)
            parts.append(
                dataver.Part(
                    draft=draft.id, repository=fingerprint(repo.id), base=draft._core.state.tree,
                    worker=f"{number}", tree=root.digest.hex(), entries=root.entries, size=root.size,
                    packs=1, digest=digest(data).hex(), key=key,
                )
            )  # fmt: skip
        before, began = time.process_time(), time.perf_counter()
        report = draft.join(parts)
        cpu, wall = time.process_time() - before, time.perf_counter() - began
        began = time.perf_counter()
        draft.finalize()
        draft.upload()
        published = time.perf_counter() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    wire = sum(len(part.to_json()) for part in parts)
    print(f"\n{report.entries} entries in {report.parts} parts\n")
    print("| join, wall s | CPU s | finalize and upload, wall s | peak MB | bytes of parts |")
    print("|---:|---:|---:|---:|---:|")
    print(f"| {wall:.1f} | {cpu:.1f} | {published:.1f} | {memory:.0f} | {wire} |")


if __name__ == "__main__":
    main()
