"""gc while a draft is forked: packs that workers may rely on stay."""

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import dataver
from dataver.errors import Conflict
from dataver.formats.keeping import Sweep
from dataver.machine.process_identity import this_process
from dataver.maintenance.gc import _Collection
from dataver.repository import holds
from dataver.repository.layout import sweep_key

from .test_fork import added, fill, packs


@pytest.fixture
def repo(tmp_path):
    return dataver.init(tmp_path / "repo")


@pytest.fixture
def draft(repo, tmp_path):
    return repo.create("d", workspace=tmp_path / "driver")


@pytest.mark.parametrize("machine", ["same", "another"])
def test_gc_spares_what_a_forked_draft_needs(repo, draft, tmp_path, monkeypatch, machine):
    """Old packs, too, in which workers find the chunks of a job that failed; with the draft they may go."""
    source = fill(tmp_path / "src", map(str, range(300)), 100)
    failed = repo.create("failed", workspace=tmp_path / "w", stream=True)
    failed.add(source)
    failed.discard()
    (old,) = (Path(repo.url) / "packs").rglob("*/*")
    os.utime(old, (time.time() - 20 * 86400,) * 2)
    assert len(repo.plan_gc().packs) == 1
    if machine == "another":
        monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "another"))
    (token,) = draft.fork(1)
    part = added(token, source)
    assert packs(repo) == {old.name}
    plan = repo.plan_gc()
    left = plan.forked_until - datetime.now(UTC)  # a worker that begins after 24 hours has a day
    assert timedelta(hours=47) < left <= timedelta(hours=48, seconds=5)
    assert (plan.packs, plan.waiting) == ([], 1)
    command = [sys.executable, "-m", "dataver_cli", "--repo", repo.url, "gc", "--plan"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert f"a draft is forked: packs are kept until {plan.forked_until:%Y-%m-%d %H:%M} UTC" in done.stdout
    for grace in (plan.grace, timedelta(0)):
        repo.gc(grace=grace, delete_most=True)
    draft.join([part])
    draft.finalize("x")
    assert draft.upload().version.file_count == 300
    assert repo.verify().ok
    assert not list((Path(repo.url) / "keeping" / "parts").rglob("fork-*"))
    assert repo.plan_gc().forked_until is None


def test_a_draft_that_is_forked_during_gc(repo, draft, tmp_path, monkeypatch):
    """The sweep spares the packs of its plan: workers may use them from now on."""
    failed = repo.create("failed", workspace=tmp_path / "w", stream=True)
    failed.add(fill(tmp_path / "src", "abc"))
    failed.discard()
    sweep = _Collection._sweep

    def forked_before(self, *arguments):
        draft.fork(1)
        sweep(self, *arguments)

    monkeypatch.setattr(_Collection, "_sweep", forked_before)
    report = repo.gc(grace=timedelta(0), delete_most=True)
    assert (report.packs, report.spared) == (0, 1)
    assert len(packs(repo)) == 1


def test_a_fork_waits_for_the_end_of_a_running_sweep(repo, draft, monkeypatch):
    """The sweep may have looked for marks before; one that does not end is an error."""
    key, store = sweep_key("0" * 32), repo._core.store
    store.put(key, Sweep(keys=("packs/x",), owner=this_process()).encode())
    monkeypatch.setattr(holds, "PATIENCE", 0.0)
    with pytest.raises(Conflict, match="gc is about to delete objects") as caught:
        draft.fork(1)
    assert "if gc was interrupted, run it again first" in caught.value.hint
    monkeypatch.undo()
    monkeypatch.setattr(holds.time, "sleep", lambda _: store.delete(key))
    assert len(draft.fork(1)) == 1


def test_gc_spares_what_workers_of_an_earlier_fork_sent(repo, draft, tmp_path):
    """A second fork of a draft does not end the protection that the first one began."""
    (token,) = draft.fork(1)
    part = added(token, fill(tmp_path / "src", "abc"))
    root, hours = Path(repo.url), time.time() - 3 * 3600
    for path in root.rglob("*"):
        if path.is_file():
            os.utime(path, (hours, hours))
    os.utime(next((root / "packs").rglob("*/*")), (hours + 60, hours + 60))
    draft.fork(1)
    for _ in range(2):
        repo.gc(grace=timedelta(hours=1), delete_most=True)
    draft.join([part])
    draft.finalize("x")
    assert draft.upload().version.file_count == 3
    assert repo.verify().ok


def test_a_fork_that_was_abandoned_holds_gc_for_two_days(repo, draft, tmp_path):
    """Then its packs and parts go, too."""
    (token,) = draft.fork(1)
    part = added(token, fill(tmp_path / "src", map(str, range(300)), 100))
    root = Path(repo.url)
    old = time.time() - 3 * 86400
    for path in root.rglob("*"):
        if path.is_file():
            os.utime(path, (old, old))
    repo.gc(grace=timedelta(hours=1), delete_most=True)
    assert not packs(repo)
    assert not (root / part.key).exists()
