"""A mirror of a folder that lost most of its files, as when a disk is not mounted, is refused."""

import shutil
from pathlib import Path

import pytest

import dataver
from dataver.errors import InvalidInput


def fill(folder: Path, count: int, name: str = "f") -> Path:
    """Make a folder of `count` small files."""
    folder.mkdir(exist_ok=True)
    for number in range(count):
        (folder / f"{name}{number}").write_text(str(number))
    return folder


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dataver.Repository:
    """A repository with `d@1.0.0`: ten files in `train` and one beside it."""
    monkeypatch.chdir(tmp_path)
    repo = dataver.init(tmp_path / "repo")
    draft = repo.create("d")
    draft.add(fill(tmp_path / "photos", 10), dest="train")
    draft.add(fill(tmp_path / "other", 1))
    draft.finalize()
    draft.upload()
    return repo


@pytest.mark.parametrize("left", [0, 4])
def test_less_than_half_is_refused_and_nothing_is_published(repo, tmp_path, left):
    """Files beside `dest` do not count; no draft is left; with `allow_shrink` the folder is mirrored."""
    shutil.rmtree(tmp_path / "photos")
    fill(tmp_path / "photos", left)
    with pytest.raises(InvalidInput, match=f"{left} of 10 files below 'train'"):
        repo.sync("photos", "d", dest="train")
    assert repo.version("d").label == "1.0.0"
    assert [state for state in repo.drafts() if state.status != "uploaded"] == []
    assert repo.sync("photos", "d", dest="train", allow_shrink=True).version.file_count == left + 1


def test_half_and_other_names_are_mirrored(repo, tmp_path):
    """Five of ten files are enough, and so are ten files of other names."""
    shutil.rmtree(tmp_path / "photos")
    fill(tmp_path / "photos", 5)
    assert repo.sync("photos", "d", dest="train").version.file_count == 6
    shutil.rmtree(tmp_path / "photos")
    fill(tmp_path / "photos", 5, "g")
    assert repo.sync("photos", "d", dest="train").version.file_count == 6


def test_a_draft_stays_as_it_was(repo, tmp_path):
    """The rule holds for a draft, and what the refused folder holds is not in it."""
    draft = repo.create("d", parents=["d@1.0.0"])
    with pytest.raises(InvalidInput, match="1 of 10 files below 'train'"):
        draft.sync(fill(tmp_path / "new", 1, "n"), "train")
    assert not draft.changed
    draft.sync("new", "train", allow_shrink=True)
    assert draft.tree.summary().files == 2


def test_an_empty_folder_is_no_first_version(repo, tmp_path):
    """Where the dataset has no version, a folder without files is named as such."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInput, match="holds no files"):
        repo.sync("empty", "new")
    assert [each.name for each in repo.datasets()] == ["d"]
