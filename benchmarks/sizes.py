"""Peak memory and CPU time of each command for versions of many files.

    python -m benchmarks.sizes [--files 100000,1000000] [--only WORD …] [--real 1000000] [--disk FOLDER]

The dataset has two versions: the second one differs in each hundredth file. Their entries are made; the
trees, with 1,000 files in a folder, and all above them are dataver's own. Another dataset has all of the
files in one folder. With `--real` there is a folder of that many files of 16 bytes instead, for the commands
that read and write files. Each command is a process of its own, start-up included; memory is the largest
resident set that the kernel noted for it. The caches are empty at first.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dataver
from benchmarks.measure import Command, Failed, Usage, measure
from dataver.formats.entry import Entry, Extent, Kind
from dataver.formats.record import ParentRef, Record, record_id
from dataver.repository.layout import block_key, record_key
from dataver.tree import TreeRoot, build, edit

NAME, FLAT = "big/set", "big/flat"
_STEP = 100  # of a hundred files one differs
_START = datetime(2026, 1, 1, tzinfo=UTC)
_PATIENCE = 4 * 3600.0


def entries(count: int, extent: Extent, folder: int) -> Iterator[Entry]:
    """Yield entries in path order, with random digests; `folder` is the number of files in each folder."""
    noise = random.Random(1)
    for number in range(count):
        path = f"{number // folder:05d}/{number % folder:08d}.jpg"
        yield Entry(path, Kind.FILE, extent.length, noise.randbytes(32), "", (extent,))


def make(home: Path, count: int, first_only: bool) -> None:
    """Make the repository, or of it only the first version."""
    repository = dataver.init(home / "repo")
    dataver.init(home / "copy")
    (home / "one").mkdir()
    (home / "one" / "f").write_bytes(b"content")
    seed = repository.sync(home / "one", "seed", workspace=home).version
    assert seed is not None
    (extent,) = seed.entry("f").extents

    def save(block: object) -> None:
        path = home / "repo" / block_key(block.digest)  # type: ignore[attr-defined]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(block.data)  # type: ignore[attr-defined]  # without waiting for the disk

    def publish(dataset: str, label: str, root: TreeRoot, parents: tuple[ParentRef, ...] = ()) -> ParentRef:
        record = Record(
            dataset=dataset,
            label=label,
            tree=root.digest,
            parents=parents,
            created=_START + timedelta(days=len(parents)),
            author="benchmark",
            message=f"{count:,} files",
            files=root.files,
            size=root.size,
            entries=root.entries,
            tool="benchmark",
            write_id=os.urandom(16).hex(),
        )
        data = record.encode()
        path = home / "repo" / record_key(dataset, label)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return ParentRef(dataset, label, record_id(data).hex(), root.digest.hex())

    root = build(entries(count, extent, 1000), save)
    first = publish(NAME, "1.0.0", root)
    if first_only:
        return
    noise = random.Random(2)
    changes = (
        (each.path, each._replace(digest=noise.randbytes(32)))
        for number, each in enumerate(entries(count, extent, 1000))
        if not number % _STEP
    )
    blocks = repository._core.blocks
    publish(NAME, "1.0.1", edit(root.digest, list(changes), blocks.load, save, lambda _: True), (first,))
    publish(FLAT, "1.0.0", build(entries(count, extent, count), save))


def make_files(folder: Path, count: int) -> None:
    """Make a folder of small files, 1,000 in each folder below it."""
    for number in range(count):
        if not number % 1000:
            below = folder / f"{number // 1000:05d}"
            below.mkdir(parents=True)
        with open(below / f"{number % 1000:08d}.bin", "wb", buffering=0) as file:
            file.write(b"%016d" % number)


def commands(home: Path) -> dict[str, list[str]]:
    """Return the commands on versions without files by name; each may use what the ones before have made."""
    return {
        "list": ["list"],
        "list NAME": ["list", NAME],
        "show": ["show", NAME],
        "log": ["log", NAME],
        "ls": ["ls", NAME],
        "ls of a flat folder": ["ls", FLAT, "00000"],
        "ls -r": ["ls", NAME, "-r"],
        "ls -r -l": ["ls", NAME, "-r", "-l"],
        "ls -r --json": ["ls", NAME, "-r", "--json"],
        "ls --include": ["ls", NAME, "--include", "*00000001.jpg"],
        "diff": ["diff", f"{NAME}@1.0.0", NAME],
        "diff --json": ["diff", f"{NAME}@1.0.0", NAME, "--json"],
        "diff of a first version": ["diff", f"{NAME}@1.0.0"],
        "diff of a first version --json": ["diff", f"{NAME}@1.0.0", "--json"],
        "diff of a first version --stat": ["diff", f"{NAME}@1.0.0", "--stat"],
        "diff of other paths --stat": ["diff", FLAT, NAME, "--stat"],
        "diff of other paths --json": ["diff", FLAT, NAME, "--json"],
        "cat": ["cat", "seed", "f"],
        "fetch --plan": ["fetch", NAME, "--plan"],
        "fetch of one file": ["fetch", "seed", "--dest", "fetched"],
        "verify --quick": ["verify", NAME, "--quick"],
        "du": ["du"],
        "du NAME": ["du", NAME],
        "gc --plan": ["gc", "--plan", "--grace", "0"],
        "repack --plan": ["repack", "--plan"],
        "delete --plan": ["delete", f"{NAME}@1.0.0", "--plan"],
        "push --plan": ["push", str(home / "copy"), NAME, "--plan"],
        "push": ["push", str(home / "copy"), NAME],
        "mirror": ["mirror", str(home / "repo"), str(home / "copy")],
        "create": ["create", NAME, "--parent", NAME],
        "add of a file": ["add", "../one/f", "--dest", "00000"],
        "status": ["status"],
        "move of a folder": ["move", "00001", "moved"],
        "remove of a tenth": ["remove", "000*"],
        "status --json": ["status", "--json"],
        "finalize": ["finalize", "-m", "changed"],
        "upload": ["upload"],
        "restore": ["restore", f"{NAME}@1.0.0"],
        "tag": ["tag", NAME, "good"],
        "delete": ["delete", FLAT, "--entire-dataset", "--yes"],
        "gc": ["gc", "--grace", "0", "--yes"],
        "repack": ["repack", "--yes"],
    }


def commands_on_files(source: Path) -> dict[str, list[str]]:
    """Return the commands on real files by name."""
    return {
        "sync --plan": ["sync", str(source), "--name", "real", "--plan"],
        "sync": ["sync", str(source), "--name", "real"],
        "sync, unchanged": ["sync", str(source), "--name", "real"],
        "create, real": ["create", "again"],
        "add": ["add", str(source)],
        "discard": ["discard", "--yes"],
        "verify": ["verify", "real"],
        "fetch": ["fetch", "real", "--dest", "out"],
        "fetch again": ["fetch", "real", "--dest", "out"],
        "verify of a folder": ["verify", "real", "out"],
        "fetch of a view": ["fetch", "real"],
        "fetch of a ready view": ["fetch", "real"],
        "cache info": ["cache", "info"],
        "cache verify": ["cache", "verify"],
    }


def first_bytes(tool: list[str], folder: Path) -> tuple[float, float, int]:
    """Serve the repository; return the seconds to the first line and to the end of a flat folder's JSON."""
    server = subprocess.Popen(
        [*tool, "serve", "--port", "0"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert server.stdout is not None
        line = next(each for each in server.stdout if "http://" in each)
        url = next(word for word in line.split() if word.startswith("http://")).rstrip(".,/")
        urllib.request.urlopen(f"{url}/{FLAT}@latest/").read()
        began = time.perf_counter()
        with urllib.request.urlopen(f"{url}/{FLAT}@latest/00000/?format=json") as reply:
            reply.readline()
            first = time.perf_counter() - began
            while reply.read(1 << 20):
                pass
        status = Path(f"/proc/{server.pid}/status").read_text()
        peak = next(int(each.split()[1]) for each in status.splitlines() if each.startswith("VmHWM"))
        return first, time.perf_counter() - began, peak * 1024
    finally:
        server.terminate()
        server.wait()


def mounted(tool: list[str], folder: Path) -> Usage:
    """List a mounted version with the attributes of all files; return what the mounting process used."""
    place = folder / "mounted"
    place.mkdir()
    mount = subprocess.Popen([*tool, "mount", NAME, str(place)], cwd=folder, stdout=subprocess.DEVNULL)
    try:
        while not any(place.iterdir()):
            time.sleep(0.1)
        began = time.perf_counter()
        subprocess.run(["ls", "-lR", str(place)], stdout=subprocess.DEVNULL, check=True)
        wall = time.perf_counter() - began
        status = Path(f"/proc/{mount.pid}/status").read_text()
        peak = next(int(each.split()[1]) for each in status.splitlines() if each.startswith("VmHWM"))
        ticks = Path(f"/proc/{mount.pid}/stat").read_text().rpartition(")")[2].split()
        hertz = os.sysconf("SC_CLK_TCK")
        return Usage(wall, int(ticks[11]) / hertz, int(ticks[12]) / hertz, peak * 1024, peak * 1024)
    finally:
        mount.terminate()
        mount.wait()


def measure_all(home: Path, real: int, only: list[str]) -> Iterator[tuple[str, Usage | str]]:
    """Yield what each command used, or its error."""
    work = home / "work"
    work.mkdir()
    tool = [sys.executable, "-m", "dataver_cli", "--repo", str(home / "repo"), "--quiet"]
    chosen = commands(home)
    if real:
        chosen = commands_on_files(home / "files")
    for name, arguments in chosen.items():
        if not only or any(each in name for each in only):
            try:
                yield name, measure([Command((*tool, *arguments), work)], _PATIENCE)
            except Failed as error:
                yield name, str(error)
        if name == "cat" and not real:
            if Path("/dev/fuse").exists() and os.geteuid() == 0 and (not only or "mount" in only):
                yield "mount, ls -lR", mounted(tool, work)
            if not only or "serve" in only:
                first, whole, peak = first_bytes(tool[:-1], work)
                yield (
                    f"serve of a flat folder, first line after {first:.3f} s",
                    Usage(whole, 0, 0, peak, peak),
                )


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sizes", description=__doc__.splitlines()[0])
    parser.add_argument("--files", default="100000,1000000")
    parser.add_argument(
        "--real", type=int, default=0, help="measure the commands on so many real files instead"
    )
    parser.add_argument("--disk", type=Path, help="where the folders are made")
    parser.add_argument("--first", action="store_true", help="make the first version only")
    parser.add_argument("--only", nargs="*", default=[], metavar="WORD", help="only commands with this word")
    args = parser.parse_args()
    os.environ |= {"DATAVER_LINEAGE": "off", "DATAVER_CACHE_SIZE": "unlimited"}
    for count in [args.real] if args.real else [int(each) for each in args.files.split(",")]:
        home = Path(tempfile.mkdtemp(prefix="sizes-", dir=args.disk))
        os.environ |= {"DATAVER_CACHE": str(home / "cache"), "DATAVER_STATE": str(home / "state")}
        try:
            began = time.perf_counter()
            with ProcessPoolExecutor(1) as pool:  # a measured process starts with the memory of this one
                if args.real:
                    pool.submit(make_files, home / "files", count).result()
                pool.submit(make, home, 1000 if args.real else count, args.first).result()
            print(f"made in {time.perf_counter() - began:.0f} s\n", flush=True)
            print(f"| {count:,} files | MB | CPU s | s |\n|---|---|---|---|")
            for name, used in measure_all(home, args.real, args.only):
                if isinstance(used, str):
                    print(f"| {name} | {used} |", flush=True)
                else:
                    spent = used.user_s + used.sys_s
                    peak = round(used.rss_largest / 1e6)
                    print(f"| {name} | {peak:,} | {spent:.1f} | {used.wall_s:.1f} |", flush=True)
        finally:
            shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
