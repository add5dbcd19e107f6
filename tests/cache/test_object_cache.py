"""The disk cache never does harm: damaged is missing, a failing disk is silent (invariant 5)."""

import os
import pickle
from pathlib import Path

from dataver.cache.object_cache import DiskCache


def _files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def test_what_is_kept_is_given_back(tmp_path: Path) -> None:
    """Bytes come back under their key, also in another process and after pickling; others are missing."""
    cache = DiskCache(tmp_path / "cache")
    assert cache.get("a") is None
    cache.put("a", b"first")
    cache.put("a", b"second")
    cache.put("../../escape", b"")
    assert cache.get("a") == b"second"
    assert cache.get("../../escape") == b""
    assert pickle.loads(pickle.dumps(cache)).get("a") == b"second"
    cache.remove("a")
    cache.remove("a")
    assert DiskCache(tmp_path / "cache").get("a") is None
    assert _files(tmp_path) == _files(tmp_path / "cache")


def test_only_the_owner_may_look(tmp_path: Path) -> None:
    """The folder is the user's own."""
    DiskCache(tmp_path / "cache").put("a", b"x")
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0


def test_any_damage_is_a_miss(tmp_path: Path) -> None:
    """Every flipped bit, every truncation and every swapped file is a miss, and the file is removed."""
    cache = DiskCache(tmp_path)
    cache.put("a", b"some bytes")
    (path,) = _files(tmp_path)
    good = path.read_bytes()
    damaged = [good[:length] for length in range(len(good))]
    damaged += [
        good[:n] + bytes([good[n] ^ 1 << bit]) + good[n + 1 :] for n in range(len(good)) for bit in range(8)
    ]
    for data in [*damaged, good + b"\x00"]:
        path.write_bytes(data)
        assert cache.get("a") is None
        assert not path.exists()
    cache.put("b", b"some bytes")
    (other,) = _files(tmp_path)
    path.parent.mkdir(exist_ok=True)
    other.rename(path)
    assert cache.get("a") is None


def test_it_stays_within_its_limit(tmp_path: Path) -> None:
    """What was used longest ago goes first; what was just written stays."""
    cache = DiskCache(tmp_path, limit=100_000)
    for number in range(300):
        cache.put(f"k{number}", bytes(1000))
        path = max(_files(tmp_path), key=lambda path: path.stat().st_mtime_ns)
        os.utime(path, (number, number))
    assert sum(path.stat().st_size for path in _files(tmp_path)) < 110_000
    assert cache.get("k299") is not None
    assert cache.get("k0") is None
    cache.put("huge", bytes(100_000))
    assert cache.get("huge") is None


def test_a_disk_that_refuses_is_no_error(tmp_path: Path) -> None:
    """Where nothing can be written the cache is just empty."""
    (tmp_path / "file").write_bytes(b"")
    cache = DiskCache(tmp_path / "file" / "cache")
    cache.put("a", b"x")
    assert cache.get("a") is None


def test_what_a_crash_left_is_cleared(tmp_path: Path) -> None:
    """An old unfinished file is removed when the folder is measured."""
    left = tmp_path / "ab" / ".tmp-0123"
    left.parent.mkdir()
    left.write_bytes(b"x")
    os.utime(left, (0, 0))
    DiskCache(tmp_path).put("a", b"x")
    assert not left.exists()
