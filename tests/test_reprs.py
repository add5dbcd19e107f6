"""What the public objects and errors show in a notebook and in a log."""

import inspect
import pickle
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

import dataver
from dataver import errors
from dataver.storage import ObjectChanged

FILES = 100
PUBLIC = [getattr(dataver, name) for name in dataver.__all__ if inspect.isclass(getattr(dataver, name))]
ERRORS = [*(each for each in PUBLIC if issubclass(each, errors.DataverError)), ObjectChanged]


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Use every kind of object, on versions of a hundred files; return the objects by class name."""
    monkeypatch.setenv("DATAVER_LINEAGE", "on")
    monkeypatch.chdir(tmp_path)
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(FILES):
        (photos / f"{number}.txt").write_text(str(number))
    with dataver.run("train") as run:  # without one, the test process would get a run
        repo = dataver.init(tmp_path / "repo")
        draft = repo.create("vision/cats")
        found = [run, repo, draft, draft.plan_add(photos), draft.add(photos), draft.tree, draft.plan_upload()]
        with dataver.join_draft(*draft.fork(1)) as worker:
            found += [worker, part := worker.finish(), draft.join([part])]
        version = draft.finalize("July")
        found += [version, version.upload(), *repo.datasets(), repo.tag(version, "best")]
        found += [repo.plan_fetch(version), repo.fetch(version), *repo.tag_history("vision/cats", "best")]
        found += [files := repo.files(version), files.info("1.txt"), version.open("1.txt")]
        found += [entry := version.entry("1.txt"), entry.kind]
        (photos / "new.txt").write_text("new")
        found += [repo.sync(photos, "vision/cats"), repo.diff("vision/cats@1.0.0", "vision/cats@latest")]
    lineage = repo.lineage
    found += [lineage, *lineage.runs(), answer := lineage.run(run.key), *answer.inputs, *answer.outputs]
    found += [of_version := lineage.version(version.ref), of_version.version, lineage.graph(version.ref)]
    found += [lineage.file("1.txt"), lineage.impact(version.ref), lineage.compare(run.key, run.key)]
    found += [lineage.sync(), lineage.verify(), *lineage.readings(run.key)]
    found += [repo.verify(), repo.verify(version), repo.plan_gc(), repo.gc(), repo.plan_repack(), repo.du()]
    found += [repo.plan_delete(version), repo.push(dataver.init(tmp_path / "other"))]
    found += [config := dataver.Config(), *config.settings()]
    found += [lock := dataver.LockFile.find(), lock.add(repo, "vision/cats@best"), *lock.check(repo)]
    found += [*repo.delete(version, force=True), dataver.LineageWarning("the queue is full.")]
    lineage.close()
    return {type(each).__name__: each for each in found}


def test_a_repr_is_one_short_line(shown: dict[str, Any]) -> None:
    """It begins with the class, has no address in memory, and does not list every file."""
    assert {each.__name__ for each in PUBLIC if each not in ERRORS} <= set(shown)
    for name, each in shown.items():
        text = repr(each)
        assert text.startswith((f"{name}(", f"<{name}."))
        assert "\n" not in text
        assert " object at 0x" not in text
        assert len(text) < 1500, text


def test_a_repr_names_what_identifies_the_object(shown: dict[str, Any]) -> None:
    """The nouns show their names, and a collection the number of its items."""
    entry, here = shown["Entry"], Path.cwd()
    assert repr(shown["Files"]).startswith("Files('vision/cats@1.0.0', dv1:")
    assert repr(entry) == f"Entry('1.txt', FILE, size=1, digest={entry.digest.hex()[:16]}…)"
    assert repr(shown["Diff"]) == "Diff(added=1, removed=0, modified=0, renamed=0)"
    assert repr(shown["Config"]) == f"Config({str(here)!r})"
    assert repr(shown["LockFile"]) == f"LockFile({str(here / 'dataver.lock')!r}, versions=1)"
    assert repr(shown["IndexedVersion"]) == "IndexedVersion('vision/cats@1.0.0')"
    assert f"added=<{FILES} items>" in repr(shown["AddPlan"])


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_shows_its_hint_also_after_pickling(kind: type[errors.DataverError]) -> None:
    """Errors cross process boundaries, for example from the worker of a loader."""
    error = kind("there is no 'x'.", hint="look elsewhere")
    for each in (error, pickle.loads(pickle.dumps(error))):
        assert str(each) == "there is no 'x'.\n  hint: look elsewhere"
        assert repr(each) == f"{kind.__name__}(\"there is no 'x'.\")"
        assert vars(each) == vars(error)
    assert str(kind("there is no 'x'.")) == "there is no 'x'."


def test_every_error_has_its_own_code() -> None:
    """Programs compare `code`; only subclasses that no caller distinguishes share one."""
    codes = [each.code for each in ERRORS if each is not ObjectChanged]
    assert len(codes) == len(set(codes))


def test_kinds_show_their_names() -> None:
    """An enumeration shows the member."""
    assert all(isinstance(kind, Enum) and kind.name in repr(kind) for kind in dataver.Kind)
