"""Frames: fetched once, in few requests, checked, kept on this machine; and the machine's bad days."""

import itertools
import os
import random
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import dataver
from dataver.cache.eviction import FRAMES, make_room, plan_clean
from dataver.cache.version_cache import VersionCache
from dataver.errors import IntegrityError, NotFound, StoreError
from dataver.formats.config import RepositoryConfig
from dataver.repository import RepositoryCore as Core
from dataver.storage import MemoryStore
from dataver.testing.faulty import FaultyStore, FlippingStore, Request

from .conftest import write


class Far:
    """A repository that is far away, with one version, and how it is opened: each time with a new count."""

    def __init__(self, machine: Path) -> None:
        self.inner = MemoryStore()
        self.config = RepositoryConfig(
            id=secrets.token_hex(16),
            created=datetime.now(UTC),
            write_id=secrets.token_hex(16),
            create_if_absent=True,
        )
        noise = random.Random(9)
        self.source = machine / "source"
        self.large = noise.randbytes(6_000_000)
        write(self.source / "large", self.large)
        for number in range(300):
            write(self.source / "small" / f"{number:03d}", f"{number}\n".encode() * (number + 1))
        self.repo(self.inner).sync(self.source, "d", workspace=machine / "work")
        self.frames = machine / "cache" / FRAMES / self.config.id

    def repo(self, store: MemoryStore | FaultyStore) -> dataver.Repository:
        return dataver.Repository(Core(store, self.config), store.url)

    def counting(self) -> dataver.Repository:
        return self.repo(FaultyStore(self.inner))


def packs_read(repo: dataver.Repository) -> list[Request]:
    store = repo._core.store
    assert isinstance(store, FaultyStore)
    return [one for one in store.requests if one.key.startswith("packs/") and one.method == "get"]


def moved(repo: dataver.Repository) -> int:
    return sum(one.length or 0 for one in packs_read(repo))


@pytest.fixture
def far(machine: Path) -> Far:
    return Far(machine)


def test_a_random_read_fetches_the_frames_it_touches(far: Far) -> None:
    """A hundred bytes of six million cost one frame, or two where they meet."""
    noise = random.Random(1)
    for _ in range(5):
        start = noise.randrange(5_900_000)
        repo = far.counting()
        assert repo.files("d").read("large", start, start + 100) == far.large[start : start + 100]
        assert len(packs_read(repo)) <= 1
        assert moved(repo) <= 2 * (128 * 1024 + 1_000)


def test_what_was_read_is_not_asked_for_again(far: Far) -> None:
    """By this process, and by any other on this machine: its frames are in the cache, its names too."""
    first = far.counting()
    files = first.files("d")
    assert files.read("large") == far.large
    assert moved(first) < 6_200_000
    asked = len(packs_read(first))
    assert files.read("large") == files.read("large", 0, None) == far.large
    assert len(packs_read(first)) == asked
    again = far.counting()
    assert again.files("d").read("large", 7, 5_000_000) == far.large[7:5_000_000]
    assert packs_read(again) == []


def test_what_lies_together_comes_together(far: Far) -> None:
    """Three hundred small files asked for at once are a few requests, each frame in one of them."""
    repo = far.counting()
    wanted = [(f"small/{number:03d}", 0, None) for number in range(300)]
    random.Random(2).shuffle(wanted)
    found = repo.files("d").read_many(wanted)
    assert found == [(far.source / path).read_bytes() for path, _, _ in wanted]
    assert len(packs_read(repo)) <= 2


def test_many_small_parts_are_fetched_in_bounded_steps(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in memory at once is counted in frames, not in the bytes that were asked of them."""
    from dataver.reading import frames

    most = 0
    collect = frames.Frames._collect

    def watched(self: frames.Frames, needed: dict[bytes, set[int]]) -> dict[tuple[bytes, int], memoryview]:
        nonlocal most
        found = collect(self, needed)
        most = max(most, sum(map(len, found.values())))
        return found

    monkeypatch.setattr(frames, "WINDOW", 1_000_000)
    monkeypatch.setattr(frames.Frames, "_collect", watched)
    starts = range(0, 6_000_000, 40_000)
    found = far.counting().files("d").read_many([("large", start, start + 10) for start in starts])
    assert found == [far.large[start : start + 10] for start in starts]
    assert 900_000 < most < 1_400_000


def test_a_file_that_was_read_ahead_goes_on_in_a_child(far: Far) -> None:
    """The threads that fetch ahead stay with the parent; both read to the end."""
    with far.counting().files("d").open("large") as file:
        head = file.read(100_000) + file.read(100_000)
        child = os.fork()
        if not child:
            os._exit(0 if head + file.read() == far.large else 1)
        assert head + file.read() == far.large
    assert os.waitpid(child, 0)[1] == 0


def test_versions_share_what_a_process_keeps(far: Far) -> None:
    """However many versions and objects are read, blocks and frames are kept once a repository."""
    repo = far.counting()
    far.repo(far.inner).sync(far.source / "small", "e", workspace=far.source.parent / "work")
    one, other, third = repo.files("d"), repo.files("d@1.0.0"), repo.files("e")
    assert one.read("small/017") == other.read("small/017") == third.read("017")
    kept = {id(each._here[os.getpid()]._shared) for each in (one, other, third)}
    assert len(kept) == 1
    assert len(packs_read(repo)) == 1


def test_threads_that_want_one_frame_share_it(far: Far) -> None:
    """Sixteen readers of one small file cost one request."""
    repo = far.counting()
    files = repo.files("d")
    files.info("small/100")
    start = threading.Barrier(16)

    def read(_: int) -> bytes:
        start.wait()
        return files.read("small/100")

    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(read, range(16)))) == 1
    assert len(packs_read(repo)) == 1


def test_reading_in_order_runs_ahead_and_asks_for_nothing_twice(far: Far) -> None:
    """Small reads from front to end move the file once, in large pieces."""
    repo = far.counting()
    with repo.files("d").open("large") as file:
        assert b"".join(iter(lambda: file.read(10_000), b"")) == far.large
    assert moved(repo) < 6_300_000
    assert len(packs_read(repo)) <= 12
    ranges = sorted(
        (one.key, one.start or 0, (one.start or 0) + (one.length or 0)) for one in packs_read(repo)
    )
    for (key, _, end), (other, begin, _) in itertools.pairwise(ranges):
        assert key != other or begin >= end


def test_damage_on_the_way_is_read_again(far: Far) -> None:
    """A bit that flips in the first read of every range does no harm; one that always flips is an error."""
    repo = far.repo(FlippingStore(far.inner, "packs/", 1))
    assert repo.files("d").read("large") == far.large
    for path in far.frames.glob("*"):
        path.unlink()
    bad = far.repo(FlippingStore(far.inner, "packs/", 1_000))
    with pytest.raises(IntegrityError, match=r"'large' in d@1\.0\.0"):
        bad.files("d").read("large")


def spoil_bytes(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for place in range(20_000, len(data), 50_000):
        data[place] ^= 1
    path.write_bytes(data)


def spoil_head(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[30] ^= 1
    path.write_bytes(data)


def spoil_end(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("spoil", [spoil_bytes, spoil_head, spoil_end, Path.unlink])
def test_a_damaged_cache_costs_a_download_only(far: Far, spoil: Callable[[Path], None]) -> None:
    """Flipped bits, a torn head, a cut file, no file: what is wrong is a miss, and right again afterwards."""
    assert far.counting().files("d").read("large") == far.large
    for path in far.frames.glob("*"):
        spoil(path)
    repo = far.counting()
    assert repo.files("d").read("large") == far.large
    assert packs_read(repo)
    after = far.counting()
    assert after.files("d").read("large") == far.large
    assert packs_read(after) == []


def test_a_cache_that_is_deleted_while_it_is_used_is_made_anew(far: Far) -> None:
    """Reads go on, and what comes afterwards is kept again."""
    files = far.counting().files("d")
    assert files.read("large", 0, 3_000_000) == far.large[:3_000_000]
    for path in far.frames.glob("*"):
        path.unlink()
    far.frames.rmdir()
    assert files.read("large") == far.large
    assert files.read("small/007") == (far.source / "small/007").read_bytes()
    files.read("large", 0, 100)
    assert list(far.frames.glob("*"))


def test_a_cache_that_cannot_be_written_costs_speed_only(far: Far) -> None:
    """A file stands where its folder would be: frames are kept in memory, and read again."""
    far.frames.parent.mkdir(parents=True, exist_ok=True)
    far.frames.write_text("in the way")
    repo = far.counting()
    files = repo.files("d")
    assert files.read("large") == far.large
    assert files.read("small/003") == files.read("small/003")
    assert moved(repo) < 6_300_000


def test_a_fetched_version_is_read_from_its_folder(far: Far) -> None:
    """No request at all, links and folders the same; without the folder, reads go on."""
    far.counting().fetch("d@1.0.0")
    repo = far.counting()
    files = repo.files("d@1.0.0")
    assert files.read("large") == far.large
    assert files.read("small/009", 3, 5) == (far.source / "small/009").read_bytes()[3:5]
    with files.open("large") as file:
        file.seek(5_999_990)
        assert (file.read(), file.size, file.name) == (far.large[-10:], 6_000_000, "large")
        descriptor = files.descriptor("small/010")
        assert descriptor is not None
        os.close(descriptor)
        assert packs_read(repo) == []
        cache = VersionCache(Path(os.environ["DATAVER_CACHE"]))
        for folder in cache.folders():
            for path in [folder.path, *folder.path.rglob("*")]:
                if path.is_dir():
                    path.chmod(0o700)
            for path in folder.path.rglob("*"):
                if path.is_file():
                    path.unlink()
        file.seek(0)
        assert file.read() == far.large  # it is open
    assert files.read("large", 10, 20) == far.large[10:20]
    assert packs_read(repo)


def test_a_folder_in_use_is_not_cleaned_away(far: Far) -> None:
    """While a process reads from it, the cache keeps it."""
    far.counting().fetch("d@1.0.0")
    cache = VersionCache(Path(os.environ["DATAVER_CACHE"]))
    name = cache.folders()[0].path.name
    cache.done(name)  # the fetch's own use
    files = far.counting().files("d@1.0.0")
    files.read("small/001")
    assert [each.folder.path.name for each in plan_clean(cache).kept] == [name]
    cache.done(name)


class _Offline(FaultyStore):
    """A store whose network goes away."""

    gone = False

    def get(self, key: str, start: int | None = None, length: int | None = None) -> bytes:
        if self.gone:
            raise StoreError(f"cannot read {key} in {self.url}: the network is unreachable.", transient=True)
        return super().get(key, start, length)


def test_a_network_that_is_gone_is_an_error_that_names_the_file(far: Far) -> None:
    """What is here still reads; what is not says which file, and may be tried again."""
    store = _Offline(far.inner)
    files = far.repo(store).files("d")
    files.read("small/000")
    store.gone = True
    assert files.read("small/000") == b"0\n"
    with pytest.raises(StoreError, match=r"'large' in d@1\.0\.0.*unreachable") as caught:
        files.read("large")
    assert caught.value.transient
    store.gone = False
    assert files.read("large") == far.large


def test_a_version_that_is_deleted_while_it_is_read_says_so(far: Far) -> None:
    """Until gc takes its packs it reads on; afterwards it was deleted, not damaged."""
    repo = far.counting()
    files = repo.files("d@1.0.0")
    assert files.read("small/001") == b"1\n1\n"
    owner = far.repo(far.inner)
    owner.sync(far.source / "small", "other", workspace=far.source.parent / "work")
    owner.delete("d@1.0.0", reason="wrong photos")
    assert files.read("large", 0, 10) == far.large[:10]
    for key in [key for key in far.inner.objects if key.startswith("packs/")]:
        far.inner.delete(key)
    assert files.read("large", 0, 10) == far.large[:10]  # kept here
    with pytest.raises(NotFound, match=r"'large'.*deleted"):
        files.read("large")


def test_packs_that_moved_are_looked_for_again(far: Far) -> None:
    """A repack and a gc while a version is being read go unnoticed."""
    owner = far.repo(far.inner)
    kept = far.source.parent / "kept"
    for number in (1, 2, 150):
        write(kept / f"{number}", (far.source / "small" / f"{number:03d}").read_bytes())
    write(kept / "part", far.large[:400_000])
    owner.sync(kept, "d", workspace=far.source.parent / "work", allow_shrink=True)
    files = far.counting().files("d@1.0.1")
    assert files.read("1") == b"1\n1\n"
    owner.delete("d@1.0.0")
    assert owner.repack().packs
    assert owner.gc(grace=timedelta(0), delete_most=True).packs
    assert files.read("part") == far.large[:400_000]
    assert files.read("150") == (kept / "150").read_bytes()


def test_frames_lie_under_the_bound_of_the_cache(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was used longest ago goes, frames as well as folders; readers that had it open read on."""
    files = far.counting().files("d")
    assert files.read("large") == far.large
    cache = VersionCache(Path(os.environ["DATAVER_CACHE"]))
    assert make_room(cache, 0) == 0
    monkeypatch.setenv("DATAVER_CACHE_SIZE", "5MB")
    assert make_room(cache, 0) > 5_000_000
    assert not list(far.frames.glob("*"))
    assert files.read("large", 5, 3_000_000) == far.large[5:3_000_000]
    repo = far.counting()
    assert repo.files("d").read("large") == far.large
    assert moved(repo) > 5_900_000


def test_a_reader_keeps_to_the_bound_by_itself(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first frames that a process keeps make it look."""
    assert far.counting().files("d").read("large") == far.large
    monkeypatch.setenv("DATAVER_CACHE_SIZE", "1MB")
    assert far.counting().files("d").read("small/299")
    for path in far.frames.glob("*"):
        path.unlink()
    other = far.frames.parent / ("0" * 32)
    other.mkdir()
    write(other / "old", bytes(2_000_000))
    os.utime(other / "old", (1, 1))
    assert far.counting().files("d").read("small/299")
    assert not (other / "old").exists()


@pytest.mark.parametrize("said", ["a lot", "12 parsecs"])
def test_a_bound_that_is_none_stops_no_reader(far: Far, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    """Who reads does not fail for what the user wrote about the cache; `dataver cache info` says it."""
    monkeypatch.setenv("DATAVER_CACHE_SIZE", said)
    assert far.counting().files("d").read("large") == far.large
