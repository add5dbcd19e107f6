"""Bits that flip on the way here are read again, and called damage only if they stay (invariant 1)."""

import random

import pytest

import dataver
from dataver.errors import IntegrityError
from dataver.repository import RepositoryCore as Core
from dataver.storage import MemoryStore
from dataver.testing.faulty import FlippingStore

PLACES = ["packs/", "trees/"]


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A version with tiny, middling and large files; the objects and a function that opens them afresh."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "first"))
    monkeypatch.chdir(tmp_path)
    source, noise = tmp_path / "source", random.Random(4)
    source.mkdir()
    for number in range(50):
        (source / f"{number:02}").write_bytes(noise.randbytes(300 + number))
    (source / "middling").write_bytes(noise.randbytes(200_000))
    (source / "large").write_bytes(noise.randbytes(3_000_000))
    dataver.init(str(tmp_path / "repository")).sync(source, "d")
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "second"))
    config = dataver.open(str(tmp_path / "repository"))._core.config
    inner = MemoryStore()
    for path in (tmp_path / "repository").rglob("*"):
        if path.is_file():
            inner.put(path.relative_to(tmp_path / "repository").as_posix(), path.read_bytes())
    files = {path.name: path.read_bytes() for path in source.iterdir()}

    def open_flipping(prefix, times):
        store = FlippingStore(inner, prefix, times)
        return store, dataver.Repository(Core(store, config), "memory:test")

    return open_flipping, files


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("prefix", PLACES)
def test_a_fetch_reads_again_what_came_damaged(published, prefix, times):
    """Ranges, footers and blocks that come damaged once or twice: every file is right."""
    open_flipping, files = published
    store, repo = open_flipping(prefix, times)
    report = repo.fetch("d")
    assert {path.name: path.read_bytes() for path in report.path.iterdir() if path.is_file()} == files
    asked = [request for request in store.requests if request.key.startswith(prefix)]
    assert len(asked) > len(set(asked))


@pytest.mark.parametrize("prefix", PLACES)
def test_verifying_and_reading_single_files_read_again(published, prefix):
    """`verify` finds no damage in a sound repository over a bad line, and a file is read right."""
    open_flipping, files = published
    version = open_flipping(prefix, 2)[1].version("d")
    assert version.read("large") == files["large"]
    for quick in (False, True):
        assert open_flipping(prefix, 1)[1].verify("d", quick=quick).findings == []


@pytest.mark.parametrize("prefix", PLACES)
def test_what_stays_damaged_is_named_after_two_repetitions(published, prefix):
    """Bytes that are damaged each time end in an error that names them; no request is made a fourth time."""
    open_flipping, _ = published
    store, repo = open_flipping(prefix, 99)
    with pytest.raises(IntegrityError, match=r"pack|tree block|block"):
        repo.fetch("d")
    asked = [request for request in store.requests if request.key.startswith(prefix)]
    assert asked
    assert max(map(asked.count, asked)) == 3
    assert open_flipping(prefix, 99)[1].verify("d").findings
