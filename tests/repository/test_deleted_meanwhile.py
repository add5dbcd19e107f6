"""Versions that are deleted between the listing of a dataset and the reading of their records."""

import pytest

import dataver
from dataver.errors import NotFound
from dataver.repository.layout import record_key


@pytest.fixture
def racing(tmp_path, monkeypatch):
    """A repository of d@1.0.0 to d@1.0.3, some of which are deleted as soon as one of them is read."""
    other = dataver.init(tmp_path / "repository")
    (tmp_path / "files").mkdir()
    for label in ("1.0.0", "1.0.1", "1.0.3"):
        (tmp_path / "files/a.txt").write_text(label)
        other.sync(tmp_path / "files", "d", label=label, workspace=tmp_path)
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "new"))  # which has no records
    repo = dataver.open(other.url)
    read = repo._core.store.get_bounded

    def delete_and_read(key, most):
        gone = {ref for ref in going if key == record_key(*ref.split("@"))}
        if gone:
            for ref in sorted(going):
                other.delete(ref)
            going.clear()
        return read(key, most)

    going = set()
    monkeypatch.setattr(repo._core.store, "get_bounded", delete_and_read)
    return repo, going


def test_the_latest_version_is_one_that_is_left(racing, tmp_path):
    """Also for a draft that is made from it."""
    repo, going = racing
    going.add("d@1.0.3")
    assert repo.version("d").ref == "d@1.0.1"
    going.add("d@1.0.1")
    assert repo.create("d", parents=["d"], workspace=tmp_path).parents == ["d@1.0.0"]


def test_lists_have_what_is_left(racing):
    """Of versions, of datasets, and what a digest names."""
    repo, going = racing
    digest = repo.version("d@1.0.0").digest
    going.add("d@1.0.1")
    assert [each.label for each in repo.versions("d")] == ["1.0.0", "1.0.3"]
    going.add("d@1.0.3")
    (left,) = repo.datasets()
    assert left.latest.ref == "d@1.0.0"
    assert repo.version(digest).ref == "d@1.0.0"


def test_a_dataset_without_versions_is_not_found(racing):
    """The error names one, and a list leaves the dataset out."""
    repo, going = racing
    going |= {"d@1.0.0", "d@1.0.1", "d@1.0.3"}
    with pytest.raises(NotFound, match=r"there is no version d@1\.0\.3"):
        repo.version("d")
    assert repo.datasets() == []


def test_a_label_below_others_follows_what_is_left(racing, tmp_path):
    """1.0.2 would have to contain 1.0.1, which is gone."""
    repo, going = racing
    draft = repo.create("d", parents=["d@1.0.0"], workspace=tmp_path)
    with draft.open("b.txt", "w") as file:
        file.write("more")
    draft.finalize(label="1.0.2")
    going.add("d@1.0.1")
    sent = draft.upload()
    assert (sent.version.label, sent.onto, sent.beside) == ("1.0.2", None, None)
    assert going == set()
