"""Plans of add, sync and remove: they say what the command then does, and change nothing."""

import pytest

import dataver
from dataver.errors import InvalidInput, PathNotFound


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder, and a version of it whose files are known to the stat cache."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    repo = dataver.init(tmp_path / "repo")
    for name in ("same", "touched", "replaced", "grown", "gone", "folder/gone"):
        write(tmp_path / "photos" / name, name)
    (tmp_path / "photos" / "link").symlink_to("same")
    repo.sync("photos", "cats")
    write(tmp_path / "photos" / "touched", "touched")
    write(tmp_path / "photos" / "replaced", "REPLACED")
    write(tmp_path / "photos" / "grown", "grown by much")
    write(tmp_path / "photos" / "new", "new")
    (tmp_path / "photos" / "gone").unlink()
    (tmp_path / "photos" / "folder" / "gone").unlink()
    (tmp_path / "photos" / "folder").rmdir()
    (tmp_path / "photos" / "link").unlink()
    (tmp_path / "photos" / "link").symlink_to("new")
    return tmp_path


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def everything(folder):
    """Return the state of all files below a folder."""
    return {path: path.lstat() for path in folder.rglob("*")}


def test_a_mirror_is_planned_without_reading_or_changing_anything(work):
    """Files of equal size are known once they are read, unless the stat cache knows them."""
    repo = dataver.open("repo")
    before = everything(work)
    plan = repo.plan_sync("photos", "cats")
    assert (plan.added, sorted(plan.changed)) == (["new"], ["grown", "link"])
    assert sorted(plan.removed) == ["folder/gone", "gone"]
    assert {"touched", "replaced"} <= set(plan.unknown) <= {"touched", "replaced", "same"}
    assert plan.files == 6 and plan.unchanged == 1 - plan.unknown.count("same")
    assert plan.read == sum(
        (work / "photos" / name).stat().st_size for name in [*plan.unknown, "new", "grown"]
    )
    assert everything(work).keys() == before.keys()
    report = repo.sync("photos", "cats")
    diff = repo.diff("cats@1.0.0", "cats@1.0.1")
    assert [entry.path for entry in diff.added] == plan.added
    assert sorted(entry.path for entry in diff.removed) == sorted(plan.removed)
    assert {change.path for change in diff.modified} == {*plan.changed, "replaced"}
    assert report.add.removed == len(plan.removed)


def test_an_add_removes_nothing(work):
    """Into a draft, below a folder of it; a plan of a first version adds all."""
    repo = dataver.open("repo")
    draft = repo.create("cats", parents="cats")
    plan = draft.plan_add("photos")
    assert (plan.added, plan.removed) == (["new"], [])
    assert len(draft.plan_add("photos", dest="below").added) == 6
    assert draft.plan_sync("photos", exclude=["new"]).added == []
    assert len(repo.plan_sync("photos", "dogs").added) == 6
    assert not draft.changed


def test_a_plan_is_refused_as_the_command_is(work):
    """A mirror that would leave less than half, a source that is not there."""
    repo = dataver.open("repo")
    (work / "empty").mkdir()
    with pytest.raises(InvalidInput, match="is refused"):
        repo.plan_sync("empty", "cats")
    assert len(repo.plan_sync("empty", "cats", allow_shrink=True).removed) == 7
    with pytest.raises(InvalidInput, match="no version yet"):
        repo.plan_sync("empty", "dogs")
    with pytest.raises(InvalidInput, match="not a folder"):
        repo.plan_sync("photos/new", "cats")
    with pytest.raises(PathNotFound):
        repo.create("cats", parents="cats").plan_add("nowhere")


def test_what_the_stat_cache_knows_of_elsewhere_is_read_all_the_same(work, monkeypatch):
    """A plan counts the bytes that the command reads: all of a file that the draft does not hold."""
    monkeypatch.setattr("dataver.ingest.stat_cache.RACY_NS", -(10**15))  # every file is old enough
    repo = dataver.open("repo")
    draft = repo.create("dogs")
    size = sum(path.stat().st_size for path in (work / "photos").iterdir() if not path.is_symlink())
    assert draft.plan_add("photos").read == size
    draft.add("photos")
    assert draft.plan_add("photos").read == 0 and draft.plan_add("photos").unchanged == 6
    other = repo.create("birds")
    assert other.plan_add("photos").read == size and len(other.plan_add("photos").added) == 6


def test_a_folder_in_the_place_of_a_file_removes_it(work):
    """And a file in the place of a folder is refused by add, but not by a mirror."""
    repo = dataver.open("repo")
    draft = repo.create("cats", parents="cats")
    (work / "more").mkdir()
    write(work / "more" / "gone" / "below", "x")
    write(work / "more" / "folder", "a file now")
    plan = draft.plan_add("more")
    assert (plan.added, plan.removed) == (["gone/below"], ["gone"])
    assert [name for name, _ in plan.problems] == ["folder"]
    report = draft.add("more")
    assert report.problems == plan.problems
    assert {entry.path for entry in draft.status().removed} == {"gone"}
    plan = draft.plan_sync("more", allow_shrink=True)
    assert "folder/gone" in plan.removed and "folder" in plan.added and plan.problems == []


def test_a_removal_is_planned(work):
    """The paths that match; a pattern that matches nothing is an error."""
    draft = dataver.open("repo").create("cats", parents="cats")
    assert draft.plan_remove("g*", "folder") == draft.plan_remove("folder", "g*")
    assert sorted(draft.plan_remove("g*", "folder")) == ["folder/gone", "gone", "grown"]
    with pytest.raises(PathNotFound):
        draft.plan_remove("nothing")
    assert not draft.changed
    assert sorted(draft.remove("gr*")) == ["grown"]
