"""Drafts of a workspace: the folder each is current in, the repository it belongs to, and damaged ones."""

import json
import shutil

import pytest

import dataver
from dataver.errors import IntegrityError, InvalidInput, NotFound
from dataver.ingest import list_damaged, list_drafts
from dataver.ingest.current_draft import current_draft, drop_draft


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with two folders, in which its repository lies."""
    home = tmp_path / "project"
    for name in ("a/deep", "b", ".dataver"):
        (home / name).mkdir(parents=True)
    (home / "file").write_text("content")
    monkeypatch.chdir(home)
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    dataver.init("repository")
    return home


def opened():
    return dataver.open("repository")


def test_each_folder_has_its_own_current_draft(project, monkeypatch):
    """A draft is current where it was made and below; beside it, it is not."""
    repo = opened()
    repo.create("first", workspace=project).discard()
    monkeypatch.chdir(project / "a")
    cats = repo.create("cats")
    with pytest.raises(NotFound, match="no current draft"):
        repo.draft(workspace=project / "b")
    monkeypatch.chdir(project / "b")
    with pytest.raises(NotFound) as caught:
        repo.draft()
    assert cats.id in str(caught.value.hint)
    assert "begun in the folder a" in str(caught.value.hint)
    dogs = repo.create("dogs")
    assert repo.draft().id == dogs.id
    for folder in ("a", "a/deep"):
        monkeypatch.chdir(project / folder)
        assert repo.draft().id == cats.id


def test_a_command_above_several_folders_names_their_drafts_and_refuses(project, monkeypatch):
    """One draft below is meant; of two neither is; the workspace's own comes before both."""
    repo = opened()
    monkeypatch.chdir(project / "a")
    cats = repo.create("cats")
    monkeypatch.chdir(project)
    assert repo.draft().id == cats.id
    monkeypatch.chdir(project / "b")
    dogs = repo.create("dogs")
    monkeypatch.chdir(project)
    with pytest.raises(InvalidInput, match="several drafts") as caught:
        repo.draft()
    assert cats.id in caught.value.message
    assert dogs.id in caught.value.message
    own = repo.create("own")
    assert repo.draft().id == own.id
    own.discard()
    dogs.discard()
    assert repo.draft().id == cats.id


@pytest.mark.parametrize(
    "damage",
    [
        lambda values: b"{",
        lambda values: b"",
        lambda values: b"[" * 100_000,
        lambda values: json.dumps({**values, "tree": "no digest"}).encode(),
        lambda values: json.dumps({**values, "parents": "d@1.0.0"}).encode(),
        lambda values: json.dumps({**values, "id": "0" * 12}).encode(),
        lambda values: json.dumps({**values, "created": "yesterday"}).encode(),
        lambda values: json.dumps({key: values[key] for key in values if key != "status"}).encode(),
        lambda values: None,
    ],
)
def test_a_damaged_draft_stops_no_other(project, damage):
    """Others are listed, found and changed; the damaged one is an error by name, and can be dropped."""
    repo = opened()
    damaged, other = repo.create("damaged"), repo.create("other")
    path = project / ".dataver" / "drafts" / damaged.id / "draft.json"
    data = damage(json.loads(path.read_bytes()))
    if data is None:
        path.unlink()
    else:
        path.write_bytes(data)
    assert [each.id for each in repo.drafts()] == [other.id]
    assert [name for name, _ in list_damaged(project)] == [damaged.id]
    repo.draft(other.id[:6]).add("file")
    assert repo.sync("a", "mirrored").version.ref == "mirrored@1.0.0"
    assert repo.plan_gc().count == 0
    with pytest.raises(IntegrityError, match=f"{damaged.id}/draft.json is damaged"):
        repo.draft(damaged.id)
    drop_draft(project, damaged.id)
    assert list_damaged(project) == []
    assert [state.id for state in list_drafts(project)] == [other.id]


def test_a_project_that_is_moved_with_its_repository_goes_on(project, tmp_path, monkeypatch):
    """The draft names a repository inside the project by its path from there."""
    repo = opened()
    draft = repo.create("d")
    draft.add("file")
    assert json.loads((project / ".dataver/drafts" / draft.id / "draft.json").read_bytes())["repository"] == (
        "repository"
    )
    moved = tmp_path / "elsewhere"
    project.rename(moved)
    monkeypatch.chdir(moved)
    assert [each.id for each in opened().drafts()] == [draft.id]
    again = opened().draft()
    again.finalize()
    assert again.upload().version.read("file") == b"content"
    assert current_draft() == (moved, draft.id)


def test_a_draft_follows_a_moved_repository_and_goes_into_no_copy(tmp_path, monkeypatch):
    """While the repository is where it was, another folder with its id is a copy; then it was moved there."""
    (tmp_path / "work" / ".dataver").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / "work" / "file").write_text("content")
    first = dataver.init(tmp_path / "first")
    draft = first.create("d")
    draft.add("file")
    shutil.copytree(tmp_path / "first", tmp_path / "copy")
    copy = dataver.open(tmp_path / "copy")
    assert copy.id == first.id
    assert copy.drafts() == []
    with pytest.raises(InvalidInput, match=f"belongs to the repository {tmp_path / 'first'}"):
        copy.draft()
    shutil.rmtree(tmp_path / "first")
    assert [each.id for each in copy.drafts()] == [draft.id]
    moved = copy.draft()
    assert list_drafts(tmp_path / "work")[0].repository == str(tmp_path / "copy")
    moved.finalize()
    assert moved.upload().version.read("file") == b"content"
