"""Runs of another tool, in the lineage of imported versions."""

from pathlib import Path

import pytest

import dataver
from dataver.importers.runs import record_runs
from dataver.importers.source import SourceRun

MADE = SourceRun("wandb:team/cats/4f1c", "prepare", "https://wandb.ai/team/cats/runs/4f1c")
READ = SourceRun("wandb:team/cats/9d02", "train")


@pytest.fixture
def repo(tmp_path: Path) -> dataver.Repository:
    """A repository with one version of `cats`."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("a")
    repo = dataver.init(tmp_path / "repo")
    repo.sync(tmp_path / "data", "cats", workspace=tmp_path)
    return repo


def test_runs_are_linked_to_the_version(repo: dataver.Repository) -> None:
    """The lineage tells which run made the version and which read it, with names and pages."""
    version = repo.version("cats")
    assert record_runs(repo, version, [MADE], [READ]) == 2
    repo.lineage.sync()
    answer = repo.lineage.version("cats@1.0.0")
    [(made, output)], [(read, link)] = answer.produced, answer.consumed
    assert (made.key, made.name, output.how, output.files) == (MADE.key, "prepare", "imported", 1)
    assert made.contexts[0].facts == {"name": "prepare", "url": MADE.url}
    assert (read.key, link.ref) == (READ.key, "cats@1.0.0")
    assert (made.started, made.ended, made.outcome) == (version.created, version.created, None)


def test_recording_again_adds_nothing(repo: dataver.Repository, tmp_path: Path) -> None:
    """A repeated import writes no event, and one that could not know of the first makes no second link."""
    version = repo.version("cats")
    record_runs(repo, version, [MADE], [READ])
    record_runs(dataver.open(tmp_path / "repo"), version, [MADE], [READ])
    repo.lineage.sync()
    assert record_runs(repo, version, [MADE], [READ]) == 0
    assert len(repo.lineage.runs(version="cats")) == 2
    answer = repo.lineage.version("cats@1.0.0")
    assert len(answer.produced) == len(answer.consumed) == 1


def test_a_key_that_is_too_long_or_has_spaces_is_made_valid(repo: dataver.Repository) -> None:
    """Names of other tools that a key cannot hold are escaped or shortened."""
    version = repo.version("cats")
    assert (
        record_runs(repo, version, [SourceRun("wandb:a team/cats/1")], [SourceRun("wandb:" + "x" * 600)]) == 2
    )
    assert record_runs(repo, version, [], []) == 0
    repo.lineage.sync()
    keys = {run.key for run in repo.lineage.runs()}
    assert "wandb:a%20team/cats/1" in keys
    assert max(map(len, keys)) <= 490
