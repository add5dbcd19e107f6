"""The stat cache answers only when all of a file's stat values are as they were."""

import time
import tracemalloc

from dataver.hashing import digest
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
