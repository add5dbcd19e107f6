"""`dataver.lock`: code finds its data again, and CI hears of drift."""

import tomllib
from pathlib import Path

import pytest
from command_line import Run

import dataver


def test_a_locked_fetch_stays_where_the_tag_moved_on(run: Run, two_versions: Path, work: Path) -> None:
    """`fetch --locked` and `dataver.fetch(locked=True)` bring the locked version, `fetch` the new one."""
    run("tag", "vision/cats@1.0.0", "stable")
    assert "stable is vision/cats@1.0.0" in run("lock", "vision/cats@stable").err
    run("tag", "vision/cats@1.0.1", "stable")
    run("fetch", "--locked", "vision/cats@stable", "--dest", "old")
    run("fetch", "vision/cats@stable", "--dest", "new")
    assert (work / "old" / "a.jpg").exists()
    assert (work / "new" / "z.jpg").exists()
    folder = dataver.fetch("vision/cats@stable", locked=True, repo=work / "repo")
    assert (folder / "a.jpg").exists()


def test_check_fails_on_drift_and_update_settles_it(run: Run, two_versions: Path) -> None:
    """CI learns of a moved name by exit code 5 and by name; `--update` takes over what it means now."""
    run("lock", "vision/cats@latest", "vision/cats@1.0.0")
    assert "all unchanged" in run("lock", "--check").err
    (two_versions / "more.txt").write_text("more")
    run("sync", two_versions, "--name", "vision/cats")
    failed = run("lock", "--check", "--json", expect=5)
    assert [(each["asked"], each["state"], each["now"]) for each in failed.json] == [
        ("vision/cats@1.0.0", "same", "vision/cats@1.0.0"),
        ("vision/cats@latest", "moved", "vision/cats@1.0.2"),
    ]
    assert "vision/cats@latest" in failed.err
    assert "was vision/cats@1.0.1" in run("lock", "--update").err
    run("lock", "--check")


def test_the_lock_names_exact_versions_and_no_place(run: Run, two_versions: Path, work: Path) -> None:
    """The file is TOML with the digest, sorted, without the repository's URL."""
    run("lock", "vision/cats@production", "vision/cats@1.0.0")
    text = (work / "dataver.lock").read_text()
    values = tomllib.loads(text)
    assert [each["asked"] for each in values["version"]] == ["vision/cats@1.0.0", "vision/cats@production"]
    assert values["version"][1]["digest"] == run("show", "vision/cats@1.0.1", "--json").json["digest"]
    assert str(work) not in text


def test_the_lock_is_found_from_a_folder_below(
    run: Run, two_versions: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One project has one lock, whichever folder the command runs in."""
    (work / ".git").mkdir()
    below = work / "src" / "deep"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    run("lock", "vision/cats")
    assert (work / "dataver.lock").is_file()
    assert run("lock", "--json").json["versions"][0]["ref"] == "vision/cats@1.0.1"
    run("lock", "--remove", "vision/cats")
    assert run("lock", "--json").json["versions"] == []


def test_a_version_that_was_replaced_is_refused(run: Run, two_versions: Path, work: Path) -> None:
    """Another record under the locked label is neither fetched nor called the same."""
    run("lock", "vision/cats@1.0.0")
    records = work / "repo" / "datasets" / "vision" / "cats" / "versions"
    (records / "1.0.0.json").unlink()
    gone = run("lock", "--check", expect=5)
    assert "gone" in gone.out
    run("fetch", "--locked", "vision/cats@1.0.0", expect=4)
    (two_versions / "other.txt").write_text("other")
    run("sync", two_versions, "--name", "vision/cats", "--label", "1.0.0")
    assert "REPLACED" in run("lock", "--check", expect=5).out
    run("fetch", "--locked", "vision/cats@1.0.0", expect=6)


def test_a_lock_of_another_repository_is_refused_by_name(run: Run, two_versions: Path) -> None:
    """The same names in another repository are not the locked data."""
    run("lock", "vision/cats")
    run("init", "other")
    run("--repo", "other", "sync", two_versions, "--name", "vision/cats")
    assert "another repository" in run("--repo", "other", "lock", "--check", expect=5).out
    run("--repo", "other", "fetch", "--locked", "vision/cats", expect=5)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<<<<<<< HEAD\nformat = 1\n", "resolve merge conflicts"),
        ("format = 2\n", "reads format 1"),
        ('format = 1\nversion = "x"\n', "not a list"),
        ('format = 1\n[[version]]\nasked = "a"\n', "has no 'dataset'"),
    ],
)
def test_a_damaged_lock_is_refused_in_a_sentence(
    run: Run, two_versions: Path, work: Path, text: str, says: str
) -> None:
    """A merge left half done, a newer format, missing values: a sentence each, and nothing is overwritten."""
    (work / "dataver.lock").write_text(text)
    assert says in run("lock", "vision/cats", expect=1).err
    assert (work / "dataver.lock").read_text() == text


def test_what_is_not_locked_or_ambiguous_is_said(run: Run, two_versions: Path) -> None:
    """An unlocked name lists what is locked; a dataset locked twice needs the exact reference."""
    run("lock", "--check", expect=4)
    run("lock", "vision/cats@1.0.0", "vision/cats@1.0.1")
    assert "matches several" in run("fetch", "--locked", "vision/cats", expect=4).err
    assert "is not locked" in run("fetch", "--locked", "dogs", expect=4).err
    run("lock", "nothing/here", expect=4)
    run("lock", "--check", "vision/cats", expect=2)
