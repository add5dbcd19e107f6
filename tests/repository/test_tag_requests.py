"""The current move of a tag is found with few requests, however many moves there are."""

import random
import secrets
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks import histories
from benchmarks.histories import CountingStore
from dataver.formats.tag import TagMove
from dataver.repository import tags
from dataver.repository.layout import tag_key
from dataver.repository.repository import RepositoryCore, init_repository
from dataver.storage import MemoryStore

Open = Callable[[], RepositoryCore]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    """A store that lists ten keys with a request."""
    monkeypatch.setattr(tags, "_PAGE", 10)
    monkeypatch.setattr(histories, "_PAGE", 10)
    return MemoryStore()


@pytest.fixture
def open_core(store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Open the repository; the machine keeps its cache."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    config = init_repository(str(tmp_path / "made")).config
    return lambda: RepositoryCore(CountingStore(store), config)


def put(store: MemoryStore, tag: str, numbers: Iterable[int]) -> None:
    for number in numbers:
        move = TagMove(
            number=number,
            tag=tag,
            dataset="d",
            record=None,
            label=None,
            created=datetime.now(UTC),
            author="ana",
            write_id=secrets.token_hex(16),
        )
        store.put(tag_key("d", tag, number), move.encode())


def last(core: RepositoryCore, tag: str) -> tuple[int, int]:
    """Return the number of the last move, and the requests."""
    return core.tags._last("d", tag), len(core.store.requests)


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 19, 20, 21, 50, 99, 100, 101, 1000, 3000])
@pytest.mark.parametrize("lost", [False, True])
def test_the_last_move_is_found(store: MemoryStore, open_core: Open, count: int, lost: bool) -> None:
    """With all moves, and with most of them lost; the second time with one request."""
    numbers = [*range(1, count + 1)]
    put(
        store,
        "t",
        sorted({*random.Random(count).sample(numbers, count // 7), count} - {0}) if lost else numbers,
    )
    put(store, "t-b", [1, 2])
    store.put("datasets/d/tags/t/x.json", b"")
    found, requests = last(open_core(), "t")
    assert found == count
    assert requests <= 4 + 2 * count.bit_length()
    if count:
        assert last(open_core(), "t") == (count, 1)
        put(store, "t", range(count + 1, count + 5))
        assert last(open_core(), "t") == (count + 4, 1)
        put(store, "t", range(count + 5, count + 300))
        assert last(open_core(), "t")[0] == count + 299


def test_a_repository_that_was_restored_has_fewer_moves(store: MemoryStore, open_core: Open) -> None:
    """What this machine has seen is a hint."""
    put(store, "t", range(1, 100))
    assert last(open_core(), "t")[0] == 99
    for number in range(40, 100):
        store.delete(tag_key("d", "t", number))
    assert last(open_core(), "t")[0] == 39


def test_all_tags_are_found_past_long_rows(store: MemoryStore, open_core: Open) -> None:
    """A tag with many moves is passed over, and those after it are found."""
    rows = {"a": 3, "nightly": 2000, "nightly-b": 11, "prod": 1, "x.y": 10, "z": 400}
    for tag, count in rows.items():
        put(store, tag, range(1, count + 1))
    core = open_core()
    assert core.tags._lasts("d") == rows
    assert len(core.store.requests) < 80  # 243 pages
    core = open_core()
    assert core.tags._lasts("d") == rows
    assert len(core.store.requests) < 15
