"""Copies of many records in one object: fewer requests, and nothing else changes with or without them."""

import secrets
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import zstandard

import dataver
from benchmarks.histories import NAME, CountingStore, Maker, TaggedStore
from dataver.errors import StoreError
from dataver.formats.config import RepositoryConfig
from dataver.repository import RepositoryCore, record_copies
from dataver.repository.audit import read_audit
from dataver.repository.layout import copies_key, copies_prefix, record_key
from dataver.storage import MemoryStore
from dataver.storage.base import Data

COUNT = 100


@pytest.fixture
def history(monkeypatch: pytest.MonkeyPatch) -> tuple[MemoryStore, RepositoryConfig]:
    """A dataset of 100 versions, whose records are copied by sixteens."""
    monkeypatch.setattr("benchmarks.histories.ADDED", 16)
    monkeypatch.setattr(record_copies, "ADDED", 16)
    monkeypatch.setattr("dataver.repository.records.MANY", 64)
    maker, store = Maker(), MemoryStore()
    for key, data in maker.make(COUNT, grow=False).items():
        store.put(key, data)
    return store, maker.config


@pytest.fixture
def begin(
    history: tuple[MemoryStore, RepositoryConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dataver.Repository]:
    """Open the repository on a machine with an empty cache."""

    def begin(kind: type[CountingStore] = TaggedStore) -> dataver.Repository:
        monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / secrets.token_hex(4)))
        return dataver.Repository(RepositoryCore(kind(history[0]), history[1]), "memory:test")

    return begin


def asked(repo: dataver.Repository) -> int:
    store = repo._core.store
    assert isinstance(store, CountingStore)
    return len(store.requests)


def labels(repo: dataver.Repository) -> list[str | None]:
    return [version.label for version in repo.versions(NAME)]


def copies(store: MemoryStore) -> list[str]:
    return [key for key in store.objects if key.startswith(copies_prefix(NAME))]


def test_a_long_history_takes_few_requests(
    history: tuple[MemoryStore, RepositoryConfig], begin: Callable[..., dataver.Repository]
) -> None:
    """A listing of records and one of copies, the copies, and the records that have none yet."""
    everything = [f"1.0.{number}" for number in range(COUNT)]
    repo = begin()
    assert labels(repo) == everything
    assert asked(repo) == 2 + COUNT // 16 + COUNT % 16
    assert labels(repo) == everything  # from the cache
    assert asked(repo) == 3 + COUNT // 16 + COUNT % 16
    repo = begin()
    assert repo.version(f"dv1:{repo.version(NAME).digest[4:20]}").label == f"1.0.{COUNT - 1}"
    assert asked(repo) < 30
    repo = begin(CountingStore)  # a store without entity tags
    assert labels(repo) == everything
    assert asked(repo) == 1 + COUNT
    repo.repack()
    assert len(copies(history[0])) == COUNT // 16
    begin().repack()
    assert len(copies(history[0])) == 1
    repo = begin()
    assert labels(repo) == everything
    assert asked(repo) == 3


@pytest.mark.parametrize("command", ["plan_gc", "audit", "lineage"])
def test_maintenance_reads_copies(begin: Callable[..., dataver.Repository], command: str) -> None:
    """A plan of gc, the audit and the lineage index read records from copies, not one by one."""
    repo = begin()
    store = repo._core.store
    assert isinstance(store, CountingStore)
    audit = partial(read_audit, repo._core)
    {"plan_gc": repo.plan_gc, "audit": audit, "lineage": repo.lineage.sync}[command]()
    records = [each for each in store.requests if each.method == "get" and each.key.endswith(".json")]
    assert len([each for each in records if "/versions/" in each.key]) == COUNT % 16


def test_copies_are_hints(
    history: tuple[MemoryStore, RepositoryConfig], begin: Callable[..., dataver.Repository]
) -> None:
    """False, damaged, huge and deleted copies, and those of deleted versions, change no answer."""
    store, _ = history
    first, second, third, *_ = copies(store)
    forged = zstandard.decompress(store.objects[first]).replace(
        b'"author":"benchmark"', b'"author":"mallory"'
    )
    store.objects[first] = zstandard.compress(forged)
    store.objects[second] = store.objects[second][:-9]
    store.objects[third] = zstandard.ZstdCompressor().compress(bytes(1 << 25))
    store.put(copies_key(NAME, "0" * 64), b"<html>")
    store.put(f"{copies_prefix(NAME)}other", b"")
    begin().delete(f"{NAME}@1.0.60", force=True)
    repo = begin()
    assert labels(repo) == [f"1.0.{number}" for number in range(COUNT) if number != 60]
    assert {version.author for version in repo.versions(NAME)} == {"benchmark"}
    for key in copies(store):
        store.delete(key)
    assert len(labels(begin())) == COUNT - 1


def test_a_replaced_record_is_read_itself(
    history: tuple[MemoryStore, RepositoryConfig], begin: Callable[..., dataver.Repository]
) -> None:
    """A record that was restored with other bytes has another entity tag than its copy."""
    store, _ = history
    begin().repack()
    last = begin()._core.records.get(NAME, f"1.0.{COUNT - 1}").record
    store.objects[record_key(NAME, last.label)] = replace(last, author="ana").encode()
    assert [version.author for version in begin().versions(NAME)][-2:] == ["benchmark", "ana"]


class Refusing(TaggedStore):
    """Permits no writes below `index/`, as the policy of an older publisher."""

    def put_new(self, key: str, data: Data) -> bool:
        """See `Store.put_new`."""
        if key.startswith("index/"):
            raise StoreError(f"{key} may not be written.")
        return super().put_new(key, data)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [TaggedStore, Refusing, CountingStore])
def test_uploads_add_copies(begin: Callable[..., dataver.Repository], tmp_path: Path, kind: type) -> None:
    """After sixteen uploads there is one more object, if the store has entity tags and permits it."""
    source = tmp_path / "source"
    source.mkdir()
    store = begin()._core.store.inner
    for key in copies(store):
        store.delete(key)
    before = []
    for number in range(18):
        (source / "file").write_bytes(b"%d" % number)
        repo = begin(kind)
        repo.sync(source, NAME, workspace=tmp_path / "work")
        before.append(len(copies(store)))
    assert before == ([1] * 17 + [2] if kind is TaggedStore else [0] * 18)
    repo = begin()
    assert len(labels(repo)) == COUNT + 18
    if kind is TaggedStore:
        assert asked(repo) < 10  # no record was left out between two of the objects


def test_records_that_do_not_fit_in_one_object_get_more():
    """Of 5,000 records of 5 KB none is left out, and no object is larger than readers accept."""
    lines = [b"%05d" % number * 1000 for number in range(5000)]
    contents = list(record_copies._contents(lines))
    assert [line for content in contents for line in content.split(b"\n")[:-1]] == lines
    assert max(map(len, contents)) <= 16 << 20
