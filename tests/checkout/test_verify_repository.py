"""A whole repository in one call: each object once, every damage named, and the versions that it affects."""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest

import dataver
from dataver.formats.keeping import Hold
from dataver.formats.record import parse_record
from dataver.repository import RepositoryCore as Core
from dataver.repository.layout import hold_key
from dataver.storage import MemoryStore
from dataver.testing.faulty import FaultyStore

from .conftest import World, fill, write


@pytest.fixture(scope="module")
def first(template):
    """What `many` is a copy of."""
    filled = template
    fill(filled)
    filled.version()
    for number in range(4):
        write(filled.source / "tiny" / f"new{number}.txt", f"new {number}\n" * 50)
        filled.version(parents=[f"some/data@1.0.{number}"])
    filled.repo.sync(filled.source / "middle", "other", workspace=filled.root)
    filled.repo.tag("some/data@1.0.1", "prod")
    filled.repo.delete("some/data@1.0.4")
    return filled


@pytest.fixture
def many(first, tmp_path, monkeypatch):
    """Five versions of a dataset, the last one deleted, one of another dataset with the same files, a tag."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "machine"))
    return World(tmp_path, like=first)


def reopened(world):
    return dataver.open(world.root / "repo")


def objects(world):
    """Return the files of the repository."""
    return sorted(path for path in (world.root / "repo").rglob("*") if path.is_file())


def flip(path, at=-9):
    """Flip a bit of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.chmod(0o644)
    path.write_bytes(data)


@pytest.mark.parametrize("quick", [False, True])
def test_a_sound_repository_is_counted_in_whole(many, quick):
    """Every object there is, its bytes, and each file once."""
    report = reopened(many).verify(quick=quick)
    assert report.ok and report.affected == [] and report.versions == 5
    assert report.objects == len(objects(many))
    assert report.packs == len(many.packs())
    files = [path for path in many.source.rglob("*") if path.is_file() and not path.is_symlink()]
    # `middle` is in both datasets, and the file of the deleted version in none
    assert report.files == len(files) - 1
    stored = sum(path.stat().st_size for path in objects(many))
    assert 0 <= stored - report.stored < 10_000  # attachments count uncompressed
    assert report.size == sum(path.stat().st_size for path in files) - len("new 3\n" * 50)


def test_every_object_is_read_once(many):
    """No range of a pack is read twice, and a block again only as the base of others."""
    inner = MemoryStore()
    for path in objects(many):
        inner.put(path.relative_to(many.root / "repo").as_posix(), path.read_bytes())
    store = FaultyStore(inner)
    repo = dataver.Repository(Core(store, many.repo._core.config), "memory:test")
    assert repo.verify().ok
    reads = [each for each in store.requests if each.method in ("get", "get_tail")]
    blocks = Counter(each.key for each in reads if each.key.startswith("trees/"))
    assert set(blocks) == {info.key for info in inner.list("trees/")}
    assert blocks.total() < 2 * len(blocks)
    ranges = Counter(each for each in reads if each.key.startswith("packs/") and each.method == "get")
    assert max(ranges.values()) == 1
    moved = sum(each.length or 0 for each in ranges)
    assert moved < 1.1 * sum(info.size for info in inner.list("packs/"))  # small gaps are read


@pytest.mark.parametrize("quick", [False, True])
def test_damage_names_files_once_and_every_version_that_has_them(many, quick):
    """The two datasets share a file; all versions of both are affected."""
    tree = reopened(many).version("some/data@1.0.0").tree
    first = tree.get("middle/0.bin").extents[0]
    [path] = [each for each in many.packs() if each.name == first.pack.hex()]
    flip(path, first.offset + 100)
    report = reopened(many).verify(quick=quick)
    names = [name for name, _ in report.findings]
    assert f"pack {first.pack.hex()}" in names
    assert "other@1.0.0/0.bin" in names and "some/data@1.0.0/middle/0.bin" not in names
    assert not any(name.startswith(f"some/data@1.0.{number}") for name in names for number in (1, 2, 3))
    assert report.affected == ["other@1.0.0", *(f"some/data@1.0.{number}" for number in range(4))]


def test_only_versions_with_the_damaged_file_are_affected(many):
    """A file that the third version added is in it and the fourth."""
    [extent] = reopened(many).version("some/data@1.0.2").tree.get("tiny/new1.txt").extents
    [path] = [each for each in many.packs() if each.name == extent.pack.hex()]
    flip(path, extent.offset + 20)
    report = reopened(many).verify()
    assert [name for name, _ in report.findings] == [
        f"pack {extent.pack.hex()}",
        "some/data@1.0.2/tiny/new1.txt",
    ]
    assert report.affected == ["some/data@1.0.2", "some/data@1.0.3"]


def test_a_missing_block_and_a_missing_pack_are_findings(many):
    """The search continues after each."""
    root = reopened(many).version("some/data@1.0.1").tree.digest.hex()
    (many.root / "repo" / "trees" / root[:2] / root).unlink()
    gone = max(many.packs(), key=lambda path: path.stat().st_size)
    gone.unlink()
    repo = reopened(many)
    (many.root / "repo" / "dataver.json").unlink()
    report = repo.verify(quick=True)
    names = [name for name, _ in report.findings]
    assert ("dataver.json", "is missing") in report.findings
    assert f"tree block {root}" in names and f"pack {gone.name}" in names
    assert "some/data@1.0.1" in report.affected and "some/data@1.0.0" in report.affected


@pytest.mark.parametrize(
    ("what", "name", "affected"),
    [
        ("datasets/some/data/versions/1.0.1.json", "some/data@1.0.1", ["some/data@1.0.1"]),
        ("datasets/some/data/versions/1.0.4.tombstone", "some/data@1.0.4", []),
        ("datasets/some/data/tags/prod/00000001.json", "datasets/some/data/tags/prod/00000001.json", []),
        ("dataver.json", "dataver.json", []),
        ("keeping/holds/", None, []),
    ],
)
def test_damage_of_small_objects_is_named(many, what, name, affected):
    """Records, tombstones, tags, the configuration, and notes of writers."""
    repo = reopened(many)
    repo._core.store.put(hold_key("1" * 32), Hold(tree=bytes(32), owner={}).encode())
    [path, *_] = [
        path for path in objects(many) if path.relative_to(many.root / "repo").as_posix().startswith(what)
    ]
    flip(path)
    report = repo.verify(quick=True)
    key = path.relative_to(many.root / "repo").as_posix()
    assert [each for each, _ in report.findings] == [name or key]
    assert report.affected == affected


def test_a_replaced_record_shows_in_children_and_tags(many):
    """Both name its id."""
    path = many.root / "repo/datasets/some/data/versions/1.0.1.json"
    path.chmod(0o644)
    path.write_bytes(replace(parse_record(path.read_bytes()), message="forged").encode())
    report = reopened(many).verify(quick=True)
    told = [what for name, what in report.findings if name == "some/data@1.0.1"]
    assert len(told) == 2 and any("1.0.2 names" in each for each in told), report.findings
    assert any("the tag some/data@prod names" in each for each in told)
    assert report.affected == ["some/data@1.0.1"]


def test_a_lost_move_of_a_tag_is_named(many):
    """Later moves show that it was there."""
    many.repo.tag("some/data@1.0.2", "prod")
    many.repo.tag("some/data@1.0.3", "prod")
    key = "datasets/some/data/tags/prod/00000002.json"
    (many.root / "repo" / key).unlink()
    report = reopened(many).verify(quick=True)
    assert report.findings == [(key, "is missing: later moves of the tag exist")]
    assert report.affected == []


def test_objects_that_no_version_needs_are_verified_too(many):
    """Damage to the pack of a deleted version is named; no version is affected."""
    tombstone = reopened(many)._core.records.tombstone("some/data", "1.0.4")
    tree = reopened(many)._core.tree(tombstone.tree)
    [extent] = tree.get("tiny/new3.txt").extents
    [path] = [each for each in many.packs() if each.name == extent.pack.hex()]
    flip(path, extent.offset + 20)
    root = many.root / "repo" / "trees" / tombstone.tree.hex()[:2] / tombstone.tree.hex()
    flip(root)
    report = reopened(many).verify()
    assert sorted(name for name, _ in report.findings) == [
        f"pack {extent.pack.hex()}",
        f"tree block {tombstone.tree.hex()}",
    ]
    assert all(what.endswith("; no version needs it") for _, what in report.findings)
    assert report.affected == []


def test_the_command_ends_with_one_line(many):
    """What was checked, or what is damaged and which versions have it; JSON has all of it."""

    def run(*words):
        environment = os.environ | {"DATAVER_REPO": str(many.root / "repo")}
        command = [sys.executable, "-m", "dataver_cli", "verify", *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    done = run()
    assert done.returncode == 0 and ": 5 versions, " in done.stderr and "all intact" in done.stderr
    flip(max(many.packs(), key=lambda path: path.stat().st_size), 5000)
    done = run("--quick")
    assert done.returncode == 6
    [line] = [each for each in done.stderr.splitlines() if each.startswith("dataver: ")]
    assert "damaged: 1 pack, " in line and "affected: " in line and "some/data@1.0.3" in line
    found = json.loads(run("--json").stdout)
    assert found["versions"] == 5 and not found["ok"] and "some/data@1.0.3" in found["affected"]
    assert run("--folder", str(many.source)).returncode == 2
