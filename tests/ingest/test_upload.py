"""Uploading: packs, then blocks, then the record; any step may be the last, and a repeat finishes."""

import itertools
import os
import subprocess
import sys

import pytest

import dataver
from dataver.errors import DataverError, IntegrityError, StoreError
from dataver.repository import RepositoryCore as Core
from dataver.storage import MemoryStore
from dataver.testing.faulty import Crash, Fault, FaultyStore

from .conftest import repository

FAULTS = [Fault.LOST, Fault.REPLY_LOST, Fault.REFUSED, Fault.CRASH_BEFORE, Fault.CRASH_AFTER]


def sealed_draft(repo, tmp_path):
    """A draft of two packs and a few blocks."""
    folder = tmp_path / "src"
    folder.mkdir(exist_ok=True)
    for number in range(3):
        (folder / f"f{number}").write_bytes(os.urandom(600_000))
    draft = repo.create("d", workspace=tmp_path)
    draft.add(folder)
    draft.finalize("x")
    return draft, {path.name: path.read_bytes() for path in folder.iterdir()}


def folder_of(home, *names):
    """A folder with a file of each name; the same names give the same content."""
    folder = home / "-".join(names)
    folder.mkdir()
    for name in names:
        (folder / name).write_text(name)
    return folder


def crash(*args):
    raise Crash("here")


def test_what_is_needed_is_written_before_what_needs_it(tmp_path):
    """Invariant 3: packs, tree blocks, record; a hold and a turn are put before the record."""
    store = FaultyStore(MemoryStore())
    draft, _ = sealed_draft(repository(store), tmp_path)
    draft.upload()
    kinds = [key.split("/")[0] for key in store.writes]
    assert [kind for kind, _ in itertools.groupby(kinds)] == [
        "packs",
        "trees",
        "keeping",
        "turns",
        "datasets",
        "keeping",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.lower())
def test_a_fault_at_any_write_leaves_all_or_nothing_and_a_repeat_finishes(tmp_path, fault):
    """Invariant 4, for every write: nothing visible or everything; then upload again."""
    for number in itertools.count(1):
        home = tmp_path / str(number)
        home.mkdir()
        inner = MemoryStore()
        store = FaultyStore(inner, {number: fault})
        repo = repository(store)
        draft, files = sealed_draft(repo, home)
        try:
            draft.upload()
        except (DataverError, Crash):
            pass
        healthy = dataver.Repository(Core(inner, repo._core.config), "memory://test")
        labels = healthy._core.records.labels("d")
        assert labels in ([], ["1.0.0"])
        if labels:
            assert healthy.verify("d").ok
        version = healthy.draft(draft.id, workspace=home).upload().version
        assert healthy._core.records.labels("d") == ["1.0.0"]
        assert version.ref == "d@1.0.0"
        assert healthy.verify("d").ok
        assert {entry.path: version.read(entry.path) for entry in version.entries()} == files
        if len(store.writes) < number:
            assert number > 4  # two packs, a block and the record were each hit
            return


def test_a_record_whose_label_others_took_meanwhile_is_recognised_after_a_lost_reply(tmp_path):
    """The reply is lost, somebody publishes the next version, the repeat still finds its own record."""
    inner = MemoryStore()
    repo = repository(inner)
    draft, _ = sealed_draft(repo, tmp_path)
    counted = FaultyStore(inner)
    home = tmp_path / "other"
    home.mkdir()
    writes = FaultyStore(MemoryStore())
    probe, _ = sealed_draft(repository(writes), home)
    probe.upload()
    last = len(writes.writes)
    lossy = FaultyStore(inner, {last: Fault.CRASH_AFTER})
    with pytest.raises(Crash):
        dataver.Repository(Core(lossy, repo._core.config), "memory://test").draft(
            draft.id, workspace=tmp_path
        ).upload()
    assert repo._core.records.labels("d") == ["1.0.0"]
    (tmp_path / "src" / "f0").write_bytes(b"other")
    assert repo.sync(tmp_path / "src", "d", workspace=home).version.ref == "d@1.0.1"
    again = dataver.Repository(Core(counted, repo._core.config), "memory://test").draft(
        draft.id, workspace=tmp_path
    )
    assert again.upload().version.ref == "d@1.0.0"
    assert repo._core.records.labels("d") == ["1.0.0", "1.0.1"]


def test_two_uploads_of_one_draft_leave_it_whole_where_each_is_interrupted(tmp_path, monkeypatch):
    """Invariant 4: an upload continues from the draft on disk, not from what its process read before."""
    store = MemoryStore()
    repo = repository(store)
    home = tmp_path / "other"
    home.mkdir()
    repo.sync(folder_of(home, "base"), "d", workspace=home)
    draft = repo.create("d", parents=["d"], workspace=tmp_path)
    draft.add(folder_of(tmp_path, "mine"))
    draft.finalize()
    first, second = (repo.draft(draft.id, workspace=tmp_path) for _ in range(2))
    repo.sync(folder_of(home, "base", "more"), "d", workspace=home)
    failing = dataver.Repository(
        Core(FaultyStore(store, {1: Fault.CRASH_BEFORE}), repo._core.config), "memory://test"
    )
    with pytest.raises(Crash):  # its changes were applied to 1.0.1 by then
        failing.draft(draft.id, workspace=tmp_path).upload()
    first_state = repo.draft(draft.id, workspace=tmp_path)._core.state.parents
    assert [each["label"] for each in first_state] == ["1.0.1"]
    repo.sync(folder_of(home, "base", "most"), "d", workspace=home)
    monkeypatch.setattr("dataver.ingest.draft_store.save_state", crash)
    with pytest.raises(Crash):  # after its blocks were written, before its state was
        first.upload()
    monkeypatch.undo()
    assert repo.draft(draft.id, workspace=tmp_path).upload().version.ref == "d@1.0.3"
    assert second.upload().version.ref == "d@1.0.3"
    assert repo.verify("d").ok


def test_a_pack_that_vanished_is_noticed_before_anything_is_published(tmp_path):
    """Invariant 5: what this upload relies on and did not send is confirmed to exist."""
    inner = MemoryStore()
    repo = repository(inner)
    draft, _ = sealed_draft(repo, tmp_path)
    draft.upload()
    second = repo.create("e", workspace=tmp_path)
    second.add(tmp_path / "src")
    second.finalize()
    for info in list(inner.list("packs/")):
        inner.delete(info.key)
    with pytest.raises(IntegrityError, match="missing from"):
        repo.draft(second.id, workspace=tmp_path).upload()
    assert repo._core.records.labels("e") == []


def test_a_permanent_refusal_is_one_sentence(tmp_path):
    """No retry loop, no partial version."""
    store = FaultyStore(MemoryStore(), {1: Fault.REFUSED})
    draft, _ = sealed_draft(repository(store), tmp_path)
    with pytest.raises(StoreError) as caught:
        draft.upload()
    assert not caught.value.transient


@pytest.mark.slow
def test_processes_that_publish_at_once_all_get_their_own_label(tmp_path):
    """Four processes, three versions each, one dataset: twelve versions, none lost, none overwritten."""
    dataver.init(tmp_path / "repo")
    script = """
import sys, os, dataver
repo = dataver.open(sys.argv[1])
for number in range(3):
    folder = os.path.join(sys.argv[2], f"src-{sys.argv[3]}-{number}")
    os.makedirs(folder)
    open(os.path.join(folder, "f"), "w").write(f"{sys.argv[3]} {number}")
    draft = repo.create("d", workspace=os.path.join(sys.argv[2], f"work-{sys.argv[3]}"))
    draft.add(folder)
    draft.finalize()
    print(draft.upload().version.label)
"""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / "repo"), str(tmp_path), str(number)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for number in range(4)
    ]
    labels = [label for process in running for label in process.communicate()[0].split()]
    assert [process.returncode for process in running] == [0] * 4
    assert len(set(labels)) == 12
    repo = dataver.open(tmp_path / "repo")
    assert sorted(repo._core.records.labels("d")) == sorted(labels)
    contents = {repo.version(f"d@{label}").read("f") for label in labels}
    assert len(contents) == 12
