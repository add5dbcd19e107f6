"""`--include` and `--exclude` of all commands that choose files."""

from pathlib import Path

import click
import pytest
from command_line import Run
from test_cli_help import find

import dataver
from dataver.errors import InvalidInput, PathNotFound


@pytest.mark.parametrize("name", ["add", "add-external", "sync", "remove", "ls", "diff", "verify", "fetch"])
def test_commands_that_choose_files_share_their_words(name: str) -> None:
    """Each accepts `--include` and `--exclude`, `remove` the former as another name for its arguments."""
    words = set()
    for parameter in find(name).params:
        if isinstance(parameter, click.Option):
            words |= {*parameter.opts, *getattr(parameter, "also", ())}
    assert {"--include", "--exclude"} <= words


def test_the_older_word_chooses_the_same(run: Run, two_versions: Path) -> None:
    """Scripts with `--paths` continue to work."""
    for word in ("--include", "--paths"):
        assert run("fetch", "vision/cats", word, "sub", "--plan", "--json").json["files"] == 1
        assert run("lineage", "impact", "vision/cats", word, "sub", "--json").json["runs"] == []


def test_ls_lists_what_is_chosen(run: Run, two_versions: Path) -> None:
    """Patterns choose files in all folders; FOLDER narrows them; one that matches nothing is an error."""
    assert run("ls", "vision/cats", "--include", "*.jpg").out.split() == ["sub/c.jpg", "z.jpg"]
    assert run("ls", "vision/cats", "--exclude", "*.jpg").out.split() == ["empty", "labels.csv", "new.txt"]
    assert run("ls", "vision/cats", "sub", "--include", "*.jpg").out.split() == ["sub/c.jpg"]
    found = run("ls", "vision/cats", "--include", "sub", "--include", "empty", "--json").json
    assert [each["path"] for each in found] == ["empty", "sub/c.jpg"]
    assert "'*.png'" in run("ls", "vision/cats", "--include", "*.png", expect=4).err
    assert "no such file below 'sub'" in run("ls", "vision/cats", "sub", "--include", "empty", expect=4).err
    run("create", "vision/cats", "--parent", "vision/cats")
    assert run("ls", "--draft", "--include", "*.csv", "-l").out.split()[-1] == "labels.csv"


def test_diff_shows_chosen_changes(run: Run, two_versions: Path) -> None:
    """A pattern must match a path of either version; of a rename, one path may be chosen."""
    assert run("diff", "vision/cats", "--include", "labels.csv").out.startswith("M  labels.csv")
    lines = run("diff", "vision/cats", "--exclude", "a.jpg", "--exclude", "labels.csv").out.splitlines()
    assert [line.split("  (")[0] for line in lines[:-1]] == ["D  b.jpg", "A  new.txt", "A  z.jpg"]
    assert "no difference" in run("diff", "vision/cats", "--include", "sub").out
    assert (
        "'b.jpg'" in run("diff", "vision/cats@1.0.1", "vision/cats@1.0.1", "--include", "b.jpg", expect=4).err
    )
    assert len(run("diff", "vision/cats@1.0.0", "--include", "*.jpg", "--json").json["added"]) == 3


def test_remove_keeps_what_is_excluded(run: Run, two_versions: Path) -> None:
    """Exclusions apply to all patterns; if they leave nothing, nothing is removed."""
    run("create", "vision/cats", "--parent", "vision/cats")
    gone = run("remove", "*.jpg", "--include", "labels.csv", "--exclude", "sub", "--plan", "--json").json
    assert gone["removed"] == ["labels.csv", "z.jpg"]
    run("remove", "sub", "--exclude", "*.jpg", expect=4)
    run("remove", "*", "--exclude", "*.csv")
    assert run("ls", "--draft").out == "labels.csv\n"


def test_a_part_of_a_folder_is_verified(run: Run, two_versions: Path) -> None:
    """Files that are not chosen may be missing, differ or be added."""
    run("fetch", "vision/cats", "--dest", "part", "--include", "*.jpg")
    run("verify", "vision/cats", "part", expect=6)
    assert "2 files" in run("verify", "vision/cats", "part", "--include", "*.jpg").err
    Path("part", "more.jpg").write_text("more")
    found = run("verify", "vision/cats", "part", "--include", "*.jpg", "--json", expect=6).json
    assert [each["name"] for each in found["findings"]] == ["more.jpg"]
    assert (
        "1 file"
        in run(
            "verify", "vision/cats", "part", "--include", "*.jpg", "--exclude", "*r*", "--exclude", "z.jpg"
        ).err
    )
    run("verify", "vision/cats", "--include", "*.jpg", expect=2)
    run("verify", "vision/cats", "part", "--include", "*.png", expect=4)


def test_the_api_chooses_in_the_same_way(two_versions: Path, work: Path) -> None:
    """Exact paths are taken literally, whichever version has them."""
    repo = dataver.open(work / "repo")
    new = repo.version("vision/cats")
    assert [entry.path for entry in new.entries(include="*.jpg", exclude="sub")] == ["z.jpg"]
    assert [entry.path for entry in new.entries("s", include=["*.jpg"])] == ["sub/c.jpg"]
    assert repo.diff(new, include="b.jpg").summary()["removed"] == 1
    with pytest.raises(PathNotFound):
        new.entries(include="missing")
    with pytest.raises(InvalidInput):
        new.diff(include=[])
    odd = work / "odd"
    odd.mkdir()
    for name in ("a[1].txt", "a1.txt"):
        (odd / name).write_text(name)
    repo.sync(odd, "odd")
    (odd / "a[1].txt").unlink()
    changed = repo.sync(odd, "odd").version
    assert changed is not None
    assert [entry.path for entry in changed.diff(include="a[1].txt").removed] == ["a[1].txt"]
