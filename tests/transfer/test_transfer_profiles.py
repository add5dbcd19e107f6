"""Profiles on their way: with the versions that have the files, and no others."""

import pytest

from dataver.formats.profile import encode_profile
from dataver.hashing import digest


def lines(*contents: bytes) -> dict[bytes, bytes]:
    return {digest(each): encode_profile({"kind": "text", "full": True}) for each in contents}


@pytest.fixture
def profiled(world):
    """Two versions: `one` is in the first only, `both` in both; an object each, and one that is joined."""
    source = world.source.open()
    trees = []
    for name in ("one", "two"):
        (world.folder / "both").write_bytes(b"both")
        (world.folder / name).write_bytes(name.encode())
        trees.append(world.publish("cats", source)._record.tree)
        (world.folder / name).unlink()
    source._core.profiles.add("cats", "files", trees, lines(b"one", b"both", b"two"))
    source._core.profiles.add("cats", "files", trees[:1], lines(b"one"))
    return world


def names(world) -> set[bytes]:
    return set(world.target.open()._core.profiles.find("cats", "files"))


def test_all_versions_take_the_objects_unchanged_and_once(profiled):
    source, target = profiled.source.open(), profiled.target
    assert source.push(target.open()).profiles == 2
    assert target.objects("profiles/") == profiled.source.objects("profiles/") != {}
    assert source.push(target.open()).profiles == 0
    tree = source.version("cats@1.0.0")._record.tree
    source._core.profiles.add("cats", "files", [tree], lines(b"both"))
    report = source.push(target.open())
    assert (report.profiles, report.versions) == (1, [])


def test_a_version_alone_takes_the_profiles_of_its_own_files(profiled):
    """A joined object is taken apart: what the other version has may not be meant for the target."""
    source = profiled.source.open()
    assert source.push(profiled.target.open(), "cats@1.0.1").profiles == 1
    assert names(profiled) == {digest(b"both"), digest(b"two")}
    assert source.push(profiled.target.open(), "cats@1.0.1").profiles == 0
    source.push(profiled.target.open(), "cats@1.0.0")
    assert names(profiled) == {digest(b"both"), digest(b"two"), digest(b"one")}


def test_a_damaged_object_stops_no_transfer(profiled):
    for key in profiled.source.keys("profiles/"):
        profiled.source.inner.objects[key] = b"damaged"
    report = profiled.source.open().push(profiled.target.open())
    assert (len(report.versions), report.profiles, report.problems) == (2, 0, [])
    assert profiled.target.keys("profiles/") == []
