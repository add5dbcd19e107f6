"""A disk without room: one sentence, nothing half done that shows, and the same command later."""

import os

import pytest

import dataver
from dataver.errors import StoreError

from .conftest import contents, fill, grow


def test_adding_to_a_full_disk_keeps_the_draft(repo, source, small_disk):
    """What was added before stays, nothing of the failed command shows, and repeating it completes."""
    draft = repo.create("d", workspace=small_disk)
    draft.add(source / "29")
    with pytest.raises(StoreError, match="No space left") as caught:
        draft.add(source)
    assert "repeat" in caught.value.hint
    again = repo.draft(workspace=small_disk)
    assert [entry.path for entry in again.tree.iterate()] == ["29"]
    grow(small_disk)
    again.add(source)
    again.finalize()
    again.upload()
    assert contents(repo.fetch("d").path) == contents(source)
    assert repo.verify("d").ok


def test_a_draft_that_cannot_be_begun_leaves_nothing(repo, small_disk):
    """Not even the smallest file fits: no draft, none half made."""
    filler = small_disk / "filler"
    fill(filler)
    with pytest.raises((StoreError, dataver.InvalidInput), match="No space left"):
        repo.create("d", workspace=small_disk)
    assert repo.drafts(small_disk) == []
    filler.unlink()
    assert repo.create("d", workspace=small_disk).id


@pytest.mark.slow
def test_a_full_cache_costs_nothing_but_speed(repo, source, tmp_path, small_disk, monkeypatch):
    """The index of chunks and the memory of files are hints: adding goes on without them."""
    monkeypatch.setenv("DATAVER_CACHE", str(small_disk / "cache"))
    fill(small_disk / "filler")
    version = repo.sync(source, "d").version
    assert {entry.path: version.read(entry.path) for entry in version.entries()} == contents(source)


def test_a_repository_on_a_full_disk_shows_nothing_of_the_version(source, tmp_path, small_disk):
    """The upload fails whole and is repeated when there is room."""
    repo = dataver.init(small_disk / "repo")
    draft = repo.create("d", workspace=tmp_path)
    draft.add(source)
    draft.finalize()
    with pytest.raises(StoreError, match="no space is left") as caught:
        draft.upload()
    assert "free some space" in caught.value.hint
    assert repo.datasets() == []
    left = [path.name for path in (small_disk / "repo").rglob("*") if path.is_file()]
    assert left == ["dataver.json"]
    grow(small_disk)
    assert repo.draft(draft.id, workspace=tmp_path).upload().version.ref == "d@1.0.0"
    assert repo.verify("d").ok


def test_fetching_to_a_full_disk_leaves_no_folder(repo, source, tmp_path, small_disk, monkeypatch):
    """Neither in the cache nor in a folder of one's own; with room the same call completes."""
    repo.sync(source, "d")
    with pytest.raises(StoreError, match="free"):
        repo.fetch("d", dest=small_disk / "own")
    monkeypatch.setenv("DATAVER_CACHE", str(small_disk / "cache"))
    with pytest.raises(StoreError, match="free"):
        repo.fetch("d")
    assert not (small_disk / "own").exists()
    grow(small_disk)
    path = repo.fetch("d").path
    assert contents(path) == contents(source)
    assert contents(repo.fetch("d", dest=small_disk / "own").path) == contents(source)
    for folder, _, _ in os.walk(path):
        os.chmod(folder, 0o755)


def test_an_existing_folder_on_a_full_disk_stays_as_it_was(repo, source, small_disk):
    """Files of the user and of the last fetch are neither replaced nor lost."""
    repo.sync(source, "d")
    repo.fetch("d", dest=small_disk / "own", include=["0?"])
    (small_disk / "own" / "mine").write_text("mine")
    before = contents(small_disk / "own")
    with pytest.raises(StoreError, match="free"):
        repo.fetch("d", dest=small_disk / "own")
    assert contents(small_disk / "own") == before
    grow(small_disk)
    assert repo.fetch("d", dest=small_disk / "own").extra == 1
    assert contents(small_disk / "own") == contents(source) | {"mine": b"mine"}
