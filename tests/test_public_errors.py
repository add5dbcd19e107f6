"""Wrong calls of the public functions raise errors that their docstrings list."""

import inspect
import math
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace as World
from typing import Any

import pytest
from test_python_reference import section

import dataver

NOWHERE = "nowhere"
WRONG: list[tuple[str, Callable[[World], Any]]] = [
    ("init", lambda w: dataver.init(w.repo.url)),
    ("init", lambda w: dataver.init("other", chunk_size=1000)),
    ("init", lambda w: dataver.init("s3:/bucket")),
    ("open", lambda w: dataver.open(NOWHERE)),
    ("open", lambda w: dataver.open("$HOME/repo")),
    ("fetch", lambda w: dataver.fetch(NOWHERE, repo=w.repo)),
    ("fetch", lambda w: dataver.fetch(w.version, repo=NOWHERE)),
    ("fetch", lambda w: dataver.fetch(w.version, repo=w.repo, locked=True)),
    ("fetch", lambda w: dataver.fetch(w.version, repo=w.repo, include=NOWHERE)),
    ("fetch", lambda w: dataver.fetch(w.version, repo=w.repo, shard=(5, 2))),
    ("fetch", lambda w: dataver.fetch(w.version, repo=w.repo, dest="photos/1.txt")),
    ("mirror", lambda w: dataver.mirror(NOWHERE, "copy")),
    ("run", lambda w: dataver.run(key="x")),
    ("use", lambda w: dataver.use(NOWHERE, repo=w.repo)),
    ("use", lambda w: dataver.use(w.version, include=NOWHERE)),
    ("use", lambda w: dataver.use(w.local)),
    ("Run.produced", lambda w: dataver.run("x").produced(NOWHERE, repo=w.repo)),
    ("Repository.create", lambda w: w.repo.create("a b")),
    ("Repository.create", lambda w: w.repo.create("a", parents=NOWHERE)),
    ("Repository.create", lambda w: w.repo.create("VISION/cats")),
    ("Repository.draft", lambda w: w.repo.draft(NOWHERE)),
    ("Repository.sync", lambda w: w.repo.sync(NOWHERE, "vision/cats")),
    ("Repository.sync", lambda w: w.repo.sync("photos", "vision/cats", include=["*.zip"])),
    ("Repository.sync", lambda w: w.repo.sync("photos", "vision/cats", dest="b", label="1.0.0")),
    ("Repository.plan_sync", lambda w: w.repo.plan_sync(NOWHERE, "vision/cats")),
    ("Repository.versions", lambda w: w.repo.versions(NOWHERE)),
    ("Repository.version", lambda w: w.repo.version(NOWHERE)),
    ("Repository.version", lambda w: w.repo.version("@")),
    ("Repository.files", lambda w: w.repo.files(NOWHERE)),
    ("Repository.files", lambda w: w.repo.files(w.version, run="x")),
    ("Repository.diff", lambda w: w.repo.diff(NOWHERE, w.version)),
    ("Repository.tag", lambda w: w.repo.tag(NOWHERE, "best")),
    ("Repository.tag", lambda w: w.repo.tag(w.version, "1.0.0")),
    ("Repository.untag", lambda w: w.repo.untag("vision/cats", "best")),
    ("Repository.fetch", lambda w: w.repo.fetch(NOWHERE)),
    ("Repository.fetch", lambda w: w.repo.fetch(w.version, include=NOWHERE)),
    ("Repository.fetch", lambda w: w.repo.fetch(w.version, verify="never")),
    ("Repository.fetch", lambda w: w.repo.fetch(w.version, run="x")),
    ("Repository.plan_fetch", lambda w: w.repo.plan_fetch(w.version, include=NOWHERE)),
    ("Repository.plan_fetch", lambda w: w.repo.plan_fetch(w.version, shard=(5, 2))),
    ("Repository.fetch_run", lambda w: w.repo.fetch_run(NOWHERE)),
    ("Repository.verify", lambda w: w.repo.verify(NOWHERE)),
    ("Repository.verify_folder", lambda w: w.repo.verify_folder(w.version, NOWHERE)),
    ("Repository.delete", lambda w: w.repo.delete(NOWHERE)),
    ("Repository.delete", lambda w: w.repo.delete("vision/cats", keep_last=0)),
    ("Repository.delete", lambda w: w.repo.delete("vision/cats", older_than=timedelta(-1))),
    ("Repository.sync", lambda w: w.repo.sync("photos", "vision/cats", bump="x")),
    ("Repository.gc", lambda w: w.repo.gc(grace=timedelta(-1))),
    ("Repository.repack", lambda w: w.repo.repack(dead=math.nan)),
    ("Repository.tag", lambda w: w.repo.tag(w.version, "best", force=True)),
    ("Repository.untag", lambda w: w.repo.untag("vision/cats", "best", force=True)),
    ("Repository.rename", lambda w: w.repo.rename("vision/cats", "a b")),
    ("Repository.rename", lambda w: w.repo.rename(NOWHERE, "a")),
    ("Lineage.runs", lambda w: w.repo.lineage.runs(outcome="x")),
    ("Lineage.runs", lambda w: w.repo.lineage.runs(limit=-1)),
    ("Lineage.graph", lambda w: w.repo.lineage.graph(w.version, depth=-1)),
    ("Lineage.file", lambda w: w.repo.lineage.file("1.txt", limit=-1)),
    ("Lineage.compact", lambda w: w.repo.lineage.compact(older_than=timedelta(-1))),
    ("Repository.du", lambda w: w.repo.du(NOWHERE)),
    ("Repository.push", lambda w: w.repo.push(NOWHERE)),
    ("Repository.push", lambda w: w.repo.push(w.repo)),
    ("Draft.add", lambda w: w.draft.add(NOWHERE)),
    ("Draft.add", lambda w: w.draft.add("photos", dest="../x")),
    ("Draft.add", lambda w: w.sealed.add("photos")),
    ("Draft.plan_add", lambda w: w.draft.plan_add(NOWHERE)),
    ("Draft.sync", lambda w: w.draft.sync(NOWHERE)),
    ("Draft.sync", lambda w: w.draft.sync("photos", include=["*.zip"])),
    ("Draft.sync", lambda w: w.sealed.sync("photos")),
    ("Draft.plan_sync", lambda w: w.draft.plan_sync(NOWHERE)),
    ("Draft.add_external", lambda w: w.draft.add_external(NOWHERE)),
    ("Draft.remove", lambda w: w.draft.remove(NOWHERE)),
    ("Draft.remove", lambda w: w.draft.remove()),
    ("Draft.remove", lambda w: w.sealed.remove("1.txt")),
    ("Draft.plan_remove", lambda w: w.draft.plan_remove()),
    ("Draft.move", lambda w: w.draft.move(NOWHERE, "a")),
    ("Draft.move", lambda w: w.draft.move("1.txt", "2.txt")),
    ("Draft.move", lambda w: w.sealed.move("1.txt", "3.txt")),
    ("Draft.stream", lambda w: w.sealed.stream()),
    ("Draft.stream", lambda w: w.draft.stream(1)),
    ("Draft.open", lambda w: w.draft.open(NOWHERE)),
    ("Draft.open", lambda w: w.draft.open("1.txt", "xb")),
    ("Draft.open", lambda w: w.draft.open("1.txt", "z")),
    ("Draft.open", lambda w: w.sealed.open("new.txt", "wb")),
    ("Draft.finalize", lambda w: w.draft.finalize(label="a b")),
    ("Draft.finalize", lambda w: w.draft.finalize(bump="x")),
    ("Draft.version", lambda w: w.draft.version()),
    ("Draft.upload", lambda w: w.draft.upload()),
    ("Version.entry", lambda w: w.version.entry(NOWHERE)),
    ("Version.read", lambda w: w.version.read(NOWHERE)),
    ("Version.read", lambda w: w.local.read("1.txt")),
    ("Version.open", lambda w: w.version.open(NOWHERE)),
    ("Version.open", lambda w: w.local.open("1.txt")),
    ("Version.restore", lambda w: w.local.restore()),
    ("Version.restore", lambda w: w.version.restore(label="a b")),
    ("Version.files", lambda w: w.version.files(run="x")),
    ("Version.path", lambda w: w.version.path(NOWHERE)),
    ("Version.path", lambda w: w.local.path("1.txt")),
    ("Version.tag", lambda w: w.version.tag("1.0.0")),
    ("Version.tag", lambda w: w.local.tag("best")),
    ("Files.info", lambda w: w.files.info(NOWHERE)),
    ("Files.list", lambda w: w.files.list("1.txt")),
    ("Files.walk", lambda w: w.files.walk(NOWHERE)),
    ("Files.read", lambda w: w.files.read("1.txt", -1)),
    ("Files.read_many", lambda w: w.files.read_many([(NOWHERE, 0, None)])),
    ("Files.open", lambda w: w.files.open("")),
    ("Files.size", lambda w: w.files.size(NOWHERE)),
    ("Lineage.run", lambda w: w.repo.lineage.run(NOWHERE)),
    ("Lineage.version", lambda w: w.repo.lineage.version(NOWHERE)),
    ("Lineage.graph", lambda w: w.repo.lineage.graph(NOWHERE)),
    ("Lineage.graph_of_run", lambda w: w.repo.lineage.graph_of_run(NOWHERE)),
    ("Lineage.file", lambda w: w.repo.lineage.file(NOWHERE)),
    ("Lineage.impact", lambda w: w.repo.lineage.impact(NOWHERE)),
    ("Lineage.impact", lambda w: w.repo.lineage.impact(w.version, NOWHERE)),
    ("Lineage.compare", lambda w: w.repo.lineage.compare("a", "b")),
    ("Lineage.readings", lambda w: w.repo.lineage.readings(NOWHERE)),
    ("Config.set", lambda w: dataver.Config().set(NOWHERE, "1")),
    ("Config.unset", lambda w: dataver.Config().unset(NOWHERE)),
    ("LockFile.load", lambda w: dataver.LockFile.load(Path(NOWHERE))),
    ("LockFile.find", lambda w: dataver.LockFile.find(Path("merging"))),
    ("LockFile.add", lambda w: w.lock.add(w.repo, NOWHERE)),
    ("LockFile.get", lambda w: w.lock.get(NOWHERE)),
    ("LockFile.remove", lambda w: w.lock.remove(NOWHERE)),
    ("LockFile.pinned", lambda w: w.lock.pinned(w.repo, NOWHERE)),
]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Return one object of each noun."""
    monkeypatch.chdir(tmp_path)
    for name, text in {"photos/1.txt": "1", "photos/2.txt": "2", "merging/dataver.lock": "<<<<<<<"}.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)
    repo = dataver.init("repo")
    version = repo.sync("photos", "vision/cats").version
    assert version is not None
    sealed = repo.create("vision/dogs")
    sealed.add("photos")
    return World(
        repo=repo,
        draft=repo.create("vision/cats", parents=version),
        sealed=sealed,
        local=sealed.finalize(),
        version=version,
        files=repo.files(version),
        lock=dataver.LockFile(Path("dataver.lock")),
    )


def test_errors_are_listed_by_the_docstring(world: World) -> None:
    """The docstring of the function lists the class of the error, or a base of it."""
    for name, call in WRONG:
        first, *rest = name.split(".")
        owner: Any = type(world.repo.lineage) if first == "Lineage" else getattr(dataver, first)
        listed = section(inspect.getdoc(getattr(owner, rest[0]) if rest else owner) or "", "Raises")
        with pytest.raises((dataver.DataverError, OSError)) as caught:
            call(world)
        kinds = {kind.__name__ for kind in type(caught.value).__mro__}
        assert kinds & set(listed), f"{name}: {caught.value!r}"
