"""`dataver audit` lists publications, moves of tags and deletions, with author and time."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from command_line import Run

from dataver_cli.output import when


def test_every_change_is_listed(run: Run, two_versions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kind of change has its author and text; a deleted version keeps its publication."""
    monkeypatch.setenv("DATAVER_AUTHOR", "ben")
    run("untag", "vision/cats@production")
    run("delete", "vision/cats@1.0.0", "--yes", "--reason", "faces")
    run("sync", two_versions, "--name", "other", "-m", "copy")
    done = run("audit", "--json").json
    assert {
        (each["action"], each["dataset"], each["tag"] or each["label"], each["author"]) for each in done
    } == {
        ("publish", "vision/cats", "1.0.0", "ana"),
        ("publish", "vision/cats", "1.0.1", "ana"),
        ("tag", "vision/cats", "production", "ana"),
        ("untag", "vision/cats", "production", "ben"),
        ("delete", "vision/cats", "1.0.0", "ben"),
        ("publish", "other", "1.0.0", "ben"),
    }
    seconds = [each["time"][:19] for each in done]
    assert seconds == sorted(seconds)
    texts = {each["label"]: each["text"] for each in done if each["action"] != "publish"}
    assert texts["1.0.0"] == "faces"
    assert [each["stored"] is None for each in done if each["text"] == "first"] == [True]
    lines = run("audit", "vision/cats").out.splitlines()
    assert len(lines) == 6
    ends = [line.split()[-3:] for line in lines]
    assert ["tag", "vision/cats@production", "1.0.1"] in ends
    assert ["delete", "vision/cats@1.0.0", "faces"] in ends


def test_since_is_by_the_clock_of_the_store(run: Run, two_versions: Path) -> None:
    """A change counts by the time that the store states, whatever the author's clock was."""
    record = Path("repo/datasets/vision/cats/versions/1.0.0.json")
    os.utime(record, (0, 86_400))
    changes = run("audit", "--since", "1980-01-01", "--json").json
    assert {(each["action"], each["label"]) for each in changes} == {("publish", "1.0.1"), ("tag", "1.0.1")}
    first = run("audit", "vision/cats").out.splitlines()[1]
    assert first.startswith(when(datetime(1970, 1, 2, tzinfo=UTC)))


def test_within_a_second_of_the_store_the_authors_clocks_decide(run: Run, two_versions: Path) -> None:
    """A store that states whole seconds puts no version before the deleted one that was made first."""
    versions = run("list", "vision/cats", "--json").json
    first = min(datetime.fromisoformat(each["created"]) for each in versions)
    run("delete", "vision/cats@1.0.0", "--yes")
    second = first.replace(microsecond=0).timestamp()
    os.utime("repo/datasets/vision/cats/versions/1.0.1.json", (second, second))
    done = run("audit", "vision/cats", "--json").json
    assert [each["label"] for each in done if each["action"] == "publish"] == ["1.0.0", "1.0.1"]


def test_a_dataset_that_does_not_exist(run: Run, two_versions: Path) -> None:
    """It is not found; a deleted one is still listed, and a name is no prefix of another."""
    run("audit", "vision", expect=4)
    run("delete", "vision/cats", "--entire-dataset", "--force", "--yes")
    actions = [each["action"] for each in run("audit", "vision/cats", "--json").json]
    assert sorted(actions) == ["delete", "delete", "publish", "publish", "tag", "untag"]


def test_damage_is_listed_and_the_rest_shown(run: Run, two_versions: Path) -> None:
    """An unreadable object is named, and the exit code tells that something is missing."""
    record = Path("repo/datasets/vision/cats/versions/1.0.0.json")
    record.chmod(0o644)
    record.write_bytes(record.read_bytes()[:-9])
    done = run("audit", "--json", expect=3)
    assert {each["action"] for each in done.json} == {"publish", "tag"}
    assert "1.0.0.json" in done.err
