"""Message, metadata, author and time of a version, from the command line and the API."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from command_line import Run

import dataver
from dataver.errors import InvalidInput


def test_sync_and_finalize_describe_the_version(run: Run, photos: Path) -> None:
    """Metadata is JSON or text; the author option has priority over the environment."""
    run("init", "repo")
    about = ("--metadata", "lux=410", "--metadata", "from=camera 7", "--author", "Zoë")
    run("sync", photos, "--name", "cats", *about, "--created", "2024-05-01T08:00")
    first = run("show", "cats", "--json").json
    assert first["metadata"] == {"lux": 410, "from": "camera 7"}
    assert first["author"] == "Zoë"
    assert first["created"] == "2024-05-01T08:00:00+00:00"
    run("create", "cats", "--parent", "cats")
    run("remove", "a.jpg")
    done = run("finalize", *about, "--created", "2024-05-02", "--upload")
    assert "has the time" not in done.err
    assert run("show", "cats", "--json").json["created"] == "2024-05-02T00:00:00+00:00"
    run("sync", photos, "--name", "cats")
    last = run("show", "cats", "--json").json
    assert (last["author"], last["metadata"]) == ("ana", {})


def test_times_that_versions_cannot_have_are_refused(run: Run, two_versions: Path) -> None:
    """A version is younger than its parents, and not of the future; nothing is read before."""
    (two_versions / "more").write_text("more")
    for time, why in (
        ("2999-01-01", "is in the future"),
        ("2001-01-01", "is not after that of vision/cats@1.0.1"),
    ):
        done = run("sync", two_versions, "--name", "vision/cats", "--created", time, expect=1)
        assert why in done.err
    assert run("show", "vision/cats", "--json").json["label"] == "1.0.1"
    assert run("drafts", "--all").out == ""


def test_a_version_published_meanwhile_moves_the_time(run: Run, photos: Path) -> None:
    """The last line says so."""
    run("init", "repo")
    run("sync", photos, "--name", "cats", "--created", "2024-05-01")
    draft = run("create", "cats", "--parent", "cats", "--json").json["draft"]
    (photos / "other").write_text("other")
    run("sync", photos, "--name", "cats")
    run("remove", "a.jpg", "--draft", draft)
    done = run("finalize", "--created", "2024-06-01", "--upload", "--draft", draft)
    assert "cats@1.0.2 has the time " in done.err


def test_options_of_a_version_need_one(run: Run, photos: Path) -> None:
    """Without --name, `sync` changes a draft, which is described by `finalize`."""
    run("init", "repo")
    run("create", "cats")
    options = ("--metadata", "a=1", "--author", "b", "--created", "2024-01-01")
    said = run("sync", photos, *options, expect=2).err
    assert "--metadata, --author, --created needs --name" in said
    run("sync", photos)


def test_the_api_takes_author_and_time(work: Path, photos: Path) -> None:
    """Times are in any zone, but have one."""
    repo = dataver.init(work / "repo")
    moment = datetime(2024, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    version = repo.sync(photos, "cats", author="b", created=moment).version
    assert version is not None
    assert (version.author, version.created) == ("b", datetime(2024, 1, 1, 10, tzinfo=UTC))
    draft = repo.create("cats", parents="cats")
    with pytest.raises(InvalidInput, match="no time zone"):
        draft.finalize(created=datetime(2024, 2, 1), allow_empty=True)
    assert draft.finalize(created=moment + timedelta(1), allow_empty=True).created.day == 2
