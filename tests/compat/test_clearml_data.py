"""`dataver compat clearml-data`: the commands of ClearML Data."""

import json
import os
import re
from pathlib import Path

import click
import pytest

import dataver
from dataver_cli.compat.clearml_data import group
from dataver_cli.main import main

OPTIONS = {
    "create": "--parents --project --name --version --output-uri --storage --tags",
    "add": "--id --dataset-folder --files --wildcard --links --non-recursive --verbose --max-workers",
    "set-description": "--description --id",
    "sync": "--id --dataset-folder --folder --parents --project --name --version --output-uri --tags "
    "--storage --skip-close --chunk-size --verbose",
    "remove": "--id --files --non-recursive --verbose",
    "upload": "--id --storage --chunk-size --verbose --max-workers",
    "close": "--id --storage --disable-upload --chunk-size --verbose --max-workers",
    "publish": "--id",
    "delete": "--id --project --name --version --force --entire-dataset",
    "rename": "--new-name --project --name",
    "move": "--new-project --project --name",
    "compare": "--source --target --verbose",
    "squash": "--name --ids --storage --verbose",
    "search": "--ids --project --name --tags --not-only-completed --non-recursive-project-search",
    "verify": "--id --folder --filesize --verbose",
    "list": "--id --project --name --version --filter --modified",
    "get": "--id --copy --link --part --num-parts --overwrite --verbose --max-workers",
}
"""Of `clearml-data` in ClearML 2.1.12."""


class Typed:
    """Commands typed in a folder."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, line: str, *words: str, code: int = 0) -> str:
        """Run a command; return what it printed."""
        assert main(["compat", "clearml-data", *line.split(), *words]) == code
        said = self._capsys.readouterr()
        return said.out + said.err


@pytest.fixture
def typed(repo: dataver.Repository, capsys: pytest.CaptureFixture[str]) -> Typed:
    """An empty repository, and a folder with three files in `in`."""
    for name in ("a.txt", "sub/b.jpg", "sub/c.txt"):
        path = Path("in", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return Typed(capsys)


def key_in(text: str) -> str:
    """Return the id that a command printed."""
    found = re.search(r"id=(\w+)", text)
    assert found, text
    return found[1]


def test_commands_and_options_are_those_of_clearml() -> None:
    """Every command has ClearML's options, and no other one."""
    assert group.commands.keys() == OPTIONS.keys()
    for name, command in group.commands.items():
        own = [option for each in command.params if isinstance(each, click.Option) for option in each.opts]
        assert sorted(own) == sorted(OPTIONS[name].split()), name


def test_a_dataset_is_made_step_by_step(typed: Typed, repo: dataver.Repository) -> None:
    """`create`, `add`, remove, set-description, upload and close make a version of the current draft."""
    key = key_in(typed("create --name cats --project", "Vision & co", "--tags", "raw", "small"))
    assert "2 files added" in typed("add --files in/sub --wildcard *.jpg *.txt --dataset-folder x")
    assert "1 file added" in typed("add --files in/a.txt")
    assert "1 file removed" in typed("remove --files x/*.txt")
    typed("set-description --description first")
    assert "not uploaded" in typed("close --disable-upload", code=1)
    assert "Dataset upload completed" in typed("upload")
    assert "Dataset closed and finalized" in typed("close --disable-upload")
    version = repo.version("Vision-co/cats@1.0.0")
    assert [each.path for each in version.entries()] == ["a.txt", "x/b.jpg"]
    assert (version.message, version.tags) == ("first", ["raw", "small"])
    listed = typed(f"list --id {key} --filter *.jpg")
    assert listed.splitlines()[1].split()[:2] == ["x/b.jpg", "9"]
    assert "Total 1 files, 9 bytes" in listed
    assert "no current draft" in typed("add --files in", code=4)


def test_a_folder_is_synced_in_one_command(typed: Typed, repo: dataver.Repository) -> None:
    """`sync` creates a version and closes it; without a change it makes none."""
    first = key_in(typed("sync --project p --name n --folder in"))
    assert "Zero modifications" in typed(f"sync --parents {first} --project p --name n --folder in")
    Path("in/a.txt").write_text("changed")
    second = key_in(typed(f"sync --parents {first} --project p --name n --folder in"))
    assert [each.label for each in repo.versions("p/n")] == ["1.0.0", "1.0.1"]
    summary = "Comparison summary: 0 files removed, 1 files modified, 0 files added"
    assert summary in typed(f"compare --source {first} --target {second}")
    assert "Modified files:\na.txt\n" in typed(f"compare --source {first} --target {second} --verbose")
    assert "a.txt" in typed(f"list --id {second} --modified")
    assert "Total 1 files" in typed(f"list --id {second} --modified")
    assert not repo.drafts()


def test_datasets_are_found_fetched_and_verified(typed: Typed, repo: dataver.Repository) -> None:
    """`search`, `publish`, get and verify work on ids; verification that fails exits with 3."""
    key = key_in(typed("sync --project p --name n --folder in --tags t"))
    typed(f"publish --id {key}")
    found = json.loads(typed("--json search --project p --tags t"))["datasets"]
    assert [(each["id"], each["status"]) for each in found] == [(key, "published")]
    assert typed("search --name ^N").splitlines()[1:] == []
    typed(f"get --id {key} --copy out")
    assert Path("out/sub/b.jpg").read_text() == "sub/b.jpg"
    assert "contains files" in typed(f"get --id {key} --copy out", code=1)
    typed(f"get --id {key} --copy out --overwrite")
    typed(f"get --id {key} --link view")
    typed(f"get --id {key} --link view")
    assert Path("view/a.txt").read_text() == "a.txt"
    assert "no errors found" in typed(f"verify --id {key} --folder out")
    Path("out/a.txt").write_text("a.TXT")
    assert "1 errors found" in typed(f"verify --id {key} --folder out", code=3)
    assert "no errors found" in typed(f"verify --id {key} --folder out --filesize")
    typed(f"get --id {key} --part 0 --num-parts 3 --copy part")
    assert len([path for path in Path("part").rglob("*") if path.is_file()]) == 1


def test_datasets_are_renamed_moved_squashed_and_deleted(typed: Typed, repo: dataver.Repository) -> None:
    """Whole datasets change their names; a deletion that cannot be made exits with an error."""
    key = key_in(typed("sync --project p --name n --folder in"))
    typed("rename --new-name m --project p --name n")
    typed("move --new-project q --project p --name m")
    squashed = key_in(typed(f"squash --name all --ids {key} {key}"))
    assert {each.name for each in repo.datasets()} == {"q/m", "q/all"}
    assert "no dataset 'q/none'" in typed("delete --project q --name none", code=4)
    typed(f"delete --id {squashed}")
    typed("delete --project q --name m --entire-dataset --force")
    assert not repo.datasets()


def test_what_is_left_out_has_an_exit_code(typed: Typed, repo: dataver.Repository) -> None:
    """A file that cannot be read, and a number that is none."""
    typed("create --project p --name cats")
    Path("more").mkdir()
    os.mkfifo("more/pipe")
    Path("more/a").write_text("a")
    assert typed("add --files more", code=3).startswith("1 file added\n")
    typed("close")
    typed("get --id p/cats@1.0.0 --part x", code=2)
    assert "1 added" in typed("sync --folder more --project p --name dogs", code=3)


def test_links_are_added(typed: Typed, repo: dataver.Repository) -> None:
    """--links records external files."""
    typed("create --project p --name n")
    assert "3 files added" in typed(f"add --links {Path('in').absolute()} --dataset-folder far")
    typed("close")
    assert len(list(repo.version("p/n").entries("far/"))) == 3
