"""What commands cost in a long history: requests to a store in memory, and CPU time in a local folder.

    python -m benchmarks.histories [--versions 100,1000,10000] [--only requests|cpu] [--server seaweedfs]

The dataset only grows: each version adds a file of 1,000 bytes, which has a pack of its own, to those of the
version before, moves the tag `nightly` to itself, and has one event of a run that read it. Trees, packs,
records, moves and events are those that the library writes, without its waiting for a disk. Each command has
a newly opened repository and, unless said otherwise, an empty cache. A listing counts as one request for each
1,000 keys. With `--server`, requests are counted at a store on that server.
"""

import argparse
import contextlib
import os
import random
import resource
import secrets
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import md5
from itertools import chain
from pathlib import Path

import dataver
from dataver.errors import StoreError
from dataver.formats.compression import make_compressor
from dataver.formats.config import RepositoryConfig
from dataver.formats.entry import Entry, Extent, Kind
from dataver.formats.event import Event, Link, RunFacts
from dataver.formats.frame import encode_frame, parse_header
from dataver.formats.pack import MAGIC, FooterBuilder
from dataver.formats.record import ParentRef, Record, record_id
from dataver.formats.tag import TagMove
from dataver.hashing import digest
from dataver.repository import RepositoryCore
from dataver.repository.audit import read_audit
from dataver.repository.layout import CONFIG, block_key, copies_key, event_key, pack_key, record_key, tag_key
from dataver.repository.record_copies import ADDED
from dataver.storage import LocalStore, MemoryStore, ObjectInfo, Store, open_store
from dataver.testing.faulty import FaultyStore
from dataver.tree import build, edit
from dataver_cli.commands.log import _history
from servers import SERVERS

NAME = "data/grown"
_PAGE = 1000  # keys of one listing request
_START = datetime(2020, 1, 1, tzinfo=UTC)
_EVENTS = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)


class CountingStore(FaultyStore):
    """Counts requests, and each page of a listing as one."""

    def list(self, prefix: str = "", after: str | None = None) -> Iterator[ObjectInfo]:
        for number, info in enumerate(super().list(prefix, after)):
            if number and number % _PAGE == 0:
                self._note("list", prefix)
            yield info

    def delete_many(
        self, keys: Sequence[str], *, check: Callable[[], None] = lambda: None
    ) -> dict[str, StoreError]:
        for key in keys[:: self.inner.deletes_at_once]:
            self._note("delete", key)
        return self.inner.delete_many(keys, check=check)


class TaggedStore(CountingStore):
    """Counts requests to a store in memory, and lists entity tags as S3 does."""

    inner: MemoryStore

    def list(self, prefix: str = "", after: str | None = None) -> Iterator[ObjectInfo]:
        for info in super().list(prefix, after):
            if (data := self.inner.objects.get(info.key)) is not None:
                yield info._replace(etag=f'"{md5(data, usedforsecurity=False).hexdigest()}"')


class Maker:
    """Makes the objects of a history.

    Attributes:
        objects: the objects by key.
        config: the repository's configuration, which is one of them.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.config = RepositoryConfig(
            id=secrets.token_hex(16), created=_START, write_id=secrets.token_hex(16), create_if_absent=True
        )
        self.objects[CONFIG] = self.config.encode()
        self._noise = random.Random(1)
        self._records: list[bytes] = []
        self._core = RepositoryCore(MemoryStore(strict=False), self.config)
        self._core.cache = None

    def make(self, versions: int, *, grow: bool = True) -> dict[str, bytes]:
        """Return the objects by key; without `grow`, all versions have the content of the first."""
        tree, parent = build((), self._save).digest, None
        for number in range(versions):
            if grow or not number:
                entry = self._file(f"part-{number:06d}.bin")
                root = edit(tree, [(entry.path, entry)], self._load, self._save, lambda _digest: True)
            record = Record(
                dataset=NAME,
                label=f"1.0.{number}",
                tree=root.digest,
                parents=() if parent is None else (parent,),
                created=_START + timedelta(minutes=number),
                author="benchmark",
                message=f"part {number}",
                files=root.files,
                size=root.size,
                entries=root.entries,
                tool="benchmark",
                write_id=self._noise.randbytes(16).hex(),
            )
            data = record.encode()
            name, tree = record_id(data).hex(), root.digest
            self.objects[record_key(NAME, record.label)] = data
            self._copy(data)
            parent = ParentRef(NAME, record.label, name, tree.hex())
            self._note(number, record, name)
        return self.objects

    def _copy(self, record: bytes) -> None:
        """Make copies of the last records, as often as an upload would."""
        self._records.append(record)
        if len(self._records) == ADDED:
            content = b"".join(each + b"\n" for each in self._records)
            self.objects[copies_key(NAME, digest(content).hex())] = make_compressor(9)(content)
            self._records.clear()

    def _note(self, number: int, record: Record, name: str) -> None:
        write_id = self._noise.randbytes(16).hex()
        move = TagMove(
            number=number + 1,
            tag="nightly",
            dataset=NAME,
            record=name,
            label=record.label,
            created=record.created,
            author="benchmark",
            write_id=write_id,
        )
        self.objects[tag_key(NAME, "nightly", number + 1)] = move.encode()
        written = _EVENTS + number
        link = Link("input", NAME, record.tree.hex(), record.created, "fetch", record.label, name)
        process = self._noise.randbytes(16).hex()
        run = RunFacts(key=f"dataver:{process}", process=process, sequence=1, started=record.created)
        event = Event(
            f"{written:012x}{self._noise.randbytes(10).hex()}", record.created, "benchmark", run, (link,)
        )
        self.objects[event_key(event.id)] = event.encode()

    def _file(self, path: str) -> Entry:
        """Return an entry whose content is in a pack of its own."""
        data = self._noise.randbytes(1000)
        head, stored = encode_frame(data, [len(data)], None)
        header, name = parse_header(head), digest(data)
        footer = FooterBuilder()
        footer.add_frame(header.checksum, header.stored_length, header.raw_length, [len(data)], name)
        pack, tail = footer.encode()
        self.objects[pack_key(pack)] = b"".join((MAGIC, head, stored, tail))
        extent = Extent(pack, len(MAGIC), len(head) + len(stored), 0, len(data))
        return Entry(path, Kind.FILE, len(data), name, "", (extent,))

    def _save(self, block: object) -> None:
        key = block_key(block.digest)  # type: ignore[attr-defined]
        self.objects[key] = block.data  # type: ignore[attr-defined]
        self._core.store.put(key, self.objects[key])

    def _load(self, name: bytes) -> object:
        return self._core.blocks.load(name)


class _World:
    """A repository with a history, and the folders of this machine."""

    def __init__(self, root: Path, store: Store, config: RepositoryConfig, versions: int) -> None:
        self.root, self.store, self.config, self.versions = root, store, config, versions
        self.last = versions - 1
        self.counts: Counter[str] = Counter()
        os.environ["DATAVER_STATE"] = str(root / "state")

    def open(self) -> dataver.Repository:
        kind = TaggedStore if isinstance(self.store, MemoryStore) else CountingStore
        self.counted = kind(self.store)
        return dataver.Repository(RepositoryCore(self.counted, self.config), self.store.url)

    def cache(self, name: str = "") -> None:
        """Use a named cache, or an empty one."""
        os.environ["DATAVER_CACHE"] = str(self.root / f"cache-{name or secrets.token_hex(4)}")

    def ref(self, number: int) -> str:
        return f"{NAME}@1.0.{number}"


_Command = tuple[str, Callable[[dataver.Repository], object]]


def _commands_on_names(world: _World) -> Iterator[_Command]:
    """Yield the commands that need no data of versions."""
    last, middle = world.last, world.last // 2
    yield "log NAME", lambda repo: _history(repo, NAME)
    yield "log NAME@LABEL", lambda repo: _history(repo, world.ref(last))
    yield "log NAME@LABEL -n 5", lambda repo: _history(repo, world.ref(last), 5)
    yield "list NAME", lambda repo: (repo.versions(NAME), repo.tagged(NAME))
    yield "show NAME@LABEL", lambda repo: repo.version(world.ref(middle))
    yield "show NAME@TAG", lambda repo: repo.version(f"{NAME}@nightly")
    yield "show NAME (latest)", lambda repo: repo.version(NAME)
    yield "tag moved", lambda repo: repo.tag(world.ref(last), "nightly")
    yield "create with 50 parents", lambda repo: _merge(world, repo, 50)
    yield "delete of a version", lambda repo: repo.delete(world.ref(middle))
    yield "delete of a version, its plan", lambda repo: repo.plan_delete(world.ref(middle + 1))
    yield "plan_gc", lambda repo: repo.plan_gc()
    yield "audit", lambda repo: read_audit(repo._core)
    yield "lineage sync", lambda repo: repo.lineage.sync()
    yield "lineage compact", lambda repo: repo.lineage.compact()


def _commands(world: _World) -> Iterator[_Command]:
    """Yield the other commands in order; what they need is prepared before each is yielded."""
    last = world.last
    yield "fetch, empty cache", lambda repo: repo.fetch(world.ref(last))
    world.cache("warm")
    world.open().fetch(world.ref(last - 1))
    yield "fetch, the version before is cached", lambda repo: repo.fetch(world.ref(last))
    world.cache()
    source = world.root / "source"
    world.open().fetch(NAME, dest=source)
    (source / "new.bin").write_bytes(os.urandom(1000))
    yield "sync of one new file", lambda repo: repo.sync(source, NAME, workspace=world.root / "work")
    yield "plan_repack", lambda repo: repo.plan_repack()
    yield "repack", lambda repo: repo.repack()
    world.cache()
    yield "fetch, empty cache, after repack", lambda repo: repo.fetch(world.ref(last))
    (source / "newer.bin").write_bytes(os.urandom(1000))
    yield (
        "sync of one new file, after repack",
        lambda repo: repo.sync(source, NAME, workspace=world.root / "work"),
    )


def _merge(world: _World, repo: dataver.Repository, count: int) -> None:
    step = max(1, world.versions // count)
    parents = [world.ref(number) for number in range(0, world.versions, step)][:count]
    repo.create("data/merged", parents=parents, workspace=world.root / "merge").discard()


def _measure(world: _World, *, names: bool) -> Iterator[tuple[str, int, float, Counter[str]]]:
    """Yield the name, requests, CPU seconds, and requests by kind of each command."""
    for name, run in chain(_commands_on_names(world), () if names else _commands(world)):
        if name != "fetch, the version before is cached":
            world.cache()
        repo = world.open()
        began = _cpu()
        run(repo)
        spent = _cpu() - began
        kinds = Counter(f"{each.method} {each.key.partition('/')[0]}" for each in world.counted.requests)
        yield name, len(world.counted.requests), spent, kinds


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _write(objects: dict[str, bytes], root: Path) -> None:
    for key, data in objects.items():
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


@contextlib.contextmanager
def _store(kind: str, objects: dict[str, bytes], root: Path) -> Iterator[Store]:
    """Yield a store that contains the objects."""
    if kind == "memory":
        memory = MemoryStore(strict=False)
        for key, data in objects.items():
            memory.put(key, data)
        yield memory
    elif kind == "local":
        _write(objects, root / "repo")
        yield LocalStore(root / "repo")
    else:
        (root / "server").mkdir()
        with SERVERS[kind](root / "server") as server:
            store = open_store(server.url("histories"), server.options)
            store.exclusive_create = True
            with ThreadPoolExecutor(16) as pool:
                list(pool.map(lambda item: store.put(*item), objects.items()))
            yield store


def measure(kinds: Sequence[str], sizes: Sequence[int], *, names: bool, details: bool) -> None:
    """Print a table for each kind of store."""
    tables: dict[str, dict[str, list[str]]] = {kind: {} for kind in kinds}
    for versions in sizes:
        maker = Maker()
        objects = maker.make(versions, grow=not names)
        for kind in kinds:
            root = Path(tempfile.mkdtemp(prefix="histories-"))
            try:
                with _store(kind, objects, root) as store:
                    world = _World(root, store, maker.config, versions)
                    for name, requests, spent, seen in _measure(world, names=names):
                        cell = f"{spent:.2f}" if kind == "local" else f"{requests:,}"
                        tables[kind].setdefault(name, []).append(cell)
                        if details:
                            print(
                                f"{kind} {versions} {name}: {requests} {spent:.2f} s {dict(seen)}", flush=True
                            )
            finally:
                _remove(root)
    for kind, table in tables.items():
        unit = "CPU seconds, local folder" if kind == "local" else f"requests, {kind}"
        print(f"\n| {unit} | {' | '.join(f'{each:,}' for each in sizes)} |")
        print("|---" * (len(sizes) + 1) + "|")
        for name, cells in table.items():
            print(f"| {name} | {' | '.join(cells)} |")


def _remove(folder: Path) -> None:
    for path, _, _ in os.walk(folder):
        os.chmod(path, 0o755)
    shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.histories", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--versions", default="100,1000,10000")
    parser.add_argument("--only", choices=("requests", "cpu"))
    parser.add_argument("--server", choices=list(SERVERS), help="count requests to this server instead")
    parser.add_argument(
        "--names", action="store_true", help="only commands on names: all versions have the same content"
    )
    parser.add_argument("--details", action="store_true", help="print the requests by kind")
    args = parser.parse_args()
    os.environ |= {"DATAVER_LINEAGE": "off", "DATAVER_CACHE_SIZE": "unlimited"}
    sizes = [int(each) for each in args.versions.split(",")]
    kinds = {"requests": ["memory"], "cpu": ["local"], None: ["memory", "local"]}[args.only]
    measure([args.server] if args.server else kinds, sizes, names=args.names, details=args.details)


if __name__ == "__main__":
    main()
