"""Publishing upon the latest version of a line: nothing that others published is lost, and forks say so."""

import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

import dataver
from dataver.errors import Conflict
from dataver.formats.keeping import Turn
from dataver.machine.process_identity import this_process
from dataver.repository.layout import TURNS, turn_key
from dataver.repository.publish import publish


@pytest.fixture
def started(world):
    """A dataset of one version with two files."""
    draft(world, {"a": "a", "b": "b"}, "d").upload()
    return world


def draft(world, files, name, parents=(), *, remove=(), label=None, allow_empty=False):
    """Return a sealed draft that adds files."""
    made = world.repo.create(name, parents=parents, workspace=world.root / "work")
    for path, text in files.items():
        with made.open(path, "w") as file:
            file.write(text)
    if remove:
        made.remove(*remove)
    made.finalize(label=label, allow_empty=allow_empty)
    return made


def contents(world, ref="d"):
    version = world.repo.version(ref)
    return {entry.path: version.read(entry.path).decode() for entry in version.entries()}


def test_edits_are_applied_to_what_others_published_meanwhile(started):
    """Both drafts start from 1.0.0; the later upload holds the work of both and is a child of the first."""
    one = draft(started, {"a": "one"}, "d", "d")
    two = draft(started, {"c": "two"}, "d", "d", remove=["b"])
    assert one.upload().onto is None
    report = two.upload()
    assert (report.version.label, report.onto, report.beside) == ("1.0.2", "d@1.0.1", None)
    assert [each.label for each in report.version.parents] == ["1.0.1"]
    assert contents(started) == {"a": "one", "c": "two"}


def test_a_path_that_both_changed_is_a_conflict_that_names_both(started):
    """Nothing is published; then --rebase keeps the draft's content there, and the other's elsewhere."""
    one = draft(started, {"a": "one", "c": "one"}, "d", "d")
    two = draft(started, {"a": "two"}, "d", "d")
    one.upload()
    with pytest.raises(Conflict, match=r"d@1\.0\.1 was published meanwhile.* changed a\.") as caught:
        two.upload()
    assert "--rebase" in caught.value.hint
    assert "--allow-fork" in caught.value.hint
    assert started.repo._core.records.labels("d") == ["1.0.0", "1.0.1"]
    assert two.upload(rebase=True).version.label == "1.0.2"
    assert contents(started) == {"a": "two", "b": "b", "c": "one"}


def test_a_fork_is_published_beside_the_latest(started):
    """Its label says so, `latest` stays, its children stay on it, and merged it comes back."""
    one = draft(started, {"a": "one"}, "d", "d")
    two = draft(started, {"a": "two"}, "d", "d")
    one.upload()
    report = two.upload(allow_fork=True)
    assert (report.version.label, report.version.line) == ("1.0.0-fork.1", "1.0.0-fork.1")
    assert (report.beside, report.onto, report.replaced) == ("d@1.0.1", None, None)
    assert started.repo.version("d").label == "1.0.1"
    first = draft(started, {"c": "c"}, "d", "d@1.0.0-fork.1")
    second = draft(started, {"e": "e"}, "d", "d@1.0.0-fork.1")
    assert first.upload().version.label == "1.0.0-fork.2"
    assert second.upload().onto == "d@1.0.0-fork.2"
    assert contents(started, "d@1.0.0-fork.3") == {"a": "two", "b": "b", "c": "c", "e": "e"}
    assert started.repo.version("d").label == "1.0.1"
    merged = started.repo.create("d", parents=["d", "d@1.0.0-fork.3"], workspace=started.root / "work")
    merged.finalize()
    assert merged.upload().version.label == "1.0.2"
    assert started.repo.version("d").label == "1.0.2"
    assert contents(started) == {"a": "two", "b": "b", "c": "c", "e": "e"}


def test_a_merged_version_is_newer_than_a_parent_of_a_fast_clock(started, monkeypatch):
    """Ancestors are searched by time: a slow writer does not move a tag back to the fork."""
    draft(started, {"a": "one"}, "d", "d").upload()
    module = sys.modules[dataver.Draft.__module__]
    fast = SimpleNamespace(now=lambda zone: datetime.now(zone) + timedelta(days=1))
    with monkeypatch.context() as patched:
        patched.setattr(module, "datetime", fast)
        fork = draft(started, {"c": "c"}, "d", "d@1.0.0").upload(allow_fork=True).version
    merged = started.repo.create("d", parents=["d", fork], workspace=started.root / "work")
    merged.finalize()
    between = merged.upload().version
    last = draft(started, {"a": "last"}, "d", "d").upload().version
    assert fork.created < between.created < last.created
    started.repo.tag(last, "best")
    started.repo.tag(fork, "best", forward=True)
    assert started.repo.version("d@best") == last


def test_a_fork_with_a_label_of_its_own_is_not_the_latest_either(started):
    """Neither a number above all others nor a word takes `latest`."""
    draft(started, {"a": "one"}, "d", "d").upload()
    for label in ("9.0.0", "trial"):
        report = draft(started, {"a": label}, "d", "d@1.0.0", label=label).upload(allow_fork=True)
        assert report.version.line == label
        assert started.repo.version("d").label == "1.0.1"
        assert started.repo.datasets()[0].latest.label == "1.0.1"


def test_an_older_line_of_numbers_has_its_own_latest(started):
    """1.0.1 beside 2.0.0 needs no leave; 1.0.2 has to contain 1.0.1."""
    draft(started, {"a": "two"}, "d", "d", label="2.0.0").upload()
    one = draft(started, {"c": "fix"}, "d", "d@1.0.0", label="1.0.1")
    two = draft(started, {"e": "fix"}, "d", "d@1.0.0", label="1.0.2")
    assert one.upload().onto is None
    assert two.upload().onto == "d@1.0.1"
    assert contents(started, "d@1.0.2") == {"a": "a", "b": "b", "c": "fix", "e": "fix"}
    assert started.repo.version("d").label == "2.0.0"


def test_a_draft_from_nothing_replaces_and_says_so(started):
    """Without a parent, the draft is all of the version; the report names what it was not made from."""
    report = draft(started, {"x": "x"}, "d").upload()
    assert (report.version.label, report.replaced) == ("1.0.1", "d@1.0.0")
    assert contents(started) == {"x": "x"}


def test_a_draft_that_changes_nothing_does_not_undo_what_others_did(started):
    """An old version finalized again is a conflict, and published only as a fork."""
    same = draft(started, {}, "d", "d", allow_empty=True)
    draft(started, {"a": "one"}, "d", "d").upload()
    with pytest.raises(Conflict, match=r"changes nothing since d@1\.0\.0, and d@1\.0\.1 is the latest"):
        same.upload()
    assert same.upload(allow_fork=True).version.label == "1.0.0-fork.1"
    assert started.repo.version("d").label == "1.0.1"


def test_a_version_is_never_older_than_the_one_before(started):
    """Of labels that are no numbers the newest is latest, whatever clock a machine has."""
    late = draft(started, {"a": "late"}, "d", label="run-1")
    first = draft(started, {"a": "first"}, "d", "d", label="run-2").upload().version
    assert late.upload().version.created > first.created
    assert started.repo.version("d").label == "run-1"


def test_a_merge_of_two_versions_that_differs_from_both_can_be_finalized(started):
    """It changes nothing against its parents merged, but both of them miss something that it has."""
    draft(started, {"x": "x"}, "e").upload()
    merged = started.repo.create("m", parents=["d", "e"], workspace=started.root / "work")
    merged.finalize()
    assert merged.upload().version.label == "1.0.0"
    assert contents(started, "m") == {"a": "a", "b": "b", "x": "x"}
    again = started.repo.create("m", parents=["m", "e"], workspace=started.root / "work")
    with pytest.raises(dataver.InvalidInput, match="changes nothing"):
        again.finalize()


def test_a_mirror_is_made_again_upon_what_others_published(started):
    """Only below its dest, and nothing is read again: the folder is gone by then."""
    (started.root / "mine").mkdir()
    (started.root / "mine" / "m").write_text("mine")

    class Meanwhile:
        done = False

        def start(self, files, size, /):
            if not self.done:
                self.done = True
                draft(started, {"a": "theirs", "in/other": "x", "c": "c"}, "d", "d").upload()
                (started.root / "mine" / "m").unlink()

        def advance(self, files, size, /, new=0):
            pass

    report = started.repo.sync(
        started.root / "mine", "d", dest="./in/", workspace=started.root / "sync", sending=Meanwhile()
    )
    assert (report.version.label, report.upload.onto) == ("1.0.2", "d@1.0.1")
    assert contents(started) == {"a": "theirs", "b": "b", "c": "c", "in/m": "mine"}
    assert [each.label for each in report.version.parents] == ["1.0.1"]


def test_a_turn_of_another_process_is_waited_for_and_then_passed_over(started, monkeypatch):
    """A turn without a record stops others for a minute at most."""
    state = started.repo._core.records.names("d").state
    turn = Turn(owner={"machine": "elsewhere"}, record="1" * 32, write_id="2" * 32)
    started.inner.put(turn_key(state, 0), turn.encode())
    moments = iter(range(0, 100_000, 7))
    module = sys.modules[publish.__module__]
    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=lambda seconds: None))
    monkeypatch.setattr(module, "Stopwatch", type("", (), {"seconds": lambda self: next(moments)}))
    assert draft(started, {"a": "x"}, "d", "d").upload().version.label == "1.0.1"
    assert next(moments) > 60
    assert len(list(started.inner.list(TURNS))) == 3  # of the first version, and two for this state


def test_an_upload_that_was_cut_short_at_its_turn_goes_on_at_once(started):
    """Its own turn is known by the write id of the record."""
    made = draft(started, {"a": "x"}, "d", "d")
    turn = Turn(owner=this_process(), record=made.version()._record.write_id, write_id="2" * 32)
    started.inner.put(turn_key(started.repo._core.records.names("d").state, 0), turn.encode())
    assert made.upload().version.label == "1.0.1"


def test_gc_removes_turns_of_the_past(started):
    """A day after they were taken; until then a slow writer may still look at them."""
    assert len(list(started.inner.list(TURNS))) == 1
    started.repo.gc(grace=timedelta(0), delete_most=True)
    assert len(list(started.inner.list(TURNS))) == 1
    for key in started.inner.objects:
        started.inner._times[key] = datetime.now(UTC) - timedelta(days=2)
    started.repo.gc(grace=timedelta(0), delete_most=True)
    assert list(started.inner.list(TURNS)) == []
    assert contents(started) == {"a": "a", "b": "b"}
