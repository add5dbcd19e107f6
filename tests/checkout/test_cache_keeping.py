"""The bounded cache: what goes first, what never goes, who is seen to use it, what the user may say."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import dataver
from dataver.cache.eviction import REST, cache_use, clean, make_room, plan_clean, remove
from dataver.cache.leases import holder
from dataver.cache.limit import cache_limit, parse_limit
from dataver.checkout.cache_verifier import verify_cache
from dataver.errors import InvalidInput
from dataver.machine.configuration import user_config_path
from waiting import until

from .conftest import write


def age(cache, seconds):
    """Make every folder look as if it was used that much earlier, in the order of their names."""
    for folder in cache.folders():
        moment = folder.about.stat().st_mtime - seconds
        os.utime(folder.about, (moment, moment))


def release(cache):
    """End this process's use of every folder, as its end would."""
    for folder in cache.folders():
        cache.done(folder.path.name)


@pytest.fixture
def three(world, monkeypatch):
    """Three cached versions of 1 MB that share nothing, used one after the other, long ago, by nobody."""
    monkeypatch.setenv("DATAVER_CACHE_SIZE", "unlimited")
    world.versions = []
    for _ in range(3):
        write(world.source / "file", os.urandom(1_000_000))
        world.versions.append(world.version())
        world.fetch(world.versions[-1])
        age(world.cache, 10 * REST)
    release(world.cache)
    return world


def cached(world):
    return [version for version in world.versions if world.cache.lookup(version.tree.digest)]


def test_what_was_used_longest_ago_goes_first(three, monkeypatch):
    """A fetch that finds its folder ready makes it the youngest; who needs room takes another."""
    first, _, third = three.versions
    monkeypatch.setenv("DATAVER_CACHE_SIZE", "3500kB")
    three.fetch(first)
    release(three.cache)
    age(three.cache, 2 * REST)
    write(three.source / "file", os.urandom(1_000_000))
    newest = three.version()
    three.fetch(newest)
    assert cached(three) == [first, third]
    assert three.cache.lookup(newest.tree.digest)
    assert cache_use(three.cache).size < 3_500_000


def test_what_was_used_just_now_stays(three, monkeypatch):
    """The path that a command printed is still there for the next command to read."""
    monkeypatch.setenv("DATAVER_CACHE_SIZE", "1")
    os.utime(three.cache.lookup(three.versions[0].tree.digest).about)
    assert make_room(three.cache, 0) > 1_900_000
    assert cached(three) == three.versions[:1]


_USER = """
import os, sys, time
from pathlib import Path
from dataver.cache.version_cache import VersionCache
import dataver
from dataver.checkout import fetch
repo = dataver.open(sys.argv[1])
fetch(repo._core, repo._core.resolve(sys.argv[2]).record.tree, cache=VersionCache(Path(sys.argv[3])))
if len(sys.argv) > 4 and os.fork():
    os._exit(0)
print(os.getpid(), flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("forked", [False, True])
def test_what_a_live_process_uses_is_never_removed(three, monkeypatch, forked):
    """Its folder stays through eviction and cleaning; killed, it holds nothing. A forked child counts."""
    monkeypatch.setenv("DATAVER_CACHE_SIZE", "1")
    used = three.versions[0]
    command = [sys.executable, "-c", _USER, str(three.root / "repo"), used.ref, str(three.cache.root)]
    process = subprocess.Popen([*command, *(["fork"] if forked else [])], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    user = int(process.stdout.readline())
    try:
        age(three.cache, 10 * REST)
        make_room(three.cache, 0)
        assert cached(three) == [used]
        plan = plan_clean(three.cache)
        assert (plan.folders, plan.size) == ([], 0)
        (who,) = plan.kept[0].users
        assert who["host"] == os.uname().nodename
        assert forked or who["process"] == user
        assert not remove(three.cache, three.cache.lookup(used.tree.digest))
    finally:
        os.kill(user, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    until(lambda: (make_room(three.cache, 0), not cached(three))[1])


def test_many_fetched_folders_take_one_descriptor(three):
    """A process may use more folders than it may open files; each stays until its own use ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")) + 30, hard))
    try:
        taken = [three.cache.lease(f"folder-{number}") for number in range(100)]
        three.fetch(three.versions[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert None not in taken
    name = three.cache.lookup(three.versions[0].tree.digest).path.name
    lease = three.cache.lease(name)
    for each in taken:
        each.release()
    age(three.cache, 10 * REST)
    assert not remove(three.cache, three.cache.lookup(three.versions[0].tree.digest))
    lease.release()
    assert remove(three.cache, three.cache.lookup(three.versions[0].tree.digest))


def test_a_lease_taken_while_a_folder_goes_brings_it_back(three, monkeypatch):
    """Between the first look and the second: what says that the folder is complete is put back."""
    folder = three.cache.folders()[0]
    taken = []
    rename = Path.rename

    def renaming(path, target):
        done = rename(path, target)
        if not taken and path == folder.about:
            taken.append(three.cache.lease(folder.path.name))
        return done

    monkeypatch.setattr(Path, "rename", renaming)
    assert not remove(three.cache, folder)
    assert len(taken) == 1
    assert three.cache.lookup(folder.tree) == folder
    taken[0].release()
    assert remove(three.cache, folder)
    assert three.cache.lookup(folder.tree) is None


def test_files_that_folders_share_count_once(world, monkeypatch):
    """Ten versions of a large file and a small one take little more than one; removing nine frees little."""
    monkeypatch.setenv("DATAVER_CACHE_SIZE", "unlimited")
    write(world.source / "large", os.urandom(2_000_000))
    parents = []
    for number in range(10):
        write(world.source / "small", f"{number}")
        version = world.version(parents)
        parents = [version.ref]
        world.fetch(version, near=[bytes.fromhex(parent.tree) for parent in version.parents])
    use = cache_use(world.cache)
    assert 2_000_000 <= use.size < 2_200_000
    assert sum(each.folder.size for each in use.folders) > 20_000_000
    assert all(each.own < 20_000 for each in use.folders)
    monkeypatch.setenv("DATAVER_CACHE_SIZE", "2500kB")
    release(world.cache)
    age(world.cache, 10 * REST)
    assert make_room(world.cache, 0) == 0
    assert len(world.cache.folders()) == 10
    plan = plan_clean(world.cache)
    assert plan.size == use.size
    gone, problems = clean(world.cache, plan)
    assert (gone, problems, world.cache.folders()) == (10, [], [])


def test_what_is_older_than_a_period_is_planned(three):
    """Cleaning by age takes what was not used for so long, and nothing before the plan is carried out."""
    plan = plan_clean(three.cache, older=25 * REST)
    assert [each.folder.tree for each in plan.folders] == [three.versions[0].tree.digest]
    assert cached(three) == three.versions
    clean(three.cache, plan)
    assert cached(three) == three.versions[1:]


def test_interrupted_fetches_are_seen_and_go(three):
    """What a killed fetch left is counted, and cleaned where nobody works on it."""
    left = three.cache.trees / f"{'ab' * 32}.partial"
    write(left / "file", b"x" * 50_000)
    assert cache_use(three.cache).left.keys() == {left}
    with three.cache.lock("ab" * 32):
        assert holder(three.cache.root / "locks" / ("ab" * 32))["process"] == os.getpid()
        assert plan_clean(three.cache).left == []
    assert holder(three.cache.root / "locks" / ("ab" * 32)) is None
    clean(three.cache, plan_clean(three.cache))
    assert list(three.cache.trees.glob("*.partial")) == []


def test_verify_finds_and_replaces_a_damaged_file(three):
    """A bit that flipped on the disk, size and time unchanged: found by hashing, fetched again."""
    folder = three.cache.lookup(three.versions[1].tree.digest)
    path = folder.path / "file"
    status, good = path.stat(), path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(good[:500] + bytes([good[500] ^ 1]) + good[501:])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    path.chmod(0o444)
    assert three.fetch(three.versions[1]).repaired == 0  # looks right
    check = verify_cache(three.cache, lambda folder: dataver.open(folder.repository)._core)
    assert (check.folders, len(check.repaired), check.problems) == (3, 1, [])
    assert check.repaired[0][1] == 1
    assert path.read_bytes() == good
    assert verify_cache(three.cache, lambda folder: dataver.open(folder.repository)._core).repaired == []


def test_a_repository_that_is_gone_is_named(three):
    """What cannot be compared with anything is a problem, by the version's digest."""
    (three.root / "repo").rename(three.root / "elsewhere")
    check = verify_cache(three.cache, lambda folder: dataver.open(folder.repository)._core)
    assert (check.folders, len(check.problems)) == (0, 3)


def test_the_bound_is_what_the_user_said(tmp_path, monkeypatch):
    """The variable first, then the configuration, then a share of the disk; nonsense is refused."""
    monkeypatch.delenv("DATAVER_CACHE_SIZE", raising=False)
    disk = os.statvfs(tmp_path)
    whole = disk.f_blocks * disk.f_frsize
    assert cache_limit(tmp_path).size == int(0.2 * whole)
    config = user_config_path()
    assert config.is_relative_to(os.environ["HOME"])
    config.parent.mkdir(parents=True)
    config.write_text('[cache]\nsize = "1.5 GB"\n')
    assert cache_limit(tmp_path) == (1_500_000_000, str(config))
    monkeypatch.setenv("DATAVER_CACHE_SIZE", "50%")
    assert cache_limit(tmp_path).size == whole // 2
    for text, size in (("10", 10), ("2 KiB", 2048), ("3kb", 3000), ("1T", 10**12), ("unlimited", None)):
        assert parse_limit(text, tmp_path) == size
    for wrong in ("much", "-1GB", "10 apples"):
        with pytest.raises(InvalidInput, match="size"):
            parse_limit(wrong, tmp_path)
