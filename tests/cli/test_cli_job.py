"""The main job as a user types it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Run

from dataver.formats.config import FORMAT
from dataver.machine.paths import default_repository


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_create_add_finalize_upload_fetch(run: Run, photos: Path, work: Path) -> None:
    """The five steps bring every byte back."""
    run("init", "repo")
    run("create", "vision/cats")
    added = run("add", photos, "--dest", "train")
    assert "Added to vision/cats: 5 files" in added.err
    assert "A  train/sub/c.jpg" in run("status").out
    digest = run("finalize", "-m", "first", "-q").out.strip()
    assert run("upload").out.split() == ["vision/cats@1.0.0", digest]
    fetched = run("fetch", "vision/cats", "--dest", "out")
    assert fetched.out.strip() == str(work / "out")
    assert snapshot(work / "out" / "train") == snapshot(photos)


def test_upload_twice_says_so(run: Run, photos: Path) -> None:
    """The second upload sends nothing and succeeds."""
    run("init", "repo")
    run("create", "cats")
    run("add", photos)
    run("finalize")
    assert not run("upload", "--json").json["already"]
    again = run("upload", "--json").json
    assert again["already"]
    assert again["version"]["ref"] == "cats@1.0.0"


def test_an_uploaded_draft_says_what_it_was_uploaded_as(run: Run, photos: Path) -> None:
    """`status` and `finalize` after the upload of a first version name that version."""
    run("init", "repo")
    run("create", "d")
    run("add", photos)
    run("finalize", "--upload")
    status = run("status")
    assert "uploaded as d@1.0.0: 5 files" in status.out
    assert "5 added" in status.out
    assert run("status", "--json").json["published"] == "d@1.0.0"
    assert "d@1.0.0 is already in" in run("finalize").err
    run("delete", "d@1.0.0", "--yes")
    assert "there is no version d@1.0.0" in run("status", expect=4).err


def test_sync_in_one_step_makes_nothing_when_nothing_changed(run: Run, two_versions: Path) -> None:
    """Mirroring an unchanged folder leaves the dataset as it is."""
    done = run("sync", two_versions, "--name", "vision/cats")
    assert done.out == ""
    assert "Nothing changed" in done.err
    assert len(run("list", "vision/cats", "--json").json) == 2


def test_sync_inside_a_draft_mirrors(run: Run, two_versions: Path) -> None:
    """`sync` without --name changes the draft, deletions included."""
    run("create", "vision/cats", "--parent", "vision/cats@1.0.0")
    report = run("sync", two_versions, "--json").json
    assert (report["removed"], report["renamed"]) == (1, 1)
    status = run("status", "--json").json
    assert status["summary"]["renamed"] == 1
    assert status["parents"] == ["vision/cats@1.0.0"]
    run("sync", two_versions, "-m", "no message here", expect=2)


def test_remove_and_move_in_a_draft(run: Run, two_versions: Path) -> None:
    """Files leave and move by path, folder and glob."""
    run("create", "vision/cats", "--parent", "vision/cats")
    assert run("remove", "*.csv", "sub", "--json").json["removed"] == ["labels.csv", "sub/c.jpg"]
    run("move", "z.jpg", "deep/down/a.jpg")
    assert run("ls", "--draft", "-r").out.split() == ["deep/down/a.jpg", "empty", "new.txt"]
    run("remove", "nothing-like-this", expect=4)


def test_diff_lists_what_changed(run: Run, two_versions: Path) -> None:
    """Added, removed, modified and renamed paths stand in path order, with the counts at the end."""
    lines = run("diff", "vision/cats@1.0.0", "vision/cats").out.splitlines()
    assert [line.split("  (")[0] for line in lines[:-1]] == [
        "R  a.jpg -> z.jpg",
        "D  b.jpg",
        "M  labels.csv",
        "A  new.txt",
    ]
    assert "1 added, 1 removed, 1 modified, 1 renamed" in lines[-1]
    counted = run("diff", "vision/cats@1.0.0", "vision/cats", "--stat").out.splitlines()
    assert counted == ["1 row changed, 19,999 removed in labels.csv", lines[-1]]


def test_one_version_is_compared_with_its_parent(run: Run, two_versions: Path) -> None:
    """Every path of the first version is added."""
    pair = run("diff", "vision/cats@1.0.0", "vision/cats@1.0.1")
    assert run("diff", "vision/cats").out == pair.out
    assert run("diff", "vision/cats", "--json").json["renamed"][0]["new"]["path"] == "z.jpg"
    first = run("diff", "vision/cats@1.0.0").out.splitlines()
    assert [line[:1] for line in first] == ["A"] * 5 + ["n"]
    assert first[-1].startswith("nothing -> vision/cats@1.0.0: 5 added; ")
    assert run("diff", "vision/cats@1.0.0", "--json").json["old"] is None
    run("delete", "vision/cats@1.0.0", "--yes")
    assert "the parent of vision/cats@1.0.1, is not in" in run("diff", "vision/cats", expect=4).err


def test_an_old_version_is_restored(run: Run, two_versions: Path) -> None:
    """Its content is the latest version again, and a repeated command says so."""
    done = run("restore", "vision/cats@1.0.0", "--tag", "production")
    assert done.out.startswith("vision/cats@1.0.2  dv1:")
    assert "Restored vision/cats@1.0.0 as vision/cats@1.0.2 in" in done.err
    assert run("show", "vision/cats@production", "--json").json["message"] == "Restore vision/cats@1.0.0"
    assert run("diff", "vision/cats@1.0.0", "vision/cats").out.endswith(": no difference.\n")
    again = run("restore", "vision/cats@1.0.0")
    assert "Nothing changed: vision/cats@1.0.2 has the content of vision/cats@1.0.0 already." in again.err
    assert run("restore", "vision/cats@1.0.1", "--json").json["version"]["label"] == "1.0.3"


def test_versions_are_listed_by_tag_time_and_order(run: Run, two_versions: Path) -> None:
    """Filters apply before the limit; a tag is looked for in all datasets."""
    run("sync", two_versions, "--name", "vision/dogs", "--dest", "one", "--tag", "production")
    run("sync", two_versions, "--name", "vision/dogs", "--dest", "two")

    def refs(*arguments: str) -> list[str]:
        return [each["ref"] for each in run("list", *arguments, "--json").json]

    assert refs("--tag", "production", "--sort", "name") == ["vision/cats@1.0.1", "vision/dogs@1.0.0"]
    assert refs("vision/cats", "--tag", "production") == ["vision/cats@1.0.1"]
    assert refs("vision/cats", "--tag", "none") == []
    assert refs("vision/cats", "-n", "1") == ["vision/cats@1.0.1"]
    assert refs("vision/cats", "--sort", "name", "-n", "1") == ["vision/cats@1.0.0"]
    assert refs("vision/cats", "--sort", "size") == ["vision/cats@1.0.0", "vision/cats@1.0.1"]
    assert len(refs("vision/cats", "--since", "1h")) == 2
    assert refs("vision/cats", "--since", "2999-01-01") == []
    assert "1 of 2 versions of vision/cats in" in run("list", "vision/cats", "-n", "1").err
    largest = run("list", "--sort", "size", "-n", "1")
    assert "vision/dogs" in largest.out
    assert "1 of 2 datasets in" in largest.err
    assert "has no dataset of that time" in run("list", "--since", "2999-01-01").err
    assert "such as 2026-11-21" in run("list", "--since", "soon", expect=2).err
    assert "dataver show vision/cats@1.0.0" in run("list", "vision/cats@1.0.0", expect=2).err


def test_sync_counts_changes_as_diff_does(run: Run, two_versions: Path) -> None:
    """A file that was renamed is not counted as removed, in one step and in a draft."""
    for name in ("labels.csv", "new.txt", "empty"):
        (two_versions / name).rename(two_versions / "sub" / name)
    (two_versions / "z.jpg").unlink()
    run("create", "other", "--parent", "vision/cats")
    draft = run("sync", two_versions)
    step = run("sync", two_versions, "--name", "vision/cats")
    for done in (draft, step):
        assert ", 2 removed, 2 renamed, " in done.err
    assert "1 added, 2 removed, 2 renamed;" in run("status", "--stat").out
    assert "1 added, 2 removed, 2 renamed;" in run("diff", "vision/cats").out
    (two_versions / "sub" / "new.txt").rename(two_versions / "new.txt")
    found = run("sync", two_versions, "--name", "vision/cats", "--json").json
    assert (found["removed"], found["renamed"]) == (0, 1)


def test_list_show_and_log_tell_the_versions(run: Run, two_versions: Path) -> None:
    """Names, ids, tags and history are printed."""
    assert run("list").out.splitlines()[1].split()[:3] == ["vision/cats", "2", "1.0.1"]
    assert run("list", "vision").out == run("list", "--project", "vision").out
    newest, oldest = run("list", "vision/cats", "--json").json
    assert newest["tags"] == ["production"]
    assert newest["parents"][0]["record"] == oldest["record"]
    shown = run("show", newest["digest"][:14]).out
    assert newest["digest"] in shown
    assert "second" in shown
    log = run("log", "vision/cats").out.splitlines()
    assert [line[:20] for line in log[::2]] == ["* vision/cats@1.0.1 ", "* vision/cats@1.0.0 "]
    assert len(run("log", "vision/cats@1.0.0", "--json").json) == 1


def test_ls_lists_a_folder_at_a_time(run: Run, two_versions: Path) -> None:
    """Folders end in a slash; long lines tell kind and size; a file lists itself."""
    assert run("ls", "vision/cats@1.0.0").out.split() == ["a.jpg", "b.jpg", "empty", "labels.csv", "sub/"]
    assert run("ls", "vision/cats@1.0.0", "sub/").out.split() == ["sub/c.jpg"]
    assert run("ls", "vision/cats@1.0.0", "sub/c.jpg", "--long").out.split()[:3] == ["file", "30.0", "kB"]
    assert run("ls", "vision/cats@1.0.0", "--json").json[-1] == {"path": "sub", "kind": "folder"}
    run("ls", "vision/cats", "nowhere", expect=4)


def test_tags_move_and_remember(run: Run, two_versions: Path) -> None:
    """A tag moves, is resolved, keeps its history, and can be removed."""
    run("tag", "vision/cats@1.0.0", "production")
    assert run("tag", "vision/cats", "--json").json == {"production": "1.0.0"}
    assert run("show", "vision/cats@production", "--json").json["label"] == "1.0.0"
    moves = run("tag", "vision/cats", "production", "--history", "--json").json
    assert [(each["label"], each["author"]) for each in moves] == [("1.0.1", "ana"), ("1.0.0", "ana")]
    run("untag", "vision/cats@production")
    run("untag", "vision/cats", "production", expect=4)


def test_fetch_takes_a_part(run: Run, two_versions: Path, work: Path) -> None:
    """--include fetches only what matches, and tells in JSON what it cost."""
    report = run("fetch", "vision/cats@1.0.0", "--dest", "part", "--include", "*.jpg", "--json").json
    assert sorted(snapshot(work / "part")) == ["a.jpg", "b.jpg", "sub/c.jpg"]
    assert report["files"] == 3


def test_fetch_refuses_to_overwrite_unless_told(run: Run, two_versions: Path, work: Path) -> None:
    """Changed files in the target are named and kept."""
    run("fetch", "vision/cats", "--dest", "copy")
    (work / "copy" / "labels.csv").write_text("mine")
    refused = run("fetch", "vision/cats", "--dest", "copy", expect=5)
    assert "labels.csv" in refused.err
    assert (work / "copy" / "labels.csv").read_text() == "mine"
    run("verify", "vision/cats", "copy", expect=6)
    run("fetch", "vision/cats", "--dest", "copy", "--overwrite")
    run("verify", "vision/cats", "copy")


def test_several_drafts_are_told_apart(run: Run, two_versions: Path) -> None:
    """The latest is the current one, and marked; others are named by the beginning of their id."""
    one = run("create", "one", "--json").json["draft"]
    two = run("create", "two", "--json").json["draft"]
    run("add", two_versions / "new.txt", "--draft", one)
    listed = {each["draft"]: each for each in run("drafts", "--json").json}
    assert listed[one]["changed"] and not listed[two]["changed"]
    assert listed[two]["current"]
    run("discard", "--id", one, expect=2)  # nobody to ask
    run("discard", "--id", one, "--yes")
    assert two in run("drafts").out
    assert one not in run("drafts", "--all").out


def test_a_draft_finds_its_own_repository(run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A draft goes to the repository it was made for, whatever the environment says later."""
    run("init", "one", "--no-config")
    run("init", "two", "--no-config")
    run("create", "cats", "--repo", "one")
    monkeypatch.setenv("DATAVER_REPO", "two")
    run("add", photos)
    run("finalize", "--upload")
    assert run("--repo", "one", "list", "--json").json[0]["name"] == "cats"
    assert run("list", "--json").json == []


def test_clearml_words_are_understood(run: Run, photos: Path, work: Path) -> None:
    """Hands used to clearml-data find their options."""
    run("init", "repo")
    run("create", "--project", "vision", "--name", "cats")
    run("add", "--files", photos / "a.jpg", photos / "b.jpg", "--dataset-folder", "train")
    run("add", "--files", photos, "--wildcard", "*.csv")
    run("close", "--version", "2.0", "--upload", "--tags", "gold")
    run("create", "--project", "vision", "--name", "cats", "--parents", "vision/cats@gold")
    run("remove", "--files", "train/*")
    run("sync", "--folder", photos, "--project", "vision", "--name", "cats", "--storage", "repo")
    run("get", "vision/cats@2.0", "--copy", "copy")
    assert sorted(snapshot(work / "copy")) == ["labels.csv", "train/a.jpg", "train/b.jpg"]
    assert run("compare", "--source", "vision/cats@2.0", "--target", "vision/cats", "--stat").out


def test_metadata_is_json_or_text(run: Run, photos: Path) -> None:
    """Values that are JSON stay what they are."""
    run("init", "repo")
    run("create", "cats")
    run("add", photos)
    run(
        "finalize",
        "--upload",
        "--metadata",
        "lux=410",
        "--metadata",
        "camera=A 7",
        "--metadata",
        "roi=[1, 2]",
    )
    assert run("show", "cats", "--json").json["metadata"] == {"lux": 410, "camera": "A 7", "roi": [1, 2]}


def test_quiet_prints_results_only(run: Run, photos: Path) -> None:
    """With --quiet, before or behind the command, stderr stays empty."""
    run("init", "repo", "-q")
    run("create", "cats")
    for done in (
        run("add", photos, "-q"),
        run("-q", "finalize", "--upload"),
        run("fetch", "cats", "--quiet"),
    ):
        assert done.err == ""


def test_init_joins_a_repository_that_exists(run: Run, tmp_path: Path, work: Path) -> None:
    """A second init notes the repository for this folder and changes nothing in it; --existing makes none."""
    made = run("init", tmp_path / "shared", "--no-config", "--json").json
    assert not (work / ".dataver").exists()
    joined = run("init", tmp_path / "shared", "--json").json
    assert (made["created"], joined["created"]) == (True, False)
    assert joined["id"] == made["id"]
    assert Path(joined["config"]).is_file()
    assert "exists already" in run("init", tmp_path / "shared").err
    run("init", tmp_path / "shared", "--chunk-size", "16384")
    run("init", tmp_path / "nowhere", "--existing", expect=4)


def test_a_repository_that_cannot_be_reached_is_not_replaced_by_the_users_own(
    run: Run, tmp_path: Path, work: Path
) -> None:
    """After an `init` that failed, commands fail, too, until another repository is named."""
    (tmp_path / "file").write_text("no folder")
    failed = run("init", tmp_path / "file" / "repo", expect=7)
    assert ".dataver/config.toml" in failed.err
    assert run("create", "cats", expect=4).out == ""
    run("init", tmp_path / "repo")
    assert f"for {tmp_path / 'repo'}" in run("create", "cats").out
    run("init", tmp_path / "file" / "other", expect=7)
    assert f"for {tmp_path / 'repo'}" in run("create", "dogs").out


def test_the_users_own_repository_is_named_when_it_is_made(run: Run, photos: Path) -> None:
    """Where nothing is configured the first command says which repository it made; closing lines name it."""
    first = run("sync", photos, "--name", "cats").err
    assert "No repository is configured" in first
    own = default_repository()
    assert f"Uploaded cats@1.0.0 to {own}" in first
    again = run("sync", photos, "--name", "cats").err
    assert "No repository is configured" not in again
    assert f"Nothing changed: cats in {own}" in again
    assert f"Fetched cats from {own}" in run("fetch", "cats").err


def test_parents_that_disagree_are_listed(run: Run, photos: Path) -> None:
    """A draft of several parents names the paths in which the later one won."""
    run("init", "repo")
    run("sync", photos, "--name", "one")
    (photos / "labels.csv").write_text("other")
    run("sync", photos, "--name", "two")
    done = run("create", "both", "--parent", "one", "--parent", "two", "--json")
    assert done.json["conflicts"] == ["labels.csv"]
    assert "labels.csv" in done.err


def test_names_that_some_systems_cannot_hold_are_warned_of(run: Run, work: Path) -> None:
    """Two names equal but for case: a warning at finalize, not an error."""
    folder = work / "data"
    folder.mkdir()
    (folder / "readme").write_text("1")
    (folder / "README").write_text("2")
    run("init", "repo")
    run("create", "cats")
    run("add", folder)
    assert "only in case" in run("finalize").err


def test_demo_tells_the_whole_story(tmp_path: Path) -> None:
    """The demo ends well, leaves nothing behind, and touches neither the user's repository nor the folder."""
    (tmp_path / "tmp").mkdir()
    own = {f"DATAVER_{name}": str(tmp_path / "untouched") for name in ("REPO", "STATE", "CACHE")}
    done = subprocess.run(
        [sys.executable, "-m", "dataver_cli", "demo"],
        env=os.environ | own | {"TMPDIR": str(tmp_path / "tmp")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    out = done.stdout
    assert "no difference" in out
    assert out.count("$ dataver ") == 17
    assert "consumed  vision/cats@1.0.1  200 files" in out[out.index("$ dataver lineage run demo:july") :]
    answer = out[out.index("$ dataver lineage impact") :]
    assert "models/cats@1.0.1  produced by demo:july" in answer
    assert "june" not in answer and "models/cats@1.0.0" not in answer
    assert "2 versions and 1 run are tainted." in answer
    assert [path.name for path in tmp_path.rglob("*")] == ["tmp"]
    assert out.endswith("\n    dataver demo --folder demo\n    dataver ui --repo demo/repo\n")


def test_demo_keeps_a_folder_that_was_chosen(run: Run, work: Path) -> None:
    """--folder keeps the repository to look around in; a folder that holds things is refused."""
    told = run("demo", "--folder", work / "try").out
    assert told.endswith(f"\n    dataver ui --repo {work / 'try/repo'}\n")
    assert json.loads((work / "try" / "repo" / "dataver.json").read_bytes())["format"] == FORMAT
    run("demo", "--folder", work / "try", expect=2)


def test_plans_of_add_sync_and_remove_change_nothing(run: Run, photos: Path, work: Path) -> None:
    """`--plan`, or `--dry-run` as other tools call it; the lines are marked as those of `status`."""
    run("init", "repo")
    run("create", "vision/cats")
    planned = run("add", photos, "--dry-run")
    assert "A  sub/c.jpg" in planned.out and "5 added" in planned.err and "0 removed" in planned.err
    assert "no difference" in run("status").out
    run("add", photos)
    (photos / "sub" / "c.jpg").unlink()
    planned = run("sync", photos, "--plan")
    assert "D  sub/c.jpg" in planned.out and "1 removed" in planned.err
    assert "Would remove 1 path" in run("remove", "sub/c.jpg", "--plan").err
    assert "A  sub/c.jpg" in run("status").out
    run("finalize")
    run("upload")
    planned = run("sync", photos, "--name", "vision/cats", "--plan", "--json").json
    assert (planned["removed"], planned["added"]) == (["sub/c.jpg"], ["sub"])  # an empty folder now
    assert run("list", "vision/cats", "--json").json[0]["ref"] == "vision/cats@1.0.0"
    assert "standard input" in run("add", "-", "--as", "x", "--plan", expect=2).err
