"""The commands delete, gc, repack and du: a plan is shown first, `--yes` executes, and everybody is told."""

import json
import random
import sys

import pytest

from dataver_cli.main import main


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a command line and return its output; `expect` is its exit code."""
    monkeypatch.setenv("DATAVER_AUTHOR", "ana")

    def run(*arguments, expect=0):
        capsys.readouterr()
        code = main([str(each) for each in arguments])
        out, err = capsys.readouterr()
        assert code == expect, (arguments, out, err)
        return out, err

    return run


@pytest.fixture
def photos(run, tmp_path):
    """A repository with two versions of random files, the second without most of the first's."""
    noise = random.Random(3)
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(10):
        (folder / str(number)).write_bytes(noise.randbytes(300_000))
    run("init", "repo")
    run("sync", folder, "--name", "vision/cats")
    for number in range(8):
        (folder / str(number)).unlink()
    run("sync", folder, "--name", "vision/cats", "--tag", "production", "--allow-shrink")
    return folder


def test_the_whole_story_of_a_version_that_is_no_longer_wanted(run, photos):
    """First du says what deleting frees, delete who depends on it, gc and repack free it."""
    used = json.loads(run("du", "vision/cats", "--json")[0])
    first, second = used["versions"]
    assert first["unique"] < 50_000 < second["shared"]
    plan = json.loads(run("delete", "vision/cats@1.0.0", "--plan", "--json")[0])
    assert plan["versions"][0]["children"] == ["vision/cats@1.0.1"]
    assert not plan["deleted"]
    run("delete", "vision/cats@1.0.0", expect=2)
    assert "vision/cats@1.0.0" in run("delete", "vision/cats@1.0.0", "--yes", "--reason", "faces")[1]
    assert "faces" in run("show", "vision/cats@1.0.0", expect=4)[1]
    repacked = json.loads(run("repack", "--yes", "--json")[0])
    assert repacked["packs"] == 1
    assert 600_000 < repacked["written"]["size"] < 1_000_000
    assert "waiting   3." in run("gc", "--plan")[0]
    assert "requests" not in run("gc", "--plan")[0]
    assert "requests  about 12 requests" in run("gc", "--plan", "--grace", "0")[0]
    assert "--yes-delete-most" in run("gc", "--yes", "--grace", "0", expect=5)[1]
    freed = json.loads(run("gc", "--yes", "--yes-delete-most", "--grace", "0", "--json")[0])
    assert freed["freed"] > 3_000_000
    assert freed["deleted"]["packs"] == 1
    assert "Nothing to free" in run("gc", "--grace", "0")[1]
    run("verify", "vision/cats@1.0.1")
    assert json.loads(run("du", "--json")[0])["repository"]["unneeded"] == 0


def test_a_tagged_version_and_a_whole_dataset(run, photos):
    """The first wants --force, the second --entire-dataset."""
    assert "production" in run("delete", "vision/cats@production", "--yes", expect=5)[1]
    run("delete", "vision/cats", "--yes", expect=2)
    out = run("delete", "--project", "vision", "--name", "cats", "--version", "1.0.0", "--plan")[0]
    assert "vision/cats@1.0.0" in out
    run("delete", "vision/cats", "--entire-dataset", "--force", "--yes")
    assert run("list")[0] == ""


def test_old_versions_are_deleted_by_a_rule(run, photos):
    """The plan names the versions that are kept; a rule excludes options that would delete more."""
    run("sync", photos, "--name", "vision/cats", "--dest", "again", "--tag", "new")
    out = run("delete", "vision/cats", "--keep-last", "1", "--plan")[0]
    assert out.startswith("vision/cats@1.0.0  dv1:")
    assert out.endswith("vision/cats@1.0.1  kept: tagged production\n")
    assert json.loads(run("delete", "vision/cats", "--older-than", "30d", "--plan", "--json")[0]) == {
        "deleted": False,
        "dataset": None,
        "versions": [],
        "kept": {},
    }
    for wrong in (("--force",), ("--entire-dataset",), ("vision/cats@1.0.0",)):
        run("delete", "vision/cats", "--keep-last", "1", "--yes", *wrong, expect=2)
    note = run("delete", "vision/cats", "--keep-last", "1", "--yes")[1]
    assert note.endswith("Kept: vision/cats@1.0.1 (tagged production).\n")
    assert "Nothing to delete" in run("delete", "vision/cats", "--keep-last", "1", "--yes")[1]
    run("delete", "vision/cats@1.0.1", "vision/cats@1.0.2", expect=5)
    run("delete", "vision/cats@1.0.1", "vision/cats@1.0.2", "--force", "--yes")


def test_lineage_still_tells_of_a_deleted_version(run, photos, monkeypatch):
    """Runs are shown before it goes and stay linked to it."""
    monkeypatch.setenv("DATAVER_LINEAGE", "on")
    run(
        "run",
        "--",
        sys.executable,
        "-c",
        "import dataver; dataver.fetch('vision/cats@1.0.0', repo='repo')",
    )
    assert "runs      dataver:" in run("--repo", "repo", "delete", "vision/cats@1.0.0", "--plan")[0]
    run("delete", "vision/cats@1.0.0", "--yes")
    run("gc", "--grace", "0", "--yes", "--yes-delete-most")
    assert "dataver:" in run("lineage", "version", "vision/cats@1.0.0")[0]


def test_what_is_no_length_of_time_is_refused(run, photos):
    """In one sentence."""
    assert "not a duration" in run("gc", "--grace", "soon", expect=1)[1]
