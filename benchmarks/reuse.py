"""Bytes that a fetch moves if another version is in the cache, and what looking for shared files costs.

    python -m benchmarks.reuse [--versions 20] [--step 1] [--runs 5]

The versions are of two datasets: each changes, adds, renames and removes files of the one before, and edits
two large files in place. `bytes` fetches one version with an empty cache, then another, for pairs in both
directions and across the datasets, and counts what a store in memory returns. `nothing` looks for 10,000
files in the manifests of 50 cached versions that have none of them. `cold` fetches 4,000 small files with an
empty cache.
"""

import argparse
import os
import random
import secrets
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dataver
from dataver.cache.stat_manifest import Row, write_rows
from dataver.cache.version_cache import CachedFolder, VersionCache
from dataver.checkout.cached_files import CachedFiles
from dataver.checkout.materialise import parts_of
from dataver.formats.config import RepositoryConfig
from dataver.formats.entry import Entry, Kind
from dataver.repository import RepositoryCore
from dataver.storage import MemoryStore
from dataver.tree.selection import WHOLE


class CountingStore(MemoryStore):
    """A store in memory that counts the bytes and requests of reads."""

    moved = requests = 0

    def get(self, key: str, start: int | None = None, length: int | None = None) -> bytes:
        data = super().get(key, start, length)
        self.moved += len(data)
        self.requests += 1
        return data

    def get_tail(self, key: str, length: int) -> tuple[bytes, int]:
        data, size = super().get_tail(key, length)
        self.moved += len(data)
        self.requests += 1
        return data, size


class World:
    """A repository in memory, and caches."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = CountingStore()
        self._config = RepositoryConfig(
            id=secrets.token_hex(16),
            created=datetime.now(UTC),
            write_id=secrets.token_hex(16),
            create_if_absent=True,
        )

    def use(self, cache: str) -> None:
        """Use a cache from now on."""
        os.environ["DATAVER_CACHE"] = str(self.root / cache)

    def drop(self, cache: str) -> None:
        """Delete a cache."""
        remove(self.root / cache)

    def open(self) -> dataver.Repository:
        return dataver.Repository(RepositoryCore(self.store, self._config), "memory:reuse")

    def fetch(self, ref: str) -> tuple[int, int, float]:
        """Fetch a version; return the bytes and requests that it cost, and the seconds."""
        repo = self.open()
        self.store.moved = self.store.requests = 0
        began = time.perf_counter()
        repo.fetch(ref)
        return self.store.moved, self.store.requests, time.perf_counter() - began


def remove(folder: Path) -> None:
    """Delete a folder with read-only folders in it."""
    for path, _, _ in os.walk(folder):
        os.chmod(path, 0o755)
    shutil.rmtree(folder, ignore_errors=True)


def edited(folder: Path, noise: random.Random, versions: int) -> Iterator[int]:
    """Write the files of one version after the other into a folder."""
    for number in range(300):
        write(folder / f"small/{number % 10}/{number:03d}", noise.randbytes(noise.randrange(200, 20_000)))
    for number in range(20):
        write(folder / f"medium/{number:02d}", noise.randbytes(noise.randrange(80_000, 400_000)))
    for number in range(2):
        write(folder / f"large{number}", noise.randbytes(6_000_000))
    for version in range(versions):
        if version:
            edit(folder, noise, version)
        yield version


def edit(folder: Path, noise: random.Random, version: int) -> None:
    """Make the next version."""
    small = sorted(path for path in (folder / "small").rglob("*") if path.is_file())
    for path in noise.sample(small, 4):
        write(path, noise.randbytes(noise.randrange(200, 20_000)))
    noise.choice(small).rename(folder / f"small/renamed{version}")
    write(folder / f"small/new{version}", noise.randbytes(5_000))
    min((folder / "medium").iterdir()).unlink()
    write(folder / f"medium/{version + 20:02d}", noise.randbytes(noise.randrange(80_000, 400_000)))
    for number in range(2):
        path = folder / f"large{number}"
        data = bytearray(path.read_bytes())
        for _ in range(2):
            at = noise.randrange(len(data))
            data[at : at + noise.randrange(200_000)] = noise.randbytes(noise.randrange(200_000))
        path.write_bytes(data)


def write(path: Path, data: bytes) -> None:
    """Write a file and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def measure_bytes(root: Path, versions: int, step: int) -> None:
    """Print the bytes of fetches by the distance of the cached version."""
    world = World(root)
    world.use("author")
    source = root / "source"
    for number in edited(source / "files", random.Random(1), versions):
        for name in ("a", "b"):
            if name == "a" or number % 4 == 0:
                folder = source / "files" if name == "a" else source  # other paths, so another tree
                world.open().sync(folder, f"data/{name}", workspace=root / "work")
        shutil.rmtree(root / "work", ignore_errors=True)
    refs = [f"data/a@1.0.{number}" for number in range(versions)]
    others = [f"data/b@1.0.{number}" for number in range((versions + 3) // 4)]
    table: dict[str, list[tuple[int, int]]] = defaultdict(list)
    pairs = [(one, two) for one in range(versions) for two in range(versions) if one != two][::step]
    cases = [
        (refs[one], refs[two], f"{'forwards' if two > one else 'backwards'}, {span(abs(one - two))}")
        for one, two in pairs
    ]
    cases += [(refs[4 * n], other, "the same files, another dataset") for n, other in enumerate(others)]
    cases += [(refs[-1], other, "another dataset") for other in others[:-1]]
    for one, two, kind in cases:
        world.use("reader")
        table["empty cache"].append(world.fetch(one)[:2])
        table[kind].append(world.fetch(two)[:2])
        world.drop("reader")
    print("| cached version | fetches | MB moved, mean | least | most | requests |")
    print("|---|---|---|---|---|---|")
    for kind, found in sorted(table.items()):
        moved = [each[0] / 1e6 for each in found]
        requests = statistics.mean(each[1] for each in found)
        print(
            f"| {kind} | {len(found)} | {statistics.mean(moved):.3f} | {min(moved):.3f} | {max(moved):.3f}"
            f" | {requests:.1f} |"
        )


def span(distance: int) -> str:
    """Return the row of a distance."""
    return "the next" if distance == 1 else "2 to 5 apart" if distance <= 5 else "6 or more apart"


def measure_nothing(root: Path, runs: int) -> None:
    """Print the time of looking for 10,000 files in 50 cached versions of 10,000 that have none of them."""
    world = World(root)
    cache = VersionCache(root / "nothing")
    cache.trees.mkdir(parents=True)
    for _ in range(50):
        tree = os.urandom(32)
        made = CachedFolder(cache.trees / tree.hex(), tree, WHOLE, "data", 10_000, 10_000, ())
        made.path.mkdir()
        rows = [Row(f"{n % 100:02d}/{n:05d}", 0, 1, 1, os.urandom(32)) for n in range(10_000)]
        write_rows(made.manifest, (rows[start : start + 2_000] for start in range(0, 10_000, 2_000)))
        cache.describe(made)
    wanted = [Entry(f"{n:05d}", Kind.FILE, 1, os.urandom(32)) for n in range(10_000)]
    parts = list(parts_of(wanted))
    found = []
    for _ in range(runs):
        began = time.perf_counter(), time.process_time()
        with CachedFiles(world.open()._core, cache, (), link=True, full=False) as files:
            files.look_up(parts)
            assert not files.used
        found.append((time.perf_counter() - began[0], time.process_time() - began[1]))
    show("nothing found", found)


def show(name: str, found: list[tuple[float, float]]) -> None:
    """Print the least and the median of wall and CPU seconds."""
    print(f"| {name} | least | median |\n|---|---|---|")
    for number, kind in enumerate(("wall", "CPU")):
        times = [each[number] for each in found]
        print(f"| {kind} seconds | {min(times):.4f} | {statistics.median(times):.4f} |")


def measure_cold(root: Path, runs: int) -> None:
    """Print the time of a fetch of 4,000 small files into an empty cache."""
    source = root / "tiny"
    noise = random.Random(2)
    for number in range(4_000):
        write(source / f"{number % 40}/{number}", noise.randbytes(noise.randrange(200, 4_000)))
    os.environ["DATAVER_CACHE"] = str(root / "cold")
    repo = dataver.init(root / "repo")
    repo.sync(source, "data/tiny", workspace=root / "work")
    found = []
    for _ in range(runs):
        remove(root / "cold")
        began = time.perf_counter(), time.process_time()
        dataver.open(root / "repo").fetch("data/tiny")
        found.append((time.perf_counter() - began[0], time.process_time() - began[1]))
    show("cold, 4,000 files", found)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reuse", description=__doc__.splitlines()[0])
    parser.add_argument("--versions", type=int, default=20)
    parser.add_argument("--step", type=int, default=1, help="every n-th pair of versions")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", choices=("bytes", "nothing", "cold"))
    options = parser.parse_args()
    os.environ |= {"DATAVER_LINEAGE": "off", "DATAVER_CACHE_SIZE": "unlimited"}
    root = Path(tempfile.mkdtemp())
    try:
        os.environ["DATAVER_STATE"] = str(root / "state")
        if options.only in (None, "bytes"):
            measure_bytes(root, options.versions, options.step)
        if options.only in (None, "nothing"):
            measure_nothing(root, options.runs)
        if options.only in (None, "cold"):
            measure_cold(root, options.runs)
    finally:
        remove(root)


if __name__ == "__main__":
    main()
