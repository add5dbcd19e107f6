"""What a version object does by itself: read, fetch, compare, tag, delete."""

import os

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
    part = new.fetch(dest=tmp_path / "out", include="same")
    assert [path.name for path in part.path.iterdir() if path.is_file()] == ["same"]
    assert old.files().read("other") == repo.files("cats@1.0.0").read("other") == b"old"
    shards = [new.fetch(dest=tmp_path / f"{rank}", shard=(rank, 2), verify="full") for rank in (0, 1)]
    assert sum(each.files for each in shards) == new.file_count == 2


def test_a_file_and_a_folder_have_a_path(repo, tmp_path):
    """Only they are fetched; names with wildcards are names."""
    (tmp_path / "data" / "sub").mkdir()
    (tmp_path / "data" / "sub" / "[a]*").write_bytes(b"odd")
    version = repo.sync(tmp_path / "data", "cats", workspace=tmp_path).version
    path = version.path("sub/[a]*")
    assert path.read_bytes() == b"odd" and not (path.parent.parent / "other").exists()
    assert [each.name for each in version.path("sub").iterdir()] == ["[a]*"]
    with pytest.raises(PathNotFound):
        version.path("missing")


def test_a_report_of_a_fetch_is_a_path(repo, tmp_path):
    """In the library's function and in the methods, for everything that takes a path."""
    for folder in (dataver.fetch("cats", repo=repo), repo.fetch("cats"), repo.version("cats").fetch()):
        assert isinstance(folder, dataver.FetchReport)
        assert (folder / "other").read_bytes() == b"new"
        assert os.listdir(folder) == os.listdir(folder.path)
        assert f"{folder}" == os.fspath(folder) == str(folder.path)
        assert [*folder.iterdir()] == [*folder.glob("*")] and folder.path / "other" in folder.rglob("oth*")
        assert repr(folder).startswith("FetchReport(path=")


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
        version.files,
        version.restore,
        lambda: version.path("other"),
        version.delete,
        lambda: version.open("other"),
        lambda: version.read("other"),
        lambda: version.tag("good"),
    ):
        with pytest.raises(InvalidInput, match="not uploaded yet") as caught:
            use()
        assert caught.value.hint == "upload it first"
    assert [entry.path for entry in repo.version("cats").diff(version).removed] == ["same"]
