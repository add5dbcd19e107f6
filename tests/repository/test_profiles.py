"""Profiles in the repository: few objects, which may be damaged, lost, joined and pruned."""

import os
from datetime import timedelta

import pytest

import dataver
from dataver.formats.profile import decode_profile, encode_profile
from dataver.hashing import digest
from dataver.repository.layout import profiles_key
from dataver.repository.profiles import Profiles


@pytest.fixture
def repo(tmp_path, monkeypatch):
    """Two versions; the second one lacks the file `a` of the first and has `b` instead."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "data"
    folder.mkdir()
    repo = dataver.init(tmp_path / "repo")
    (folder / "both").write_bytes(b"both")
    for name in ("a", "b"):
        (folder / name).write_bytes(name.encode())
        repo.sync(folder, "vision/cats", workspace=tmp_path)
        (folder / name).unlink()
    return repo


def line(*, full: bool = True, **values: object) -> bytes:
    return encode_profile({"kind": "text", "full": full, **values})


def add(repo, label: str, *contents: bytes, group: str = "files", full: bool = True) -> None:
    """Store a profile of each file of these contents, as made for a version."""
    tree = repo.version(f"vision/cats@{label}")._record.tree
    lines = {digest(each): line(size=len(each), full=full) for each in contents}
    repo._core.profiles.add("vision/cats", group, [tree], lines)


def found(repo, dataset: str = "vision/cats") -> dict[bytes, dict]:
    lines = Profiles(repo._core.store, None).find(dataset, "files")
    return {name: decode_profile(each) for name, each in lines.items()}


def keys(repo) -> list[str]:
    return [info.key for info in repo._core.store.list("profiles/")]


def test_profiles_are_found_by_digest_and_a_full_one_is_better(repo):
    add(repo, "1.0.0", b"a", b"both", full=False)
    add(repo, "1.0.0", b"a")
    add(repo, "1.0.0", b"a", full=False)
    assert {name: each["full"] for name, each in found(repo).items()} == {
        digest(b"a"): True,
        digest(b"both"): False,
    }
    core = repo._core
    assert core.profiles.find("vision/cats", "files", {digest(b"a")}).keys() == {digest(b"a")}
    assert core.profiles.find("vision/cats", "tables") == core.profiles.find("vision", "files") == {}


def test_a_wanted_file_is_looked_for_in_objects_that_may_have_it_only(repo):
    many = sorted(os.urandom(32) for _ in range(2000))
    tree = repo.version("vision/cats")._record.tree
    repo._core.profiles.add("vision/cats", "files", [tree], {name: line(pad="x" * 9000) for name in many})
    assert len(keys(repo)) > 3
    read = []
    profiles = Profiles(repo._core.store, None)
    load = profiles.load
    profiles.load = lambda key, **how: read.append(key) or load(key, **how)
    assert profiles.find("vision/cats", "files", {many[0]}).keys() == {many[0]}
    assert len(read) == 1
    assert profiles.find("vision/cats", "files").keys() == set(many)
    assert all(info.size <= 4 << 20 for info in repo._core.store.list("profiles/"))


def test_damaged_objects_are_ignored_reported_and_removed(repo):
    add(repo, "1.0.0", b"a")
    add(repo, "1.0.0", b"both")
    store = repo._core.store
    bad = keys(repo)[0]
    store.delete(bad)
    store.put(bad, b"<html>")
    assert len(found(repo)) == 1
    assert [name for name, _ in repo.verify().findings] == [bad]
    assert repo.plan_gc().profiles[0][0].key == bad
    repo.gc()
    assert repo.verify().ok and len(found(repo)) == 1


def test_small_objects_are_joined_and_nothing_is_lost(repo):
    contents = [str(number).encode() for number in range(400)]
    for each in contents:
        add(repo, "1.0.0", each)
    assert len(keys(repo)) < 200
    assert found(repo).keys() == {digest(each) for each in contents}


def test_a_reader_that_misses_a_joined_object_lists_again(repo):
    add(repo, "1.0.0", b"a")
    old = keys(repo)
    profiles = Profiles(repo._core.store, None)
    objects = profiles.objects

    def listing(dataset):
        listed = objects(dataset)
        if old:  # another process joins them between the listing and the reading
            add(repo, "1.0.0", b"a", b"both")
            repo._core.store.delete(old.pop())
        return listed

    profiles.objects = listing
    assert profiles.find("vision/cats", "files").keys() == {digest(b"a"), digest(b"both")}


def test_gc_removes_the_profiles_of_files_that_no_version_has(repo):
    """At once, without a grace period; those that a living version shares stay."""
    add(repo, "1.0.0", b"a", b"both")
    add(repo, "1.0.1", b"b")
    repo.version("vision/cats@1.0.0").delete()
    plan = repo.plan_gc()
    assert (len(plan.profiles), plan.count) == (1, 1)
    assert repo.gc().profiles == 1
    assert found(repo).keys() == {digest(b"both"), digest(b"b")}
    assert repo.plan_gc().count == 0
    repo.version("vision/cats@1.0.1").delete()
    repo.gc(grace=timedelta(0), delete_most=True)
    assert keys(repo) == []


def test_a_rename_takes_them_along(repo):
    add(repo, "1.0.0", b"a")
    repo.rename("vision/cats", "vision/dogs")
    assert found(repo, "vision/dogs").keys() == {digest(b"a")}
    repo.gc()
    assert all(key.startswith("profiles/vision/dogs/") for key in keys(repo)) and keys(repo)
    assert repo.verify().ok


def test_foreign_keys_are_ignored(repo):
    for key in (
        "profiles/vision/cats/x.zst",
        profiles_key("vision/cats", "other-00000000-00000000-" + "0" * 64),
    ):
        repo._core.store.put(key, b"x")
    assert repo._core.profiles.objects() == [] and repo.verify().ok
