"""Hundreds of nested folders in long paths: more than calls or descriptors can nest, or one path can name."""

import os
import resource

import pytest

import dataver
from dataver.cache.eviction import clean, plan_clean
from dataver.cache.object_cache import DiskCache
from dataver.cache.version_cache import VersionCache
from dataver.machine.cache_root import private_cache_root
from dataver.machine.deep_folders import Descent, open_folder, remove_folder, walk_folders
from dataver.maintenance.gc import unfinished

DEPTH = 600  # the recursion limit is 1,000 calls, of which the standard library takes two a level
NAME = "depth"  # the path in the version stays below 4,096 bytes, the path on the disk does not
LEAF = f"{NAME}/" * DEPTH + "leaf"


def nest(top, names):
    """Make folders in each other below an existing one; return the innermost one's descriptor."""
    here = open_folder(top)
    for name in names:
        os.mkdir(name, dir_fd=here)
        below = open_folder(name, here)
        os.close(here)
        here = below
    return here


def write_at(folder, name, data=b"x"):
    fd = os.open(name, os.O_WRONLY | os.O_CREAT, dir_fd=folder)
    os.write(fd, data)
    os.close(fd)


@pytest.fixture
def few_descriptors():
    """No more descriptors than a level in ten could keep."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A folder that is removed afterwards; pytest's own removal recurses."""
    made = tmp_path / ("r" * 250) / ("r" * 250)
    (made / "source").mkdir(parents=True)
    monkeypatch.setenv("DATAVER_CACHE", str(made / "cache"))
    monkeypatch.chdir(made)
    yield made
    remove_folder(made)
    assert not made.exists()


def test_hundreds_of_nested_folders_are_fetched_verified_and_cleaned(root, few_descriptors):
    """Whatever is done with such a version once is done with it again, cache and own copy alike."""
    innermost = nest(root / "source", [NAME] * DEPTH)
    write_at(innermost, "leaf")
    os.close(innermost)
    repo = dataver.init(root / "repo")
    draft = repo.create("deep")
    draft.add("source")
    version = draft.finalize()
    version.upload()
    cached = repo.fetch("deep").path
    own = root / "own"
    repo.fetch("deep", dest=own)
    remove_folder(own / NAME)
    assert repo.fetch("deep", dest=own).files == 1
    assert repo.fetch("deep", dest=own).extra == 0
    assert repo.verify_folder("deep", own).ok
    (own / NAME / "mine").write_bytes(b"x")
    assert [path for path, _ in repo.verify_folder("deep", own).findings] == [f"{NAME}/mine"]
    cache = VersionCache(private_cache_root())
    cache.done(cached.name)
    assert clean(cache, plan_clean(cache)) == (1, [])
    assert not cached.exists()


def test_a_walk_shows_links_and_passes_what_it_cannot_read(root):
    """Links to folders are not entered, a folder that vanished is reported, one taken out is not entered."""
    for name in ("a/in", "b", "c"):
        (root / "source" / name).mkdir(parents=True)
    (root / "source" / "a" / "link").symlink_to(root)
    top = open_folder(root / "source")
    seen, problems = {}, []
    for visit in walk_folders(top, failed=lambda path, _: problems.append(path)):
        seen[visit.path] = sorted(visit.others)
        if not visit.path:
            visit.folders.remove("c")
            (root / "source" / "b").rmdir()
    os.close(top)
    assert seen == {"": [], "a": ["link"], "a/in": []}
    assert problems == ["b"]


def test_a_folder_that_is_moved_is_not_left_for_another(root):
    """The way up is the way down, or an error: never a folder outside."""
    (root / "source" / "a" / "b").mkdir(parents=True)
    top = open_folder(root / "source")
    with Descent(top) as position:
        position.enter(["a", "b"], make=False)
        (root / "source" / "a" / "b").rename(root / "b")
        with pytest.raises(OSError, match="moved meanwhile"):
            position.up()
    os.close(top)


def test_removal_takes_read_only_folders_and_leaves_what_links_name(root):
    """A read-only folder goes; the target of a link stays; a missing folder is fine."""
    kept = root / "kept"
    kept.mkdir()
    (kept / "file").write_text("x")
    (root / "source" / "a").mkdir()
    (root / "source" / "a" / "link").symlink_to(kept)
    (root / "source" / "a").chmod(0o500)
    remove_folder(root / "source")
    remove_folder(root / "source")
    assert not (root / "source").exists()
    assert (kept / "file").exists()


def test_folders_nested_without_end_hinder_no_repository(root):
    """Foreign folders in a repository and in the cache of objects are walked, whatever their depth."""
    repo = dataver.init(root / "repo")
    (root / "source" / "a").write_text("a")
    repo.sync(root / "source", "d")
    objects = DiskCache(root / "objects", limit=1000)
    objects.put("key", bytes(500))
    os.close(nest(root / "objects", ["x"] * 1500))
    innermost = nest(root / "repo" / "datasets", ["x"] * 1500)
    write_at(innermost, ".tmp-0123")
    os.close(innermost)
    assert [info.key for info in repo._core.store.list("datasets/")] == ["datasets/d/versions/1.0.0.json"]
    assert repo.du().other
    assert [info.key.endswith("/.tmp-0123") for info in unfinished(repo._core.store)] == [True]
    objects.put("other", bytes(700))
    objects.clear()
    assert not (root / "objects").exists()
