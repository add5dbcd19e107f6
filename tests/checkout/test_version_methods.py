"""What a version object does by itself: read, fetch, compare, tag, delete."""

import pytest

import dataver
from dataver.errors import Conflict, InvalidInput, NotFound, PathNotFound


@pytest.fixture
def repo(tmp_path, monkeypatch):
    """A repository with two versions of two files."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    repo = dataver.init(tmp_path / "repo")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "same").write_bytes(b"same")
    for text in ("old", "new"):
        (tmp_path / "data" / "other").write_text(text)
        repo.sync(tmp_path / "data", "cats", workspace=tmp_path)
    return repo


def test_a_version_is_opened_and_fetched(repo, tmp_path):
    """One file without a fetch; the version as a view, and a part of it in a folder."""
    old, new = repo.versions("cats")
    with old.open("other") as file:
        assert file.read() == b"old"
    with pytest.raises(PathNotFound):
        old.open("missing")
    assert (new.fetch().path / "other").read_bytes() == b"new"
    part = new.fetch(dest=tmp_path / "out", paths="same")
    assert [path.name for path in part.path.iterdir() if path.is_file()] == ["same"]


def test_a_version_is_compared_tagged_and_deleted(repo):
    """A tagged one is deleted only by force."""
    old, new = repo.versions("cats")
    assert [change.path for change in old.diff(new).modified] == ["other"]
    assert old.diff(new).summary()["modified"] == new.diff(old).summary()["modified"] == 1
    assert new.diff() == old.diff(new) == repo.diff(new)
    assert [entry.path for entry in old.diff().added] == [entry.path for entry in old.entries()]
    old.tag("good")
    assert repo.version("cats@good") == old and old.tags == ["good"]
    with pytest.raises(Conflict):
        old.delete()
    old.delete(force=True, reason="a test")
    with pytest.raises(NotFound):
        repo.version("cats@1.0.0")
    assert [each.ref for each in repo.versions("cats")] == [new.ref]


def test_a_version_that_is_not_uploaded_has_only_names(repo, tmp_path):
    """Each method names the next step."""
    draft = repo.create("cats", parents="cats", workspace=tmp_path)
    draft.remove("same")
    version = draft.finalize("smaller")
    for use in (
        version.fetch,
        version.delete,
        lambda: version.open("other"),
        lambda: version.read("other"),
        lambda: version.tag("good"),
    ):
        with pytest.raises(InvalidInput, match="not uploaded yet") as caught:
            use()
        assert caught.value.hint == "upload it first"
    assert [entry.path for entry in repo.version("cats").diff(version).removed] == ["same"]
