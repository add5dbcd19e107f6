"""Repositories, caches and workspaces are never added to a dataset, clutter not by default."""

import pytest

import dataver
from dataver.ingest.scan import IGNORE_FILE

CLUTTER = [".DS_Store", ".dvc/config", ".ipynb_checkpoints/n.ipynb", "deep/__pycache__/m.pyc"]


def write(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project folder that holds everything of its own, and is the working folder."""
    project = tmp_path / "project"
    write(project, "a", "deep/b")
    monkeypatch.chdir(project)
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    return project


def paths(holder):
    return (
        list(holder.tree.paths(""))
        if isinstance(holder, dataver.Draft)
        else [e.path for e in holder.entries()]
    )


def test_a_project_does_not_grow_by_what_dataver_keeps_in_it(project, monkeypatch):
    """Its repository, its cache, its drafts, and a fetched version in the cache."""
    monkeypatch.setenv("DATAVER_CACHE", str(project / "cache"))
    repo = dataver.init(project / "data" / "repo")
    first = repo.sync(project, "p")
    assert paths(first.version) == ["a", "deep/b"]
    repo.fetch(first.version.ref)
    again = repo.sync(project, "p")
    assert again.version is None
    assert again.add.left_out == ["cache", "repo"]


def test_clutter_is_left_out_and_named(project):
    """Unless the default is switched off; dataver's own folders stay out then, too."""
    write(project, *CLUTTER, ".dataver/x", ".git/config", "deep/.git")
    repo = dataver.init(project.parent / "repo")
    draft = repo.create("d", workspace=project.parent)
    report = draft.sync(project)
    assert paths(draft) == ["a", "deep/b"]
    assert report.left_out == [".DS_Store", ".dvc", ".git", ".ipynb_checkpoints", "__pycache__"]
    assert draft.sync(project, default_ignore=False).left_out == [".git"]
    assert paths(draft) == sorted([*CLUTTER, "a", "deep/b"])


def test_patterns_override_the_default(project):
    """An ignore file brings a name back, or leaves it out as any other."""
    write(project, *CLUTTER)
    (project / IGNORE_FILE).write_text("!.dvc\n.DS_Store\n")
    draft = dataver.init(project.parent / "repo").create("d", workspace=project.parent)
    report = draft.add(project)
    assert paths(draft) == [IGNORE_FILE, ".dvc/config", "a", "deep/b"]
    assert (report.ignored, report.left_out) == (1, [".ipynb_checkpoints", "__pycache__"])


def test_a_repository_itself_is_refused(project):
    """As a source it is named, and nothing of it is added; a file that only looks like one is data."""
    repo = dataver.init(project / "repo")
    draft = repo.create("d", workspace=project)
    report = draft.add(project / "repo")
    assert report.files == 0
    assert "is a repository" in report.problems[0][1]
    write(project, "deep/dataver.json")
    draft.add(project)
    assert paths(draft) == ["a", "deep/b", "deep/dataver.json"]
