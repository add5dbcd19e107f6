"""How fast do versions travel: `python -m benchmarks.s3_versions`, dataver and plain clients, the same bytes.

A sealed draft is uploaded; plain clients send the very packs of its spool, read from disk as they are. The
version is fetched into an empty cache; plain clients read the packs of that repository in ranges of the same
length and write them to files (who reads a pack first waits for more, so each player begins a round).
Repository and clients are open already: one of botocore takes 0.1 to 0.2 s to make. So dataver does more (it
asks what is there, publishes a record, checks every frame and every file), and the plain clients are what the
network, the server and this machine can do. Server and client share the machine's cores, and its network with
itself is faster than any: `--mbit` makes it one that a machine has.

All use as many threads as dataver does. Players take turns within each round; the tables give medians.
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

import dataver
from benchmarks.line import network_line
from benchmarks.machine import machine_facts
from benchmarks.s3 import PLAYERS, Client, Figure, cpu_of, installed
from dataver.parallel import RANGES
from dataver.repository.layout import pack_key
from servers import SERVERS, USUAL, Server

_RANGE = 8 << 20  # bytes of one range, as `fetch` reads packs (dataver.repository.frame_reader.MAX_RANGE)
_SENDERS = 4  # packs on their way at once (dataver.ingest.upload)
_PLAIN = ("botocore", "botocore unsigned", "obstore", "obstore unsigned", "s3fs")


def main() -> int:
    """Measure, print tables, and write a JSON line a measurement."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.s3_versions", description=main.__doc__)
    parser.add_argument("--servers", default=",".join(USUAL), help="of " + ", ".join(SERVERS))
    parser.add_argument("--plain", default=",".join(_PLAIN), help="of " + ", ".join(PLAYERS))
    parser.add_argument("--size", type=int, default=256, help="MiB of the version; it does not compress")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument(
        "--mbit", type=int, default=None, help="speed of the network, in Mbit/s: needs root and tc"
    )
    parser.add_argument("--out", type=Path, default=None, help="JSON lines, appended to")
    args = parser.parse_args()
    os.environ["DATAVER_LINEAGE"] = "off"
    facts = machine_facts(Path(tempfile.gettempdir()))
    for name in args.servers.split(","):
        with (
            tempfile.TemporaryDirectory(prefix="bench-s3-") as work,
            SERVERS[name](Path(work)) as server,
            network_line(args.mbit, server.endpoint),
        ):
            bench = _Bench(server, Path(work) / "bench", args.size << 20)
            figures: dict[tuple[str, str], list[Figure]] = {}
            players = [
                ("dataver", None),
                *((one, make(server)) for one, make in installed(args.plain.split(","))),
            ]
            for number in range(args.runs):
                turn = players[number % len(players) :] + players[: number % len(players)]
                bench.prepare(number)
                for job in (bench.upload, bench.fetch):
                    for player, client in turn:
                        try:
                            figure = job(player, client)
                            figures.setdefault((job.__name__, player), []).append(figure)
                        except Exception as error:
                            if client is None:
                                raise
                            # that a plain client cannot is a result
                            print(f"{player}, {job.__name__}: {error!r:.200}", file=sys.stderr)
                bench.clear()
        told = name if args.mbit is None else f"{name}, {args.mbit} Mbit/s"
        print(_table(told, figures, args.size << 20))
        if args.out is not None:
            with args.out.open("a") as out:
                for (job_name, player), found in figures.items():
                    about = {"server": name, "job": job_name, "player": player, "machine": facts}
                    about["mbit"] = args.mbit
                    print(json.dumps(about | {"size": args.size << 20, "figures": found}), file=out)
    return 0


class _Bench:
    """One server, one dataset, and what each round makes of it."""

    def __init__(self, server: Server, work: Path, size: int) -> None:
        self.server, self.work, self.size = server, work, size
        self.source = work / "source"
        self.source.mkdir(parents=True)
        noise, left, number = random.Random(3), size, 0
        while left:
            length = min(left, (24 << 20) if number % 50 == 0 else (1 << 20))
            (self.source / f"{number:05d}").write_bytes(noise.randbytes(length))
            left, number = left - length, number + 1

    def prepare(self, number: int) -> None:
        """Make a repository of this round, and a sealed draft; keep its packs for the others."""
        self.where = f"round-{number}/repository"
        self.url = self.server.url(self.where)
        self.repo = dataver.init(self.url, storage_options=self.server.options)
        self.draft = self.repo.create("d", workspace=self.work / "workspace")
        self.draft.add(self.source)
        self.draft.finalize()
        self.packs = self.work / "packs"
        self.packs.mkdir()
        for path in (self.work / "workspace").rglob("packs/*"):
            (self.packs / path.name).hardlink_to(path)
        self.names = [(path.name, path.stat().st_size) for path in sorted(self.packs.iterdir())]

    def upload(self, player: str, client: Client | None) -> Figure:
        """Publish the draft, or send its packs plainly."""
        if client is None:
            return self._timed(self.draft.upload)

        def send(name: str, _: int) -> None:
            client.put(f"{player}/{name}", (self.packs / name).read_bytes())

        return self._timed(lambda: _side_by_side(send, self.names, _SENDERS))

    def fetch(self, _: str, client: Client | None) -> Figure:
        """Fetch the version into an empty cache, or its packs plainly into files."""
        target = self.work / "fetched"
        target.mkdir()
        try:
            if client is None:
                os.environ["DATAVER_CACHE"] = str(target)
                repo = dataver.open(self.url, storage_options=self.server.options)
                found = self._timed(lambda: repo.fetch("d"))
                for path, _, _ in os.walk(target):
                    os.chmod(path, 0o700)
                return found
            files = {name: os.open(target / name, os.O_WRONLY | os.O_CREAT) for name, _ in self.names}
            ranges = [(name, start) for name, size in self.names for start in range(0, size, _RANGE)]
            sizes = dict(self.names)

            def read(name: str, start: int) -> None:
                key = f"{self.where}/{pack_key(bytes.fromhex(name))}"
                data = client.part(key, start, min(_RANGE, sizes[name] - start))
                os.pwrite(files[name], data, start)

            found = self._timed(lambda: _side_by_side(read, ranges, RANGES))
            for fd in files.values():
                os.close(fd)
            return found
        finally:
            shutil.rmtree(target)
            os.environ.pop("DATAVER_CACHE", None)

    def clear(self) -> None:
        """Remove what the round left, here and there."""
        for info in list(self.repo._core.store.list()):
            self.repo._core.store.delete(info.key)
        shutil.rmtree(self.packs)
        shutil.rmtree(self.work / "workspace")

    def _timed(self, job: Callable[[], object]) -> Figure:
        theirs, ours, began = cpu_of(self.server.process), time.process_time(), time.perf_counter()
        job()
        wall, client = time.perf_counter() - began, time.process_time() - ours
        return Figure(wall, client, cpu_of(self.server.process) - theirs)


def _side_by_side(job: Callable[[str, int], None], items: Sequence[tuple[str, int]], threads: int) -> None:
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(job, *item) for item in items]:
            done.result()


def _table(name: str, figures: dict[tuple[str, str], list[Figure]], size: int) -> str:
    lines = [
        f"\n## {name}: versions\n",
        "| job | player | median s | spread | MB/s | of the best plain | client CPU s |",
        "|---|---|---|---|---|---|---|",
    ]
    medians = {key: statistics.median(figure.wall for figure in found) for key, found in figures.items()}
    for (job, player), found in sorted(figures.items(), key=lambda item: item[0][0], reverse=True):
        wall = medians[job, player]
        best = min(each for (other, one), each in medians.items() if other == job and one != "dataver")
        walls = [figure.wall for figure in found]
        cpu = statistics.median(figure.client for figure in found)
        cells = [job, player, f"{wall:.2f}", f"{min(walls):.2f} to {max(walls):.2f}"]
        cells += [f"{size / wall / 1e6:.0f}", f"{best / wall:.0%}", f"{cpu:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
