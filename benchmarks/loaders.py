"""Loaders side by side: `python -m benchmarks.loaders`, one PyTorch DataLoader, the same files in each form.

Makes files of 60 to 160 KB of bytes that do not compress, and keeps them as a folder, a version, tars and MDS
shards, here and in an S3 server that it starts. Each player is a process of its own that goes through all
files: a sample is the length of its bytes, so that nothing but reading is measured, and the lengths must add
up. Near: the second and later epochs, in workers that live. Far: the first epoch with nothing here, workers
started included, behind a set-up that is timed by itself. Players come in turn within each round; who begins
changes. Ratios are medians of the rounds' own ratios.

Every byte that dataver reads from afar is compared with its checksum; the others compare nothing.

Needs torch; webdataset (and curl) and mosaicml-streaming play where they are installed.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dataver
from benchmarks.line import network_line
from benchmarks.machine import machine_facts
from benchmarks.s3 import PLAYERS as CLIENTS
from benchmarks.s3 import Client
from servers.process import Server

_REF = "set@1.0.0"
_RANGE = 8 << 20  # bytes of one range, as `fetch` reads packs
_SHARD = 32 << 20  # bytes of a tar or an MDS shard
_BATCH = 32
_TIMEOUT = 60.0  # seconds of one process

NEAR = {
    "folder, map": "torch",
    "dataver, map, fetched": "dataver",
    "folder, stream": "torch",
    "dataver, stream, fetched": "dataver",
    "dataver, stream, frames here": "dataver",
    "webdataset, tars here": "webdataset",
    "mosaicml-streaming, shards here": "streaming",
}
FAR = {
    "botocore, a file a request": "botocore",
    "obstore, a file a request": "obstore",
    "botocore, ranges of 8 MiB": "botocore",
    "obstore, ranges of 8 MiB": "obstore",
    "dataver, stream, nothing here": "dataver",
    "webdataset, tars by curl": "webdataset",
    "mosaicml-streaming, nothing here": "streaming",
}
"""The players, and the package that each needs."""
LINEAGE = ("dataver, one process, lineage off", "dataver, one process, lineage on")
"""One process without workers, which goes through the files with and without, in turn."""

PAIRS = (
    ("dataver, map, fetched", "folder, map"),
    ("dataver, stream, fetched", "folder, stream"),
    ("dataver, stream, frames here", "folder, stream"),
    ("dataver, stream, fetched", "webdataset, tars here"),
    ("dataver, stream, fetched", "mosaicml-streaming, shards here"),
    *(("dataver, stream, nothing here", name) for name in FAR if not name.startswith("dataver")),
    LINEAGE[::-1],
)


def main() -> int:
    """Measure; print tables and, with --out, write JSON lines."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loaders", description=main.__doc__)
    parser.add_argument("--server", default="seaweedfs", help="of tests/servers")
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=16, help="requests of a plain client, a worker")
    parser.add_argument("--epochs", type=int, default=5, help="of a process that reads what is here")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument(
        "--mbit", type=int, default=None, help="speed of the network, in Mbit/s: needs root and tc"
    )
    parser.add_argument("--only", default="", help="players whose names hold this")
    parser.add_argument("--out", type=Path, default=None, help="JSON lines, appended to")
    parser.add_argument("--play", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.play:
        about = json.loads(Path(os.environ["BENCH_LOADERS"]).read_text())
        print(json.dumps(_play(args.play, about)))
        return 0
    from servers import SERVERS

    with tempfile.TemporaryDirectory(prefix="bench-loaders-") as folder:
        home = Path(folder)
        (home / "server").mkdir()
        os.environ |= {"DATAVER_STATE": f"{home}/state", "DATAVER_LINEAGE": "off"}
        try:
            with SERVERS[args.server](home / "server") as server:
                about = _prepared(home, server, args)
                with network_line(args.mbit, server.endpoint):
                    lines = [*_rounds(home, about, args)]
        finally:
            for path, _, _ in os.walk(home):
                Path(path).chmod(0o755)
        machine = machine_facts(home)
    if args.out is not None:
        with args.out.open("a") as out:
            for found in lines:
                about = {
                    "workers": args.workers,
                    "threads": args.threads,
                    "mbit": args.mbit,
                    "machine": machine,
                }
                print(json.dumps(found | about), file=out)
    print(table(lines))
    return 0


def _rounds(home: Path, about: Mapping[str, Any], args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    file = home / "about.json"
    names = [*(name for name, package in (NEAR | FAR).items() if _there(package)), "lineage"]
    names = [name for name in names if args.only in name]
    for number in range(args.runs):
        for name in [*names[number % len(names) :], *names[: number % len(names)]]:
            cold = home / f"cold-{number}"
            file.write_text(json.dumps(about | {"cold": str(cold)}))
            environment = os.environ | about["environment"] | _cache(name, home, cold)
            try:
                done = subprocess.run(
                    [sys.executable, "-m", "benchmarks.loaders", "--play", name],
                    env=environment | {"BENCH_LOADERS": str(file)},
                    stdout=subprocess.PIPE,
                    text=True,
                    check=True,
                    timeout=_TIMEOUT,
                )
            except subprocess.SubprocessError as error:
                if "dataver" in name or name == "lineage":
                    raise
                print(f"{number} {name:40} failed: {error!r:.60}", file=sys.stderr)  # a result, too
                yield {"player": name, "round": number, "failed": type(error).__name__}
                continue
            finally:
                shutil.rmtree(cold, ignore_errors=True)
            for player, found in json.loads(done.stdout.splitlines()[-1]).items():
                if set(found.pop("sizes")) != {about["size"]}:
                    if "dataver" in player:
                        raise ValueError(f"{player} did not read every byte once")
                    print(f"{number} {player:40} did not read every byte once", file=sys.stderr)
                    yield {"player": player, "round": number, "failed": "bytes are missing or twice"}
                    continue
                print(f"{number} {player:40} {found}", file=sys.stderr)
                yield {"player": player, "round": number, "bytes": about["size"], "files": args.files} | found


def _there(package: str) -> bool:
    found = find_spec(package) is not None
    if not found:
        print(f"the package {package} is not installed", file=sys.stderr)
    return found


def _cache(name: str, home: Path, cold: Path) -> dict[str, str]:
    """Return the cache that a player has."""
    cache = cold if "nothing here" in name else home / ("frames" if "frames here" in name else "fetched")
    return {"DATAVER_CACHE": str(cache)}


def _prepared(home: Path, server: Server, args: argparse.Namespace) -> dict[str, Any]:
    """Make the data in every form, here and far; return where it is."""
    source, noise = home / "source", random.Random(1)
    source.mkdir()
    contents = {
        f"{number:05}.jpg": noise.randbytes(noise.randrange(60_000, 160_000)) for number in range(args.files)
    }
    for path, content in contents.items():
        (source / path).write_bytes(content)
    os.environ["DATAVER_CACHE"] = f"{home}/maker"
    url = server.url("loaders")
    repo = dataver.init(url, storage_options=server.options)
    repo.sync(source, "set", workspace=home / "work")
    for cache in ("fetched", "frames"):
        os.environ["DATAVER_CACHE"] = f"{home}/{cache}"
        again = dataver.open(url, storage_options=server.options)
        if cache == "fetched":
            again.fetch(_REF)
        else:
            files = again.files(_REF)
            for path in contents:
                files.read(path)
    tars = _tars(home / "tars", contents)
    shards = _shards(home / "mds", contents) if find_spec("streaming") else []
    environment = server.environment | {"S3_ENDPOINT_URL": server.endpoint}
    for client in ("botocore", "obstore") if find_spec("obstore") else ("botocore",):
        plain = CLIENTS[client][1](server)
        for path, content in contents.items():
            plain.put(f"plain/{path}", content)
        for path in tars + shards:  # what obstore reads lies below a folder of its own
            plain.put(f"{path.parent.name}/{path.name}", path.read_bytes())
    sizes = {path.name: path.stat().st_size for path in tars}
    return {
        "environment": environment,
        "endpoint": server.endpoint,
        "bucket": server.bucket,
        "url": url,
        "home": str(home),
        "options": dict(server.options),
        "tars": sizes,
        "size": sum(map(len, contents.values())),
        "workers": args.workers,
        "threads": args.threads,
        "epochs": args.epochs,
    }


def _tars(folder: Path, contents: Mapping[str, bytes]) -> list[Path]:
    import io

    folder.mkdir()
    made: list[Path] = []
    archive: tarfile.TarFile | None = None
    for path, content in contents.items():
        if archive is None or made[-1].stat().st_size + len(content) > _SHARD:
            if archive is not None:
                archive.close()
            made.append(folder / f"{len(made):04}.tar")
            archive = tarfile.open(made[-1], "w")  # noqa: SIM115
        about = tarfile.TarInfo(path)
        about.size = len(content)
        archive.addfile(about, io.BytesIO(content))
    if archive is not None:
        archive.close()
    return made


def _shards(folder: Path, contents: Mapping[str, bytes]) -> list[Path]:
    from streaming import MDSWriter

    with MDSWriter(out=str(folder), columns={"data": "bytes"}, size_limit=_SHARD) as writer:
        for content in contents.values():
            writer.write({"data": content})
    return sorted(path for path in folder.iterdir() if path.is_file())


def _play(name: str, about: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Go through the files as one player; in a process of its own."""
    if name == "lineage":
        return _both(about)
    began = time.perf_counter()
    loader = _loader(name, about)
    found: dict[str, Any] = {"ready": time.perf_counter() - began, "epochs": [], "sizes": []}
    for _ in range(about["epochs"] if name in NEAR else 1):
        _epoch(loader, found)
    return {name: found}


def _both(about: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Go through the files with and without noting what is read, in turn."""
    from benchmarks.loaded import length
    from dataver.integrations.torch import FileStream

    found: dict[str, dict[str, Any]] = {}
    streams: dict[str, FileStream] = {}
    with dataver.run("loaders"):
        for name in LINEAGE:
            os.environ["DATAVER_LINEAGE"] = name.rpartition(" ")[2]
            began = time.perf_counter()
            repo = dataver.open(about["url"], storage_options=about["options"])
            streams[name] = FileStream(_REF, decode=length, shuffle=True, repo=repo)
            found[name] = {"ready": time.perf_counter() - began, "epochs": [], "sizes": []}
            _epoch(streams[name], found[name])
        for number in range(6 * about["epochs"]):
            for name in LINEAGE if number % 2 else reversed(LINEAGE):
                _epoch(streams[name], found[name])
    return found


def _epoch(loader: Iterable[int], found: Mapping[str, list[Any]]) -> None:
    began = time.perf_counter()
    found["sizes"].append(sum(loader))
    found["epochs"].append(time.perf_counter() - began)


def _loader(name: str, about: Mapping[str, Any]) -> Iterable[int]:
    from torch.utils.data import DataLoader

    from benchmarks import loaded

    options: dict[str, Any] = {
        "batch_size": _BATCH,
        "num_workers": about["workers"],
        "collate_fn": sum,
        "persistent_workers": True,
    }
    home = Path(about["home"])
    if name.startswith("dataver"):
        from dataver.integrations.torch import FileDataset, FileSampler, FileStream, Loader

        repo = dataver.open(about["url"], storage_options=about["options"])
        if ", map" in name:
            data = FileDataset(_REF, decode=loaded.length, repo=repo)
            return Loader(data, sampler=FileSampler(data, shuffle=True), **options)
        return Loader(FileStream(_REF, decode=loaded.length, shuffle=True, repo=repo), **options)
    if name.startswith("folder"):
        paths = [str(path) for path in sorted((home / "source").iterdir())]
        if name == "folder, map":
            return DataLoader(loaded.Folder(paths), shuffle=True, **options)
        return DataLoader(loaded.FolderStream(paths), **options)
    if name.startswith("webdataset"):
        return DataLoader(loaded.web([_tar(name, home, tar, about) for tar in about["tars"]]), **options)
    if name.startswith("mosaicml"):
        near = name.endswith("shards here")
        remote = None if near else f"s3://{about['bucket']}/mds"
        return loaded.mosaic(remote, home / "mds" if near else Path(about["cold"]), options)
    client, kind = name.split(", ")
    if kind.startswith("ranges"):
        spans = [
            (f"tars/{tar}", start, min(_RANGE, size - start))
            for tar, size in about["tars"].items()
            for start in range(0, size, _RANGE)
        ]
        excess = sum(about["tars"].values()) - about["size"]  # a tar's own bytes, which are no file's
        requests: Sequence[Any] = spans
    else:
        requests, excess = [f"plain/{path.name}" for path in sorted((home / "source").iterdir())], 0
    made: Callable[[], Client] = loaded.Making(client, about["endpoint"], about["bucket"], about["options"])
    return DataLoader(loaded.Requests(made, requests, about["threads"], excess), **options)


def _tar(name: str, home: Path, tar: str, about: Mapping[str, Any]) -> str:
    if name.endswith("here"):
        return str(home / "tars" / tar)
    import botocore.config
    import botocore.session

    client = botocore.session.get_session().create_client(
        "s3",
        endpoint_url=about["endpoint"],
        region_name="us-east-1",
        aws_access_key_id=about["options"]["key"],
        aws_secret_access_key=about["options"]["secret"],
        config=botocore.config.Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    url = client.generate_presigned_url("get_object", {"Bucket": about["bucket"], "Key": f"tars/{tar}"})
    return f"pipe:curl -fsS '{url}'"


def seconds(line: Mapping[str, Any]) -> float:
    """Return the seconds of an epoch: of one with what is here, the median of all but the first."""
    epochs = line["epochs"]
    return float(statistics.median(epochs[1:]) if len(epochs) > 1 else epochs[0])


def table(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return medians and ratios as Markdown."""
    by: dict[str, dict[int, Mapping[str, Any]]] = {}
    failed = Counter(line["player"] for line in lines if "failed" in line)
    for line in lines:
        if "failed" not in line:
            by.setdefault(line["player"], {})[line["round"]] = line
    said = ["| player | set-up, s | first epoch, s | epoch, s | spread | MB/s |", "|---|---|---|---|---|---|"]
    for name, found in by.items():
        times = [seconds(line) for line in found.values()]
        middle, first = (
            statistics.median(times),
            statistics.median(one["epochs"][0] for one in found.values()),
        )
        ready, size = (
            statistics.median(one["ready"] for one in found.values()),
            next(iter(found.values()))["bytes"],
        )
        said.append(
            f"| {name} | {ready:.2f} | {first:.2f} | {middle:.3f} | {min(times):.3f} to {max(times):.3f} |"
            f" {size / middle / 1e6:.0f} |"
        )
    said += ["", "| speed of | beside | median | spread |", "|---|---|---|---|"]
    for one, other in PAIRS:
        ratios = [
            seconds(by[other][number]) / seconds(by[one][number])
            for number in by.get(one, {})
            if number in by.get(other, {})
        ]
        if ratios:
            spread = f"{min(ratios):.0%} to {max(ratios):.0%}"
            said.append(f"| {one} | {other} | {statistics.median(ratios):.1%} | {spread} |")
    said += [f"\n{name} failed in {times} rounds." for name, times in failed.items()]
    return "\n".join(said)


if __name__ == "__main__":
    sys.exit(main())
