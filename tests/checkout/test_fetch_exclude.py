"""Exclusions of a fetch: what some glob matches, or all, without what the exclusions match."""

import os
import shutil

import pytest

import dataver
from dataver.checkout.cache_verifier import verify_cache
from dataver.checkout.fetch_plan import plan_fetch
from dataver.errors import InvalidInput, PathNotFound
from dataver.tree import Selection
from dataver.tree.shard import Shard

from .conftest import contents, write


def without(filled, *starts):
    """Return what the source holds, without paths that start like these."""
    return {path: what for path, what in contents(filled.source).items() if not path.startswith(starts)}


@pytest.mark.parametrize(
    ("patterns", "exclude", "expected"),
    [
        (None, ["large.bin"], lambda path: path != "large.bin"),
        (None, ["tiny", "*.bin"], lambda path: path in ("run.sh", "empty folder", "deep/er/and/deeper/file")),
        (["tiny", "middle"], ["*0*"], lambda path: path.startswith(("tiny/", "middle/")) and "0" not in path),
        (["*.bin"], ["*.jpg"], lambda path: path.endswith(".bin")),
        (["middle/0.bin"], ["tiny"], lambda path: path == "middle/0.bin"),
        (["**"], ["**/deeper", "empty folder"], lambda path: not path.startswith(("deep/", "empty"))),
    ],
)
def test_a_fetch_brings_what_is_included_and_not_excluded(filled, tmp_path, patterns, exclude, expected):
    """In the cache and in a folder of one's own; an exclusion that matches nothing changes nothing."""
    version = filled.version()
    wanted = {path: what for path, what in contents(filled.source).items() if expected(path)}
    report = filled.fetch(version, patterns=patterns, exclude=exclude)
    assert contents(report.path) == wanted
    assert report.files == sum(isinstance(what, bytes) for what in wanted.values())
    assert report.size == sum(len(what) for what in wanted.values() if isinstance(what, bytes))
    own = filled.fetch(version, dest=tmp_path / "own", patterns=patterns, exclude=exclude)
    assert contents(own.path) == wanted


def test_the_excluded_is_not_transferred_and_each_part_has_its_folder(filled):
    """Parts share files with the whole, in both directions, and a part that is ready needs no repository."""
    version = filled.version()
    part = filled.fetch(version, exclude=["large.bin"])
    assert part.transferred < 2_000_000
    whole = filled.fetch(version)
    assert whole.reused == part.size
    assert (whole.path / "middle/0.bin").samefile(part.path / "middle/0.bin")
    other = filled.fetch(version, exclude=["middle"])
    assert other.transferred == 0
    assert len({part.path, whole.path, other.path, filled.fetch(version, patterns=["middle"]).path}) == 4
    assert {folder.selection.exclude for folder in filled.cache.folders()} == {
        (),
        ("large.bin",),
        ("middle",),
    }
    for folder in ("packs", "trees"):
        shutil.rmtree(filled.root / "repo" / folder)
    assert filled.fetch(version, exclude=["middle"]).path == other.path
    assert contents(other.path) == without(filled, "middle")


def test_the_order_and_number_of_exclusions_do_not_matter(filled):
    """The same exclusions are the same folder."""
    version = filled.version()
    one = filled.fetch(version, exclude=["tiny", "large.bin"])
    assert filled.fetch(version, exclude=["large.bin", "./tiny/", "tiny"]).path == one.path


def test_exclusions_that_leave_nothing_are_refused(filled, tmp_path):
    """By name, and nothing is left behind; what is no pattern is refused as well."""
    version = filled.version()
    for options in ({}, {"dest": tmp_path / "own"}):
        with pytest.raises(PathNotFound, match=r"'middle' excludes all of the version"):
            filled.fetch(version, patterns=["middle/*.bin"], exclude="middle", **options)
    with pytest.raises(InvalidInput):
        filled.fetch(version, exclude=[""])
    assert filled.cache.folders() == []
    assert not (tmp_path / "own").exists()


def test_excluded_files_of_an_existing_folder_stay(filled, tmp_path):
    """Neither compared nor replaced, though they differ: they count as the user's own."""
    version, own = filled.version(), tmp_path / "own"
    write(own / "large.bin", "mine")
    report = filled.fetch(version, dest=own, exclude=["large.bin"])
    assert report.extra == 1
    assert contents(own) == {**without(filled, "large.bin"), "large.bin": b"mine"}


def test_shards_split_what_the_exclusions_leave(filled):
    """Together they are the part, and none has an excluded file."""
    version, found = filled.version(), {}
    for rank in range(3):
        found |= contents(filled.fetch(version, exclude=["large.bin"], shard=Shard.of((rank, 3))).path)
    assert found == without(filled, "large.bin")


def test_the_plan_is_what_the_fetch_does(filled):
    """Files, bytes and what moves are those of the fetch that follows."""
    version = filled.version()
    options = {"cache": filled.cache, "selection": Selection(exclude=("large.bin",))}
    plan = plan_fetch(filled.repo._core, version.tree.digest, measure=False, **options)
    report = filled.fetch(version, exclude=["large.bin"])
    assert (plan.files, plan.size, plan.transferred) == (report.files, report.size, report.transferred)
    assert plan_fetch(filled.repo._core, version.tree.digest, measure=False, **options).transferred == 0


def test_the_cache_is_verified_without_the_excluded(filled):
    """An excluded file is not missing, and what is wrong in the rest is replaced."""
    report = filled.fetch(filled.version(), exclude=["large.bin"])
    victim = report.path / "middle" / "1.bin"
    before = victim.stat()
    victim.chmod(0o644)
    victim.write_bytes(b"?" * before.st_size)
    os.utime(victim, ns=(before.st_atime_ns, before.st_mtime_ns))
    check = verify_cache(filled.cache, lambda _folder: filled.repo._core)
    assert (check.folders, check.files, len(check.repaired)) == (1, report.files, 1)
    assert contents(report.path) == without(filled, "large.bin")


def test_every_door_of_the_api_excludes(filled, tmp_path, monkeypatch):
    """`dataver.fetch`, `Repository.fetch`, `plan_fetch`, `Version.fetch`: one meaning."""
    monkeypatch.setenv("DATAVER_LINEAGE", "off")
    version, repo = filled.version(), filled.repo
    wanted = without(filled, "large.bin", "tiny")
    chosen = {"exclude": ["large.bin", "tiny/**"]}
    assert contents(dataver.fetch(version.ref, repo=repo, **chosen).path) == wanted
    assert contents(repo.fetch(version.ref, dest=tmp_path / "one", **chosen).path) == wanted
    assert contents(version.fetch(dest=tmp_path / "two", **chosen).path) == wanted
    planned = repo.plan_fetch(version.ref, dest=tmp_path / "three", measure=False, **chosen)
    assert planned.files == sum(isinstance(what, bytes) for what in wanted.values())
    assert contents(repo.fetch(version.ref, include="middle", exclude="middle/0.bin").path).keys() == {
        f"middle/{number}.bin" for number in (1, 2, 3)
    }
