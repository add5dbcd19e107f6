"""The read-only folder in the cache: complete, verified, shared, repaired."""

import multiprocessing
import os
import shutil
import stat
from pathlib import Path

import pytest

from dataver.cache.eviction import remove
from dataver.cache.version_cache import VersionCache
from dataver.checkout import fetch
from dataver.checkout.fetching import FetchReport
from dataver.errors import IntegrityError, InvalidInput, PathNotFound, StoreError
from dataver.progress import Counters

from .conftest import contents, write


def test_a_fetched_folder_is_the_source_and_read_only(filled):
    """Every kind of entry comes back, files and folders without write permission."""
    report = filled.fetch(filled.version())
    assert contents(report.path) == contents(filled.source)
    assert report.files == sum(isinstance(what, bytes) for what in contents(filled.source).values())
    for path in (report.path, *report.path.rglob("*")):
        if not path.is_symlink():
            assert stat.S_IMODE(path.stat().st_mode) & 0o222 == 0
    assert (report.path / "run.sh").stat().st_mode & 0o111
    assert not (report.path / "large.bin").stat().st_mode & 0o111


def test_a_folder_that_is_there_is_ready_without_reading_the_repository(filled):
    """The second fetch reads no pack and no tree block."""
    version = filled.version()
    first = filled.fetch(version)
    assert first.transferred > 12_000_000
    shutil.rmtree(filled.root / "repo" / "packs")
    shutil.rmtree(filled.root / "repo" / "trees")
    again = filled.fetch(version)
    assert (again.path, again.transferred, again.reused) == (first.path, 0, first.size)


def test_progress_adds_up(filled):
    """Files, bytes and moved bytes told to progress are those of the report."""
    counters = Counters()
    report = filled.fetch(filled.version(), progress=counters)
    assert (counters.files, counters.size) == (report.files, report.size)
    assert (counters.total_files, counters.total_bytes) == (report.files, report.size)
    assert counters.new == report.transferred


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["tiny/**"], lambda path: path.startswith("tiny/")),
        (["*.bin"], lambda path: path.endswith(".bin")),
        (["deep"], lambda path: path.startswith("deep/")),
        (["run.sh", "empty folder"], lambda path: path in ("run.sh", "empty folder")),
    ],
)
def test_a_selection_gives_exactly_what_it_selects(filled, patterns, expected):
    """Globs fetch a part into a folder of its own, and nothing else of the version."""
    report = filled.fetch(filled.version(), patterns=patterns)
    assert contents(report.path) == {k: v for k, v in contents(filled.source).items() if expected(k)}


def test_a_selection_of_a_cached_version_moves_nothing(filled):
    """Files of the whole version in the cache are linked, not read again."""
    version = filled.version()
    whole = filled.fetch(version)
    part = filled.fetch(version, patterns=["middle"])
    assert part.transferred == 0
    assert (part.path / "middle/0.bin").samefile(whole.path / "middle/0.bin")


def test_a_selection_of_nothing_is_refused(filled):
    """Globs that match nothing are an error, and leave nothing behind."""
    with pytest.raises(PathNotFound, match=r"nothing in the version matches '\*\.jpg'"):
        filled.fetch(filled.version(), patterns=["*.jpg"])
    with pytest.raises(InvalidInput):
        filled.fetch(filled.version(), patterns=[])
    assert filled.cache.folders() == []


@pytest.mark.parametrize("damage", ["changed", "missing", "truncated", "replaced by a link"])
def test_a_damaged_file_is_fetched_again_and_nothing_else(filled, damage):
    """A folder that does not look as it did is repaired, and only there."""
    version = filled.version()
    report = filled.fetch(version)
    victim = report.path / "middle" / "1.bin"
    victim.parent.chmod(0o755)
    if damage == "changed":
        victim.chmod(0o644)
        victim.write_bytes(b"?" * victim.stat().st_size)
    elif damage == "truncated":
        os.truncate(victim, 10)
    else:
        victim.unlink()
        if damage == "replaced by a link":
            victim.symlink_to("/etc/passwd")
    again = filled.fetch(version)
    assert contents(again.path) == contents(filled.source)
    assert 0 < again.transferred < 1_000_000
    assert filled.fetch(version).transferred == 0
    assert victim.parent.stat().st_mode & 0o222 == 0


def test_full_verification_finds_what_stat_cannot_see(filled):
    """Bytes changed behind size and mtime are found by hashing, and fetched again."""
    version = filled.version()
    victim = filled.fetch(version).path / "middle" / "2.bin"
    before = victim.stat()
    victim.chmod(0o644)
    victim.write_bytes(b"?" * before.st_size)
    os.utime(victim, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert contents(filled.fetch(version).path) != contents(filled.source)
    assert contents(filled.fetch(version, verify="full").path) == contents(filled.source)


@pytest.mark.parametrize("lost", [".stat", ".json"])
def test_a_folder_whose_description_is_lost_is_verified_anew(filled, lost):
    """Without its manifest a folder is as good as an interrupted fetch: hashed, and taken over."""
    version = filled.version()
    path = filled.fetch(version).path
    path.with_name(path.name + lost).write_bytes(b"rubbish")
    report = filled.fetch(version)
    assert contents(report.path) == contents(filled.source)
    assert report.transferred < 1_000
    assert [folder.path for folder in filled.cache.folders()] == [path]
    assert sorted(p.name for p in filled.cache.trees.iterdir()) == [
        path.name,
        f"{path.name}.json",
        f"{path.name}.stat",
    ]


class Stop(Exception):
    """An interruption at a chosen moment."""


class StopsAfter(Counters):
    """Progress that interrupts the work once so many files are done."""

    def __init__(self, files):
        super().__init__()
        self.most = files

    def advance(self, files, size, /, new=0):
        super().advance(files, size, new=new)
        if self.files > self.most:
            raise Stop


def test_an_interrupted_fetch_goes_on_where_it_was(filled):
    """What is whole after an interruption is not transferred again; two interruptions do not harm."""
    version = filled.version()
    for files in (40, 122):
        with pytest.raises(Stop):
            filled.fetch(version, progress=StopsAfter(files))
        assert filled.cache.folders() == []
    report = filled.fetch(version)
    assert contents(report.path) == contents(filled.source)
    assert report.reused > 0
    assert report.transferred < report.size - report.reused + 1_000_000
    assert [path.name for path in filled.cache.trees.glob("*partial*")] == []


def test_exclusions_go_on_after_an_interruption(filled):
    """What an interrupted fetch left is used by the same selection, and by no other as if it were its own."""
    version = filled.version()
    with pytest.raises(Stop):
        filled.fetch(version, exclude=["large.bin"], progress=StopsAfter(100))
    report = filled.fetch(version, exclude=["large.bin"])
    assert report.reused > 0
    whole = contents(filled.source)
    assert contents(report.path) == {path: what for path, what in whole.items() if path != "large.bin"}
    assert contents(filled.fetch(version).path) == whole
    assert list(filled.cache.trees.glob("*partial*")) == []


def test_leftovers_that_are_wrong_are_not_taken_over(filled):
    """Files of an interrupted fetch are hashed before they are used."""
    version = filled.version()
    with pytest.raises(Stop):
        filled.fetch(version, progress=StopsAfter(122))
    (left,) = filled.cache.trees.glob("*.partial")
    for path in left.rglob("*.txt"):
        path.chmod(0o644)
        path.write_bytes(b"?" * path.stat().st_size)
    assert contents(filled.fetch(version).path) == contents(filled.source)


def _fetch_in_process(root, tree, start, results):
    import dataver

    repo = dataver.open(root / "repo")
    start.wait()
    report = fetch(repo._core, tree, cache=VersionCache(root / "cache"))
    results.put((report.path, report.transferred))


def test_processes_share_one_download(filled):
    """Of several processes that fetch at once one transfers, and all get the same complete folder."""
    version = filled.version()
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(3), context.Queue()
    arguments = (filled.root, version.tree.digest, start, results)
    processes = [context.Process(target=_fetch_in_process, args=arguments) for _ in range(3)]
    for process in processes:
        process.start()
    found = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert len({path for path, _ in found}) == 1
    assert sorted(bool(transferred) for _, transferred in found) == [False, False, True]
    assert contents(found[0][0]) == contents(filled.source)


def test_a_damaged_pack_is_an_error_that_names_a_file(filled):
    """A flipped bit in a pack never becomes a byte of a file that somebody sees."""
    version = filled.version()
    pack = max(filled.packs(), key=lambda path: path.stat().st_size)
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"'[\w/.]+' cannot be restored"):
        filled.fetch(version)
    assert filled.cache.folders() == []


def test_a_missing_pack_is_an_error(filled):
    """A pack that is gone is named."""
    version = filled.version()
    gone = filled.packs()[0]
    gone.unlink()
    with pytest.raises(IntegrityError, match=gone.name):
        filled.fetch(version)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MB and few files."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    path = tmp_path / "small"
    path.mkdir()
    if os.system(f"mount -t tmpfs -o size=4m,nr_inodes=40 tmpfs {path}") != 0:
        pytest.skip("this machine does not let us mount a tmpfs")
    yield path
    os.system(f"umount -l {path}")


def test_too_little_space_is_said_before_anything_is_written(filled, small_disk):
    """A version that does not fit is refused in one sentence."""
    with pytest.raises(StoreError, match=r"4\.\d MB free.*nothing was written"):
        filled.fetch(filled.version(), cache=VersionCache(small_disk / "cache"))
    with pytest.raises(StoreError, match="nothing was written"):
        filled.fetch(filled.version(), dest=small_disk / "own")
    assert not (small_disk / "own").exists()


def test_a_disk_that_gets_full_is_an_error_and_no_version(filled, small_disk):
    """Where the disk ends in the middle, no folder appears, and a fetch with room completes."""
    version = filled.version()
    with pytest.raises(StoreError, match="is full"):
        filled.fetch(version, cache=VersionCache(small_disk / "cache"), patterns=["tiny"])
    assert VersionCache(small_disk / "cache").folders() == []
    with pytest.raises(StoreError, match="is full"):
        filled.fetch(version, dest=small_disk / "own", patterns=["tiny"])
    assert not (small_disk / "own").exists()


def test_a_cached_folder_can_be_removed(filled):
    """Removing takes the folder and all that is said of it; the next fetch transfers again."""
    version = filled.version()
    filled.fetch(version)
    (folder,) = filled.cache.folders()
    assert filled.cache.size() == folder.size
    assert not remove(filled.cache, folder)  # this process uses it
    filled.cache.done(folder.path.name)
    assert remove(filled.cache, folder)
    assert filled.cache.folders() == []
    assert list(filled.cache.trees.iterdir()) == []
    assert filled.fetch(version).transferred > 0


def test_an_empty_version_is_an_empty_folder(world):
    """A version without entries is a folder without files."""
    write(world.source / "x", "x")
    first = world.version()
    (world.source / "x").unlink()
    report = world.fetch(world.version(parents=[first.ref]))
    assert isinstance(report, FetchReport)
    assert list(report.path.iterdir()) == []


def test_names_with_wildcards_and_any_spelling_choose_what_they_name(world, tmp_path):
    """An exact path is that path in fetch, read and lists; half of what was asked is refused."""
    write(world.source / "[abc].txt", "odd")
    write(world.source / "a.txt", "plain")
    write(world.source / "train" / "b.txt", "deep")
    version = world.version()
    assert set(contents(world.fetch(version, patterns=["[abc].txt"]).path)) == {"[abc].txt"}
    deep = world.fetch(version, patterns=[Path("train/b.txt")]).path
    assert (deep / "train" / "b.txt").read_text() == "deep" and not (deep / "a.txt").exists()
    files = world.repo.files(version.ref)
    for path in ("train/b.txt", "/train/b.txt", "./train//b.txt", Path("train/b.txt")):
        assert version.read(path) == files.read(path) == b"deep"
    with pytest.raises(PathNotFound, match=r"nothing in the version matches 'vall/\*\*'"):
        world.fetch(version, patterns=["train/**", "vall/**"], dest=tmp_path / "half")
    assert not (tmp_path / "half").exists()
