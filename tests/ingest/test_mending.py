"""Damage in the repository is mended by adding the same content again; nothing unreadable is published."""

import random
import shutil

import pytest

import dataver
from dataver.repository import RepositoryCore as Core
from dataver.repository.soundness import DamagedPacks
from dataver.storage import MemoryStore
from dataver.testing.faulty import FaultyStore

from .conftest import repository

KINDS = ["flip", "cut", "empty", "gone"]


def damage(data, how):
    """Return what is left of an object; None where it is gone."""
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    return {"flip": bytes(flipped), "cut": data[:1000], "empty": b"", "gone": None}[how]


def damage_packs(root, how):
    """Damage every pack of a repository in a folder."""
    for path in [path for path in (root / "packs").rglob("*") if path.is_file()]:
        bad = damage(path.read_bytes(), how)
        path.unlink()
        if bad is not None:
            path.write_bytes(bad)


@pytest.fixture
def source(tmp_path):
    (tmp_path / "source").mkdir()
    for number in range(3):
        (tmp_path / "source" / f"{number}.bin").write_bytes(random.Random(number).randbytes(200_000))
    return tmp_path / "source"


@pytest.fixture
def repo(tmp_path, source):
    """A repository in a folder with one version of the source."""
    made = dataver.init(tmp_path / "repo")
    assert made.sync(source, "d").version.ref == "d@1.0.0"
    return made


def same(repo, ref, source, tmp_path):
    """Tell whether a version is sound and holds what the source does."""
    path = repo.fetch(ref, dest=tmp_path / "out").path
    found = {each.name: each.read_bytes() for each in path.iterdir()}
    shutil.rmtree(tmp_path / "out")
    return repo.verify(ref).ok and found == {each.name: each.read_bytes() for each in source.iterdir()}


@pytest.mark.parametrize("how", KINDS)
@pytest.mark.parametrize("machine", ["same", "fresh"])
def test_what_is_added_again_is_whole_and_mends_the_old(repo, source, tmp_path, monkeypatch, how, machine):
    """A new dataset of the same content is whole, and so are old versions with that content."""
    damage_packs(tmp_path / "repo", how)
    if machine == "fresh":
        monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "fresh"))
    again = dataver.open(tmp_path / "repo")
    again.sync(source, "e")
    assert same(again, "e@1.0.0", source, tmp_path)
    assert same(again, "d@1.0.0", source, tmp_path)


@pytest.mark.parametrize("how", KINDS)
def test_a_sync_that_relies_on_a_damaged_pack_stores_its_files_anew(repo, source, tmp_path, how):
    """Files that did not change are read again where the pack that holds them is damaged."""
    damage_packs(tmp_path / "repo", how)
    (source / "more").write_text("another file")
    again = dataver.open(tmp_path / "repo")
    assert again.sync(source, "d").version.ref == "d@1.0.1"
    assert same(again, "d@1.0.1", source, tmp_path)
    assert again.verify("d@1.0.0").ok


@pytest.mark.parametrize("how", KINDS)
def test_a_sync_without_changes_mends_what_verify_found(repo, source, tmp_path, how):
    """It publishes nothing and leaves a repository in which everything is sound."""
    damage_packs(tmp_path / "repo", how)
    again = dataver.open(tmp_path / "repo")
    assert not again.verify("d").ok
    assert again.sync(source, "d").version is None
    assert dataver.open(tmp_path / "repo").verify("d").ok
    assert again._core.soundness.marked == set()


def test_a_sealed_draft_that_relies_on_damage_is_refused_and_a_new_one_mends(repo, source, tmp_path):
    """The steps one by one: upload refuses, marks what is damaged, and adding again stores it anew."""
    draft = repo.create("e", workspace=tmp_path)
    draft.add(source)
    draft.finalize()
    damage_packs(tmp_path / "repo", "cut")
    again = dataver.open(tmp_path / "repo")
    with pytest.raises(DamagedPacks, match="or damaged") as caught:
        again.draft(draft.id, workspace=tmp_path).upload()
    assert "again" in caught.value.hint
    assert again._core.records.labels("e") == []
    new = again.create("e", workspace=tmp_path)
    new.add(source)
    new.finalize()
    new.upload()
    assert same(again, "e@1.0.0", source, tmp_path)


def test_a_damaged_block_is_written_anew(repo, source, tmp_path):
    """A tree block that is there and cannot be read is replaced by an upload that needs it."""
    for path in [path for path in (tmp_path / "repo" / "trees").rglob("*") if path.is_file()]:
        bad = damage(path.read_bytes(), "flip")
        path.unlink()
        path.write_bytes(bad)
    again = dataver.open(tmp_path / "repo")
    again.sync(source, "e")
    assert same(again, "e@1.0.0", source, tmp_path)
    assert again.verify("d").ok


@pytest.mark.parametrize("how", ["cut", "empty", "gone"])
def test_far_stores_tell_the_size_and_nothing_more_is_asked(source, tmp_path, how):
    """In a bucket a wrong size is seen by the question that is asked anyway."""
    store = FaultyStore(MemoryStore())
    repo = repository(store)
    repo.sync(source, "d")
    for key in [key for key in store.inner.objects if key.startswith("packs/")]:
        bad = damage(store.inner.objects.pop(key), how)
        if bad is not None:
            store.inner.objects[key] = bad
    again = dataver.Repository(Core(store, repo._core.config), "memory://test")
    (source / "more").write_text("another file")
    again.sync(source, "d")
    assert same(again, "d@1.0.1", source, tmp_path)


def test_a_flipped_bit_in_a_bucket_is_mended_once_verify_has_seen_it(source, tmp_path):
    """What verify marks is read before anything relies on it."""
    store = FaultyStore(MemoryStore())
    repo = repository(store)
    repo.sync(source, "d")
    for key in [key for key in store.inner.objects if key.startswith("packs/")]:
        store.inner.objects[key] = damage(store.inner.objects[key], "flip")
    again = dataver.Repository(Core(store, repo._core.config), "memory://test")
    assert not again.verify("d").ok
    again.sync(source, "e")
    assert same(again, "e@1.0.0", source, tmp_path)
