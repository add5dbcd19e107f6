"""How fast is S3: `python -m benchmarks.s3` packs and small objects, dataver's store and plain clients.

Each server is started here. All players move the same bytes with the same number of threads, in turn within
each round, so that a busy minute meets all of them; the tables give medians. Counted besides: CPU time of
client and server, and requests per object, in an untimed round through a proxy. The plain clients are those
that are installed: s3fs and botocore are dataver's own dependencies, obstore is not.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.machine import machine_facts
from dataver.storage.s3 import S3Store
from dataver.storage.s3_transport import ByLoop, Transport, connect
from servers import SERVERS, USUAL, Server
from servers.proxy import FaultyNetwork

_SMALL = 4096  # bytes of a small object
_RANGE = 8 << 20  # bytes of one range, as `fetch` reads packs (dataver.repository.frame_reader.MAX_RANGE)
_JOBS = ("PUT packs", "GET packs", "range packs", "PUT small", "GET small")
_TICK = os.sysconf("SC_CLK_TCK")


class Client(NamedTuple):
    """One player: how it writes, reads and reads a range of an object."""

    put: Callable[[str, bytes], Any]
    get: Callable[[str], Any]
    part: Callable[[str, int, int], Any]


class Figure(NamedTuple):
    """One measurement: seconds by the clock, and CPU seconds of client and server."""

    wall: float
    client: float
    server: float


def main() -> int:
    """Measure, print tables, and write a JSON line a measurement."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.s3", description=main.__doc__)
    parser.add_argument("--servers", default=",".join(USUAL), help="of " + ", ".join(SERVERS))
    parser.add_argument("--players", default=",".join(PLAYERS), help="of " + ", ".join(PLAYERS))
    parser.add_argument("--packs", default="16,32,64,64", help="MiB of each pack, separated by commas")
    parser.add_argument("--small", type=int, default=1000, help=f"objects of {_SMALL} bytes")
    parser.add_argument("--threads", type=int, default=4, help="objects on their way at once")
    parser.add_argument("--jobs", default=",".join(_JOBS), help="of " + ", ".join(_JOBS))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path, default=None, help="JSON lines, appended to")
    args = parser.parse_args()
    packs = [os.urandom(int(float(size) * (1 << 20))) for size in args.packs.split(",")]
    small = [os.urandom(_SMALL) for _ in range(args.small)]
    machine = machine_facts(Path(tempfile.gettempdir()))
    for name in args.servers.split(","):
        with tempfile.TemporaryDirectory(prefix="bench-s3-") as folder, SERVERS[name](Path(folder)) as server:
            players = {one: make(server) for one, make in installed(args.players.split(","))}
            figures: dict[tuple[str, str], list[Figure]] = {}
            for number in range(args.runs):
                bodies = {"packs": packs, "small": small}
                for job, player, figure in _round(server, players, bodies, args.jobs, args.threads, number):
                    figures.setdefault((job, player), []).append(figure)
            requests = _requests(server, list(players))
        print(_table(name, figures, requests, packs, small))
        if args.out is not None:
            with args.out.open("a") as out:
                for (job, player), found in figures.items():
                    line = {"server": name, "job": job, "player": player, "machine": machine}
                    line |= {"packs": args.packs, "threads": args.threads, "figures": found}
                    print(json.dumps(line), file=out)
    return 0


def _round(
    server: Server,
    players: Mapping[str, Client],
    kinds: Mapping[str, Sequence[bytes]],
    jobs: str,
    threads: int,
    number: int,
) -> Iterator[tuple[str, str, Figure]]:
    """Yield what every player needed for every job; who begins changes from round to round."""
    names = list(players)
    names = names[number % len(names) :] + names[: number % len(names)]
    for kind, bodies in kinds.items():
        spans = [
            (at, start, min(_RANGE, len(body) - start))
            for at, body in enumerate(bodies)
            for start in range(0, len(body), _RANGE)
        ]
        for job in ("PUT", "GET", "range"):
            if f"{job} {kind}" not in jobs.split(","):
                continue
            for name in names:
                client = players[name]
                keys = [f"{name}/{kind}/{at}" for at in range(len(bodies))]
                if job == "PUT":
                    work = [(client.put, (key, body)) for key, body in zip(keys, bodies, strict=True)]
                elif job == "GET":
                    work = [(client.get, (key,)) for key in keys]
                else:
                    work = [(client.part, (keys[at], start, length)) for at, start, length in spans]
                try:
                    figure, lengths = _timed(server, work, threads)
                except Exception as error:  # noqa: BLE001 - that a client cannot is a result
                    print(f"{name}, {job} {kind}: {error!r:.200}", file=sys.stderr)
                    continue
                if job != "PUT" and sum(lengths) != sum(map(len, bodies)):
                    raise ValueError(f"{name} read {sum(lengths)} bytes of {sum(map(len, bodies))}")
                yield f"{job} {kind}", name, figure


def _timed(
    server: Server, work: Sequence[tuple[Callable[..., Any], tuple[Any, ...]]], threads: int
) -> tuple[Figure, list[int]]:
    def one(item: tuple[Callable[..., Any], tuple[Any, ...]]) -> int:
        call, words = item
        found = call(*words)
        return len(found) if hasattr(found, "__len__") else 0

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(time.sleep, [0.01] * threads))  # the threads are there before the clock runs
        theirs, ours, began = cpu_of(server.process), time.process_time(), time.perf_counter()
        lengths = list(pool.map(one, work))
        wall, client = time.perf_counter() - began, time.process_time() - ours
    return Figure(wall, client, cpu_of(server.process) - theirs), lengths


def cpu_of(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def _requests(server: Server, players: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return requests per object, by job and player, as a proxy counts them."""
    found: dict[str, dict[str, float]] = {}
    body, keys = bytes(1 << 20), [f"counted/{number}" for number in range(4)]
    with FaultyNetwork(server.endpoint, lambda _seen: None) as network:
        options = server.options | {"endpoint_url": network.endpoint}
        near = replace(server, endpoint=network.endpoint, options=options)
        for name, make in installed(players):
            client = make(near)
            client.put("counted/first", body)  # what is asked once, such as where the bucket is
            for job, use in (
                ("PUT packs", lambda key, client=client: client.put(key, body)),
                ("GET packs", lambda key, client=client: client.get(key)),
                ("range packs", lambda key, client=client: client.part(key, 5, 100)),
            ):
                before = len(network.seen)
                try:
                    for key in keys:
                        use(key)
                except Exception as error:  # noqa: BLE001 - a client that cannot is a result
                    print(f"{name}, {job}: {error!r:.200}", file=sys.stderr)
                    continue
                found.setdefault(job, {})[name] = (len(network.seen) - before) / len(keys)
    return found


def _table(
    name: str,
    figures: Mapping[tuple[str, str], Sequence[Figure]],
    requests: Mapping[str, Mapping[str, float]],
    packs: Sequence[bytes],
    small: Sequence[bytes],
) -> str:
    lines = [
        f"\n## {name}\n",
        "| job | player | median s | spread | rate | client CPU s | server CPU s | requests |",
    ]
    lines.append("|---|---|---|---|---|---|---|---|")
    for (job, player), found in sorted(figures.items(), key=lambda item: item[0][0]):
        walls = [figure.wall for figure in found]
        wall = statistics.median(walls)
        many = job.endswith("small")
        rate = f"{len(small) / wall:.0f}/s" if many else f"{sum(map(len, packs)) / wall / 1e6:.0f} MB/s"
        cpu = [statistics.median(figure[at] for figure in found) for at in (1, 2)]
        asked = requests.get(job, {}).get(player)
        counted = "" if asked is None else f"{asked:g}"
        spread = f"{min(walls):.2f} to {max(walls):.2f}"
        lines.append(
            f"| {job} | {player} | {wall:.2f} | {spread} | {rate} | {cpu[0]:.2f} | {cpu[1]:.2f} | {counted} |"
        )
    return "\n".join(lines)


def installed(names: Sequence[str]) -> Iterator[tuple[str, Callable[[Server], Client]]]:
    for name in names:
        package, make = PLAYERS[name]
        if find_spec(package) is None:
            print(f"{name}: the package {package} is not installed", file=sys.stderr)
        else:
            yield name, make


def _dataver(server: Server, connecting: Callable[[Mapping[str, Any]], Transport] = connect) -> Client:
    store = S3Store(f"{server.bucket}/{connecting.__name__}", server.options, connecting=connecting)
    return Client(store.put, store.get, store.get)


def _s3fs(server: Server) -> Client:
    import s3fs

    options = server.options | {"config_kwargs": _WHERE_REQUIRED, "use_listings_cache": False}
    system = s3fs.S3FileSystem(**options, skip_instance_cache=True)
    root = server.bucket
    return Client(
        lambda key, body: system.pipe_file(f"{root}/{key}", body),
        lambda key: system.cat_file(f"{root}/{key}"),
        lambda key, start, length: system.cat_file(f"{root}/{key}", start=start, end=start + length),
    )


def _botocore(server: Server, **s3: bool) -> Client:
    import botocore.config
    import botocore.session

    config = botocore.config.Config(**_WHERE_REQUIRED, max_pool_connections=32, s3=s3 or None)
    client = botocore.session.get_session().create_client(
        "s3",
        endpoint_url=server.endpoint,
        region_name="us-east-1",
        aws_access_key_id=server.options["key"],
        aws_secret_access_key=server.options["secret"],
        config=config,
    )
    where = {"Bucket": server.bucket}
    return Client(
        lambda key, body: client.put_object(**where, Key=key, Body=body),
        lambda key: client.get_object(**where, Key=key)["Body"].read(),
        lambda key, start, length: client.get_object(
            **where, Key=key, Range=f"bytes={start}-{start + length - 1}"
        )["Body"].read(),
    )


def _obstore(server: Server, **config: Any) -> Client:
    import obstore.store

    store = obstore.store.S3Store(
        server.bucket,
        endpoint=server.endpoint,
        access_key_id=server.options["key"],
        secret_access_key=server.options["secret"],
        region="us-east-1",
        client_options={"allow_http": True},
        **config,
    )
    return Client(
        lambda key, body: store.put(key, body, use_multipart=False),
        lambda key: store.get(key).bytes(),
        lambda key, start, length: store.get_range(key, start=start, length=length),
    )


_WHERE_REQUIRED = {
    "request_checksum_calculation": "when_required",  # others than AWS refuse or get the newer ones wrong
    "response_checksum_validation": "when_required",
}

PLAYERS: dict[str, tuple[str, Callable[[Server], Client]]] = {
    "dataver": ("dataver", _dataver),
    "dataver by s3fs": ("dataver", lambda server: _dataver(server, ByLoop)),
    "s3fs": ("s3fs", _s3fs),
    "botocore": ("botocore", _botocore),
    "botocore unsigned": ("botocore", lambda server: _botocore(server, payload_signing_enabled=False)),
    "obstore": ("obstore", _obstore),
    "obstore unsigned": ("obstore", lambda server: _obstore(server, unsigned_payload=True)),
}
"""Players by name: the package they need and what makes them; unsigned leaves out the SHA-256 of the body."""


if __name__ == "__main__":
    sys.exit(main())
