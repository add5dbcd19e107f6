"""The size of a cache of many versions is known without reading all of their descriptions again."""

from pathlib import Path

import pytest

from dataver.cache.eviction import make_room
from dataver.cache.version_cache import CachedFolder, VersionCache, folder_name
from dataver.tree.selection import WHOLE


def add(cache: VersionCache, number: int, size: int) -> Path:
    tree = number.to_bytes(32, "big")
    path = cache.trees / folder_name(tree)
    path.mkdir(parents=True)
    (path / "file").write_bytes(bytes(size))
    cache.describe(CachedFolder(path, tree, WHOLE, f"d@{number}", 1, size, ()))
    return path


def test_descriptions_are_read_a_few_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many folders there are, a fetch reads some of the newest; the limit holds nevertheless."""
    cache, reads = VersionCache(tmp_path), list[str]()
    read = VersionCache.read

    def counted(cache: VersionCache, name: str) -> CachedFolder | None:
        reads.append(name)
        return read(cache, name)

    monkeypatch.setattr(VersionCache, "read", counted)
    monkeypatch.setenv("DATAVER_CACHE_SIZE", "100MB")
    for number in range(100):
        add(cache, number, 8000)
        assert make_room(cache, 1000) == 0
    assert len(reads) < 1000
    reads.clear()
    assert make_room(cache, 1000) == 0
    assert len(reads) < 10
    monkeypatch.setenv("DATAVER_CACHE_SIZE", "500kB")
    monkeypatch.setattr("dataver.cache.eviction.REST", 0.0)
    assert make_room(cache, 1000) > 200_000
    left = len(list(cache.trees.glob("*.json")))
    assert left < 80
    reads.clear()
    assert make_room(cache, 1000) == 0
    assert len(reads) < 10
