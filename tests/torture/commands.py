"""Commands in two repositories, in memory or on a server, and what must hold after a disturbed command.

No version is lost, none is unknown, and all are whole. A command that ended did its work, and the same
command with a store that works does it.
"""

import os
import random
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple, Protocol

import pytest

import dataver
from dataver.errors import Conflict, DataverError, NotFound
from dataver.formats.config import RepositoryConfig
from dataver.formats.event import Event, RunFacts
from dataver.hashing import ChunkingParameters
from dataver.lineage.index.index import LineageIndex
from dataver.lineage.index.pull import pull
from dataver.lineage.record.sender import send
from dataver.repository import RepositoryCore as Core
from dataver.repository import create_once, holds
from dataver.repository.layout import CONFIG
from dataver.repository.publish import publish
from dataver.storage import MemoryStore, Store
from dataver.storage.retry import retry

__all__ = [
    "CASES",
    "NAMES",
    "Case",
    "Ends",
    "InMemory",
    "Place",
    "World",
    "ends_of",
    "own_folder",
    "prepare",
    "tried",
]

NAMES = ("here", "far")
NOW = datetime(2026, 11, 5, tzinfo=UTC)
EVENT = Event(
    id="019aa1b2c3d4" + "0" * 20,
    written=NOW,
    tool="dataver 0.1",
    run=RunFacts(key="slurm:7", process="6" * 32, sequence=0, started=NOW, facts={"packages": "named"}),
)


class Place(Protocol):
    """Where a repository is kept."""

    store: Store

    def objects(self) -> dict[str, bytes]:
        """Return what is there."""

    def replace(self, objects: Mapping[str, bytes]) -> None:
        """Keep these objects and no other."""


class InMemory:
    """A place in memory, which enforces that no published object changes."""

    def __init__(self, name: str) -> None:
        self.store = MemoryStore(name)

    def objects(self) -> dict[str, bytes]:
        """See `Place.objects`."""
        return dict(self.store.objects)

    def replace(self, objects: Mapping[str, bytes]) -> None:
        """See `Place.replace`."""
        self.store.objects.clear()
        self.store.objects.update(objects)


@contextmanager
def own_folder(root: Path) -> Iterator[None]:
    """Work in a folder, and wait neither for other processes nor for a store."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for module in (holds, create_once, sys.modules[publish.__module__]):
            patch.setattr(module, "PATIENCE", 0.0)  # of writers that meet what they left themselves
        patch.setattr(sys.modules[retry.__module__], "FIRST_PAUSE", 0.001)
        patch.setenv("DATAVER_LINEAGE", "off")
        patch.setenv("DATAVER_STATE", str(root / "state"))
        patch.setenv("HOME", str(root))
        patch.setenv("DATAVER_AUTHOR", "ana")
        yield


class World:
    """Two repositories, one with history and an open draft, and the folder of the draft.

    Args:
        root: an empty folder.
        places: where the repositories are kept, by name; they are made in memory and then moved there.
        exclusive: whether the places honour create-if-absent.
    """

    def __init__(self, root: Path, places: Mapping[str, Place], *, exclusive: bool = True) -> None:
        self.root, self.work, noise = root / "now", root / "now" / "work", random.Random(3)
        self.work.mkdir(parents=True)
        self.places: Mapping[str, Place] = {name: InMemory(name) for name in NAMES}
        self.configs = {
            name: RepositoryConfig(
                id=number * 32,
                created=NOW,
                write_id=number * 32,
                create_if_absent=exclusive,
                chunking=ChunkingParameters.for_average(1024),
            )
            for name, number in zip(NAMES, "12", strict=True)
        }
        for name, place in self.places.items():
            place.store.put(CONFIG, self.configs[name].encode())
        source = self.work / "source"
        source.mkdir()
        repo = self.open("here")
        for number in range(5):
            (source / f"{number}").write_bytes(noise.randbytes(1500))
        for _ in range(2):
            (source / "0").write_bytes(noise.randbytes(1500))
            repo.sync(source, "d", workspace=root)
        repo.tag("d@1.0.0", "prod")
        (source / "gone").write_bytes(noise.randbytes(9000))
        (source / "kept").write_bytes(noise.randbytes(3000))
        repo.sync(source, "e", workspace=root)
        (source / "gone").unlink()
        repo.sync(source, "e", workspace=root)
        repo.delete("e@1.0.0")
        (source / "new").write_bytes(noise.randbytes(2000))
        far = self.open("far")
        far.sync(source, "f", workspace=root)
        draft = repo.create("d", parents=["d@1.0.1"], workspace=self.work)
        draft.add(source / "new")
        self._objects = {name: place.objects() for name, place in self.places.items()}
        self._root, self._verified = root, dict[tuple[str, frozenset[tuple[str, bytes]]], dict[str, str]]()
        self.places = places
        shutil.copytree(self.work, root / "kept")

    def open(self, name: str, store: Store | None = None) -> dataver.Repository:
        """Open a repository as another machine would, perhaps through another store."""
        os.environ["DATAVER_CACHE"] = str(self.root / f"cache-{time.monotonic_ns()}")
        store = store or self.places[name].store
        store.exclusive_create = self.configs[name].create_if_absent
        return dataver.Repository(Core(store, self.configs[name]), f"memory:{name}")

    def restore(self) -> None:
        """Bring back the state of the beginning."""
        for name, place in self.places.items():
            place.replace(self._objects[name])
        shutil.rmtree(self.root)
        self.root.mkdir()
        shutil.copytree(self._root / "kept", self.work)

    def versions(self) -> dict[str, str]:
        """Return the digest of each version of both repositories; a copy of each is read whole and right."""
        found = {}
        for name, place in self.places.items():
            objects = place.objects()
            state = name, frozenset(objects.items())
            if state not in self._verified:
                self._verified[state] = self._whole(name, objects)
            found |= self._verified[state]
        return found

    def _whole(self, name: str, objects: Mapping[str, bytes]) -> dict[str, str]:
        copy = InMemory(name)
        copy.replace(objects)
        repo = self.open(name, copy.store)
        found = {}
        for summary in repo.datasets():
            for version in repo.versions(summary.name):
                assert repo.verify(version.ref).findings == [], version.ref
                found[f"{name} {version.ref}"] = version.digest
        return found

    def draft(self, repo: dataver.Repository) -> dataver.Draft:
        """Return the open draft."""
        return repo.draft(workspace=self.work)


class Case(NamedTuple):
    """A command.

    Attributes:
        run: does it, with the disturbed repository; told the world.
        before: goes before it, with a store that works.
        lies: the repository whose store is disturbed.
        done: errors by which its repetition may say that all was done.
        removes: versions that it removes.
    """

    run: Callable[[World, dataver.Repository], object]
    before: Callable[[World, dataver.Repository], object] = lambda _world, _repo: None
    lies: str = "here"
    done: tuple[type[DataverError], ...] = ()
    removes: frozenset[str] = frozenset()


def _add(world: World, repo: dataver.Repository) -> object:
    report = world.draft(repo).add(world.work / "source", dest="more")
    return report.files, report.problems


def _fetch(world: World, repo: dataver.Repository) -> object:
    repo.fetch("d@1.0.1", dest=world.root / "out")
    return {path.name: path.read_bytes() for path in (world.root / "out").iterdir()}


def _verify(_world: World, repo: dataver.Repository, ref: str | None = "d@1.0.1") -> None:
    report = repo.verify(ref)
    if not report.ok:
        raise NotFound(f"findings: {report.findings}")


def moved(report):
    if report.problems:
        raise NotFound(f"problems: {report.problems}")
    return len(report.versions) + report.there


def _lineage(world: World, repo: dataver.Repository) -> object:
    with LineageIndex.open("name", world.root / "index.sqlite") as index:
        send(repo._core, [EVENT], {})
        report = pull(repo._core, index)
        if report.problems:
            raise NotFound(f"problems: {report.problems}")
        return index.db.execute("SELECT count(*) FROM runs").fetchone()


CASES = {
    "add": Case(_add),
    "finalize": Case(lambda world, repo: world.draft(repo).finalize(message="m").digest),
    "upload": Case(
        lambda world, repo: world.draft(repo).finalize().upload().version.digest,
        before=lambda world, repo: world.draft(repo).finalize(),
        done=(NotFound, Conflict),
    ),
    "sync": Case(lambda world, repo: repo.sync(world.work / "source", "d", workspace=world.work) and None),
    "fetch": Case(_fetch),
    "verify": Case(_verify),
    "verify all": Case(lambda world, repo: _verify(world, repo, None)),
    "gc": Case(lambda _world, repo: repo.gc(grace=timedelta(0), delete_most=True) and None),
    # a hold that this process could not take away counts as that of another, which still moves bytes
    "repack": Case(lambda _world, repo: repo.repack(dead=0.01) and None, done=(Conflict,)),
    "push": Case(lambda world, repo: moved(repo.push(world.open("far")))),
    "push to": Case(lambda world, repo: moved(world.open("here").push(repo)), lies="far"),
    "pull": Case(lambda world, repo: moved(repo.pull(world.open("far")))),
    "pull from": Case(lambda world, repo: moved(world.open("here").pull(repo)), lies="far"),
    "mirror": Case(lambda world, repo: moved(dataver.mirror(world.open("here"), repo)), lies="far"),
    "mirror from": Case(lambda world, repo: moved(dataver.mirror(repo, world.open("far")))),
    "delete": Case(
        lambda _world, repo: repo.delete("d@1.0.1") and None,
        done=(NotFound,),
        removes=frozenset({"here d@1.0.1"}),
    ),
    "tag": Case(lambda _world, repo: repo.tag("d@1.0.1", "prod").ref),
    "lineage": Case(_lineage),
}


class Ends(NamedTuple):
    """What an undisturbed run gave: the versions before it, its answer, and the versions after it."""

    before: dict[str, str]
    answer: object
    after: dict[str, str]


def ends_of(world: World, case: Case, store: Store) -> Ends:
    """Run a command with a store that works."""
    prepare(world, case)
    before = world.versions()
    answer = case.run(world, world.open(case.lies, store))
    return Ends(before, answer, world.versions())


def prepare(world: World, case: Case) -> None:
    """Bring the world into the state before a command."""
    world.restore()
    case.before(world, world.open(case.lies))


def tried(world: World, case: Case, store: Store, ends: Ends, *, blind: bool = False) -> bool:
    """Run a command with a disturbed store, then with one that works; return whether the first run ended.

    Args:
        world: in the state before the command.
        case: the command.
        store: the disturbed store.
        ends: what an undisturbed run gave.
        blind: whether the command may take the repository for an empty one.
    """
    try:
        found = case.run(world, world.open(case.lies, store))
        ended = True
    except DataverError:
        ended = False
    there = world.versions()
    kept = {ref: each for ref, each in ends.before.items() if ref not in case.removes}
    assert kept.items() <= there.items(), "a version is lost"
    assert set(there.values()) <= set(ends.before.values()) | set(ends.after.values()), "an unknown version"
    if ended and not blind:
        assert found == ends.answer, "another answer"
        assert set(there.values()) == set(ends.after.values()), "it ended and did not do its work"
    try:
        case.run(world, world.open(case.lies))
    except case.done:
        pass
    assert set(world.versions().values()) == set(ends.after.values()), "the repetition ends elsewhere"
    return ended
