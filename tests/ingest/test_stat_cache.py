"""The stat cache answers only when all of a file's stat values are as they were."""

import email
import mmap
import random
import sys
import time
import tracemalloc
from pathlib import Path

import pytest

import dataver
from dataver.hashing import digest
from dataver.ingest import stat_cache
from dataver.ingest.stat_cache import FileStat, StatCache

OLD = time.time_ns() - 10**11


def stat(size=3, mtime=OLD, ctime=OLD, inode=7):
    return FileStat(size, mtime, ctime, inode)


def saved(folder, *rows):
    cache = StatCache(folder, "/data")
    for path, each in rows:
        cache.put(path, each, digest(path.encode()))
    cache.save()
    return StatCache(folder, "/data")


def test_an_unchanged_file_is_remembered(tmp_path):
    """Across processes, by path and all four values."""
    cache = saved(tmp_path, ("a", stat()), ("b/ü", stat(size=9)))
    assert cache.get("a", stat()) == digest(b"a")
    assert cache.get("b/ü", stat(size=9)) == digest("b/ü".encode())
    assert cache.get("c", stat()) is None


def test_any_changed_value_is_a_miss(tmp_path):
    """Size, mtime, ctime and inode each count."""
    cache = saved(tmp_path, ("a", stat()))
    for other in (stat(size=4), stat(mtime=OLD + 1), stat(ctime=OLD + 1), stat(inode=8)):
        assert cache.get("a", other) is None


def test_a_file_that_changed_just_now_is_not_remembered(tmp_path):
    """The racy case: it could change again without its times changing."""
    now = time.time_ns()
    cache = saved(tmp_path, ("a", stat(mtime=now)), ("b", stat(ctime=now + 10**12)), ("c", stat()))
    assert cache.get("a", stat(mtime=now)) is None
    assert cache.get("b", stat(ctime=now + 10**12)) is None
    assert cache.get("c", stat()) is not None


def test_a_damaged_cache_is_a_miss(tmp_path):
    """Every cut and a flip in every byte: never a wrong answer, never an error."""
    saved(tmp_path, ("a", stat()), ("b", stat(size=9)))
    path = next(path for path in tmp_path.rglob("*") if path.is_file())
    data = path.read_bytes()
    for place in range(len(data)):
        for damaged in (data[:place], data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]):
            path.write_bytes(damaged)
            assert StatCache(tmp_path, "/data").get("a", stat()) in (None, digest(b"a"))


def test_earlier_rows_stay_when_new_ones_come(tmp_path):
    """Adding one file does not forget the others."""
    saved(tmp_path, ("a", stat()))
    cache = saved(tmp_path, ("b", stat()))
    assert cache.get("a", stat()) and cache.get("b", stat())


def test_a_changed_file_takes_the_place_of_what_it_was(tmp_path):
    """The newest values and digest count, also where the file stood between others."""
    saved(tmp_path, ("a", stat()), ("b", stat()), ("c", stat()))
    cache = StatCache(tmp_path, "/data")
    cache.put("b", stat(size=9), digest(b"new"))
    cache.save()
    cache = StatCache(tmp_path, "/data")
    assert cache.get("b", stat()) is None
    assert cache.get("b", stat(size=9)) == digest(b"new")
    assert cache.get("a", stat()) == digest(b"a") and cache.get("c", stat()) == digest(b"c")


def test_a_file_costs_little_memory(tmp_path):
    """Beside its path it is a row of numbers, while it is remembered and while it is written."""
    count = 20_000
    paths = [f"folder/{number:06d}" for number in range(count)]
    cache = StatCache(tmp_path, "/data")
    tracemalloc.start()
    try:
        for number, path in enumerate(paths):
            cache.put(path, FileStat(number, OLD, OLD, number), digest(path.encode()))
        cache.save()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 400 * count


def test_memory_does_not_grow_with_the_files(tmp_path, monkeypatch):
    """While they are recorded, written and looked up again: a few blocks and the new rows are held."""
    monkeypatch.setattr(stat_cache, "_MOST", 1000)
    monkeypatch.setattr(stat_cache, "_ROWS", 250)

    def peak(count):
        paths = (f"{number // 1000:03d}/{number % 1000:06d}" for number in range(count))
        tracemalloc.start()
        try:
            cache = StatCache(tmp_path, f"/{count}")
            for number, path in enumerate(paths):
                cache.put(path, FileStat(number, OLD, OLD, number), bytes(32))
            cache.save()
            cache = StatCache(tmp_path, f"/{count}")
            for number in range(count):
                path = f"{number // 1000:03d}/{number % 1000:06d}"
                assert cache.get(path, FileStat(number, OLD, OLD, number)) is not None
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(16_000) < peak(4_000) + 100_000


def test_any_order_of_files_gives_the_newest_rows(tmp_path, monkeypatch):
    """With blocks that are split, and rows that are replaced and dropped, across several saves."""
    monkeypatch.setattr(stat_cache, "_MOST", 50)
    monkeypatch.setattr(stat_cache, "_ROWS", 7)
    noise, expected = random.Random(1), {}
    for _ in range(4):
        cache = StatCache(tmp_path, "/data")
        for _ in range(400):
            path, size = f"{noise.randrange(500)}/é", noise.randrange(10**9)
            still = noise.random() > 0.2
            cache.put(path, stat(size=size), digest(b"%d" % size), still=still)
            expected[path] = size if still else None
        wanted = {path: size and digest(b"%d" % size) for path, size in expected.items()}
        assert {path: cache.get(path, stat(size=expected[path] or 0)) for path in expected} == wanted
        cache.save()
        cache = StatCache(tmp_path, "/data")
        assert {path: cache.get(path, stat(size=expected[path] or 0)) for path in expected} == wanted


def test_a_checksum_reads_what_is_remembered_and_remembers_what_it_read(tmp_path):
    """The next cache without it answers."""
    cache = saved(tmp_path, ("a", stat()))
    reread = StatCache(tmp_path, "/data", checksum=True)
    assert reread.get("a", stat()) is None
    reread.put("a", stat(), digest(b"other"))
    reread.save()
    assert cache.get("a", stat()) == digest(b"a")
    assert StatCache(tmp_path, "/data").get("a", stat()) == digest(b"other")


def test_a_file_that_did_not_hold_still_is_forgotten(tmp_path):
    """What was remembered of it may be wrong by now."""
    saved(tmp_path, ("a", stat()), ("b", stat()))
    cache = StatCache(tmp_path, "/data")
    cache.put("a", stat(), digest(b"a"), still=False)
    cache.save()
    cache = StatCache(tmp_path, "/data")
    assert cache.get("a", stat()) is None
    assert cache.get("b", stat()) == digest(b"b")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who writes to a file")
def test_a_file_mapped_for_writing_does_not_hold_still(tmp_path):
    """While its times are recent: with a descriptor, with a mapping, and not after they are gone."""
    cache = StatCache(tmp_path / "stat", "/data")
    recent = time.time_ns() - 5 * 10**9
    path = tmp_path / "x"
    path.write_bytes(bytes(8192))
    with path.open("rb") as file:
        asked = [cache.holds_still(file.fileno(), stat(mtime=recent))]
        with path.open("r+b") as writer:
            asked.append(cache.holds_still(file.fileno(), stat(mtime=recent)))
            mapping = mmap.mmap(writer.fileno(), 0)
        asked.append(cache.holds_still(file.fileno(), stat(mtime=recent)))
        asked.append(cache.holds_still(file.fileno(), stat(mtime=OLD)))
        mapping.close()
        asked.append(cache.holds_still(file.fileno(), stat(mtime=recent)))
    assert asked == [True, False, False, True, True]


@pytest.mark.skipif(sys.platform != "linux", reason="counts what the process read in /proc")
@pytest.mark.parametrize("way", ["add", "sync", "one step"])
def test_unchanged_files_are_read_by_checksum_alone(tmp_path, monkeypatch, way):
    """The bytes that the process reads are fewer than the folder's without it, and at least those with it."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    source = Path(email.__file__).parent  # files that have not changed for long
    files = (path for path in source.rglob("*.py"))
    size = sum(path.stat().st_size for path in files)
    repo = dataver.init(tmp_path / "repo")
    draft = repo.create("d", workspace=tmp_path)

    def count(checksum):
        before = bytes_read()
        if way == "one step":
            repo.sync(source, "d", workspace=tmp_path, checksum=checksum)
        else:
            (draft.add if way == "add" else draft.sync)(source, checksum=checksum)
        return bytes_read() - before

    count(False)
    assert [count(False) < size / 2, count(True) >= size, count(False) < size / 2] == [True] * 3


def bytes_read():
    return int(Path("/proc/self/io").read_text().split()[1])
