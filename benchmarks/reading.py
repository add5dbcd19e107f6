"""Reading without fetching: `python -m benchmarks.reading`, beside local files and a plain S3 client.

Makes a version of images (bytes that do not compress, 60 to 160 KB each), one large file and one Parquet file
in SeaweedFS, and the same files as plain objects in the same bucket. Then reads them: from the local disk,
from the version (nothing here yet; frames here; fetched), and with botocore at the same number of threads.
Each round reads in another order, players in turn; medians. Bytes that left the server are counted for the
Parquet column. Every byte that dataver reads is compared with its checksum; the others compare nothing.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dataver
from benchmarks.machine import machine_facts
from benchmarks.s3 import PLAYERS
from dataver.reading import Files
from servers import SERVERS

_PIECE = 1 << 20  # bytes of one read of the large file
_RANGE = 8 << 20


def main() -> int:
    """Measure; print a table and, with --out, JSON lines."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reading", description=main.__doc__)
    parser.add_argument("--server", default="seaweedfs", help="of " + ", ".join(SERVERS))
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--large", type=int, default=128, help="MB of the large file")
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=None, help="JSON lines, appended to")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-reading-") as folder:
        home = Path(folder)
        (home / "server").mkdir()
        os.environ |= {"DATAVER_STATE": f"{home}/state", "DATAVER_LINEAGE": "off"}
        try:
            with SERVERS[args.server](home / "server") as server:
                figures = _measure(home, server, args)
        finally:
            for path, _, _ in os.walk(home):
                Path(path).chmod(0o755)
        machine = machine_facts(home)
    for line in figures:
        rate = f"{line['size'] / line['seconds'] / 1e6:.0f} MB/s" if line["size"] else ""
        print(f"{line['what']:34} {line['seconds']:8.3f} s  {rate:>10}  {line.get('note', '')}")
        if args.out is not None:
            with args.out.open("a") as out:
                print(json.dumps({**line, "machine": machine, "threads": args.threads}), file=out)
    return 0


def _measure(home: Path, server: Any, args: argparse.Namespace) -> list[dict[str, Any]]:
    source, noise = home / "source", random.Random(1)
    (source / "images").mkdir(parents=True)
    images = [f"images/{number:05}.jpg" for number in range(args.images)]
    for path in images:
        (source / path).write_bytes(noise.randbytes(noise.randrange(60_000, 160_000)))
    (source / "large").write_bytes(noise.randbytes(args.large * 1_000_000))
    _parquet(source / "table.parquet")
    repo = dataver.init(server.url("reading"), storage_options=server.options)
    os.environ["DATAVER_CACHE"] = f"{home}/maker"
    repo.sync(source, "set", workspace=home / "work")
    plain = PLAYERS["botocore"][1](server)
    for path in [*images, "large"]:
        plain.put(f"plain/{path}", (source / path).read_bytes())
    total, size = sum((source / path).stat().st_size for path in images), args.large * 1_000_000

    def opened(cache: str) -> Files:
        os.environ["DATAVER_CACHE"] = f"{home}/{cache}"
        again = dataver.open(server.url("reading"), storage_options=server.options)
        return again.files("set@1.0.0")

    def local_large() -> None:
        with (source / "large").open("rb") as file:
            while file.read(_PIECE):
                pass

    def streamed(files: Files) -> None:
        with files.open("large") as file:
            while file.read(_PIECE):
                pass

    def ranges() -> None:
        spans = [(start, min(_RANGE, size - start)) for start in range(0, size, _RANGE)]
        with ThreadPoolExecutor(args.threads) as pool:
            list(pool.map(lambda span: len(plain.part("plain/large", *span)), spans))

    opened("fetched")
    dataver.open(server.url("reading"), storage_options=server.options).fetch("set@1.0.0")
    times: dict[str, list[float]] = {}
    for number in range(args.runs):
        random.Random(number).shuffle(images)
        cold = opened(f"cold-{number}")

        def every(read: Callable[[str], object], images: Sequence[str] = tuple(images)) -> None:
            with ThreadPoolExecutor(args.threads) as pool:
                list(pool.map(lambda path: len(read(path)), images))  # type: ignore[arg-type]

        players: dict[str, Callable[[], object]] = {
            "first image, nothing here": lambda cold=cold: cold.read(images[0]),
            "images, local files": lambda: every(lambda path: (source / path).read_bytes()),
            "images, botocore": lambda: every(lambda path: plain.get(f"plain/{path}")),
            "images, nothing here": lambda cold=cold: every(cold.read),
            "images, frames here": lambda cold=cold: every(cold.read),
            "images, frames here, new process": lambda n=number: every(opened(f"cold-{n}").read),
            "images, fetched": lambda: every(opened("fetched").read),
            "large, local file": local_large,
            "large, botocore, ranges": ranges,
            "large, nothing here": lambda cold=cold: streamed(cold),
            "large, frames here": lambda cold=cold: streamed(cold),
            "large, fetched": lambda: streamed(opened("fetched")),
        }
        for what, play in players.items():
            began = time.perf_counter()
            play()
            times.setdefault(what, []).append(time.perf_counter() - began)
        shutil.rmtree(home / f"cold-{number}")
    figures = []
    for what, found in times.items():
        of = 0 if what.startswith("first") else total if what.startswith("images") else size
        figures.append({"what": what, "seconds": statistics.median(found), "all": found, "size": of})
    return [*figures, *_column(home, source, server)]


def _parquet(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    noise = random.Random(2)
    rows = 500_000
    table = {"key": range(rows), "text": [noise.randbytes(12).hex() for _ in range(rows)]}
    table |= {f"value{number}": [noise.random() for _ in range(rows)] for number in range(4)}
    pa.parquet.write_table(pa.table({name: list(column) for name, column in table.items()}), path)


def _column(home: Path, source: Path, server: Any) -> list[dict[str, Any]]:
    """Read one column of six through fsspec; count the bytes of packs that came."""
    import pyarrow.parquet

    from dataver.fs import DataverFileSystem
    from servers.proxy import FaultyNetwork

    os.environ["DATAVER_CACHE"] = f"{home}/column"
    with FaultyNetwork(server.endpoint, lambda _seen: None) as network:
        options = server.options | {"endpoint_url": network.endpoint}
        fs = DataverFileSystem(repo=server.url("reading"), **options)
        began = time.perf_counter()
        pyarrow.parquet.read_table("set@1.0.0/table.parquet", filesystem=fs, columns=["value2"])
        seconds = time.perf_counter() - began
    frames = sum(
        path.stat().st_blocks * 512 for path in (home / "column" / "frames").rglob("*") if path.is_file()
    )
    whole = (source / "table.parquet").stat().st_size
    note = f"{frames / 1e6:.1f} MB of frames came of a file of {whole / 1e6:.1f} MB"
    return [{"what": "a column of a Parquet file", "seconds": seconds, "size": 0, "note": note}]


if __name__ == "__main__":
    sys.exit(main())
