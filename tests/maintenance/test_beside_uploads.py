"""A sweep beside an upload, in any order of their requests: what is published is whole, without any grace.

The uploads here are those that a sweep could harm: they find chunks again in a pack that nobody needs, or
come from a parent that was deleted, or have sent what no record needs yet.
"""

import contextlib
import itertools
import os
import threading

import pytest

from dataver.errors import Conflict, DataverError, IntegrityError
from dataver.repository import holds
from dataver.testing.faulty import FaultyStore

from .conftest import NOW


class Stepped(FaultyStore):
    """Calls `pause` once, right before its N-th request."""

    def __init__(self, inner, at, pause):
        super().__init__(inner)
        self.at, self.pause, self.count, self.lock = at, pause, 0, threading.Lock()

    def _note(self, *request):
        super()._note(*request)
        with self.lock:
            self.count += 1
            due = self.count == self.at
        if due:
            self.pause()


def reuse(world):
    """A draft whose chunks lie in the pack of a version that is deleted when it uploads."""
    first = world.publish(files=FILES)
    draft = world.repo.create("again", workspace=world.root)
    draft.add(world.source)
    draft.finalize()
    assert not list(draft._core.spool.iterdir())
    world.repo.delete(first.ref)
    return draft


def child(world):
    """A draft whose parent stays, but whose own packs are all that is new."""
    first = world.publish(files=FILES)
    draft = world.repo.create("d", parents=[first.ref], workspace=world.root)
    (world.source / "new").write_bytes(os.urandom(5_000))
    draft.add(world.source / "new")
    draft.finalize()
    return draft


def orphan(world):
    """A draft of a parent that is deleted when it uploads."""
    draft = child(world)
    world.repo.delete(draft.parents[0])
    return draft


FILES = {f"{number}": os.urandom(20_000) for number in range(4)}
CASES = [reuse, orphan, child]
READS = {"get", "get_tail", "stat", "list"}


def finish(world, draft):
    """Upload once more; what is published then is whole, and an error says what is gone."""
    with contextlib.suppress(IntegrityError):
        world.open().draft(draft.id, workspace=world.root).upload()
    world.all_right()


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_whole_sweep_before_any_request_of_an_upload(worlds, case):
    """Between confirming and publishing, too."""
    published = failed = 0
    for at in itertools.count(1):
        world = next(worlds)
        draft = case(world)
        stepped = Stepped(world.store, at, lambda world=world: world.open().gc(grace=NOW, delete_most=True))
        try:
            world.open(stepped).draft(draft.id, workspace=world.root).upload()
            published += 1
        except IntegrityError:
            failed += 1
        world.all_right()
        finish(world, draft)
        if stepped.count < at:
            break
    assert at > 8
    assert published
    assert bool(failed) == (case is not child)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_whole_upload_before_any_request_of_a_sweep(worlds, case):
    """Between looking and deleting, too: it has to wait then, and says so."""
    outcomes = set()
    for at in itertools.count(1):
        world = next(worlds)
        draft = case(world)
        outcome = []

        def upload(world=world, draft=draft, outcome=outcome):
            try:
                world.open().draft(draft.id, workspace=world.root).upload()
                outcome.append("published")
            except DataverError as error:
                outcome.append(error.code)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(holds, "PATIENCE", 0.0)
            stepped = Stepped(world.store, at, upload)
            world.open(stepped).gc(grace=NOW, delete_most=True)
        outcomes.update(outcome)
        world.all_right()
        finish(world, draft)
        if stepped.count < at:
            break
    assert at > 15
    assert outcomes <= {"published", "integrity", "conflict"}
    assert "published" in outcomes
    if case is not child:
        assert outcomes == {"published", "integrity", "conflict"}


def both(world, draft, first, second):
    """Let an upload do `first` requests, then a sweep `second`, then the upload the rest, then the sweep."""
    stopped, go_on = threading.Event(), threading.Event()
    errors = []

    def pause():
        stopped.set()
        go_on.wait(120)

    sweeping = Stepped(world.store, second, pause)

    def sweep():
        try:
            world.open(sweeping).gc(grace=NOW, delete_most=True)
        except DataverError as error:
            errors.append(error)
        finally:
            stopped.set()

    thread = threading.Thread(target=sweep)

    def begin_sweep():
        thread.start()
        stopped.wait(120)

    uploading = Stepped(world.store, first, begin_sweep)
    try:
        world.open(uploading).draft(draft.id, workspace=world.root).upload()
        outcome = "published"
    except DataverError as error:
        outcome = error.code
    go_on.set()
    if thread.ident is not None:
        thread.join()
    assert not errors, errors
    return outcome, uploading.requests, sweeping.requests


def commute(one, other):
    """Return whether two requests do the same in either order; writes do not, since objects have times."""
    written = [each.key for each in (one, other) if each.method not in READS]
    read = [each.key for each in (one, other) if each.method in READS]
    return not written or (len(written) == 1 and not written[0].startswith(read[0]))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_every_order_of_an_upload_and_a_sweep(worlds, monkeypatch, case):
    """Both stop once, at any of their requests, while the other goes on: who looks second sees the other.

    Of orders that differ in requests that commute, one is tried.
    """
    monkeypatch.setattr(holds, "PATIENCE", 0.0)
    outcomes = set()
    known = {}  # orders that do as one that was tried, and its requests
    for first in itertools.count(1):
        for second in itertools.count(1):
            sent = known.pop((first, second), None)
            if sent is None:
                world = next(worlds)
                draft = case(world)
                outcome, *sent = both(world, draft, first, second)
                outcomes.add(outcome)
                world.all_right()
                finish(world, draft)
            upload, sweep = sent
            if first > len(upload) or second > len(sweep):
                break
            if first < len(upload) and all(commute(upload[first - 1], each) for each in sweep[: second - 1]):
                known[first + 1, second] = sent
            if second < len(sweep) and all(commute(sweep[second - 1], each) for each in upload[first - 1 :]):
                known[first, second + 1] = sent
        if first > len(upload):
            break
    assert first > 8
    assert outcomes <= {"published", "integrity", "conflict"}
    assert "published" in outcomes


def test_a_writer_that_is_away_for_hours_confirms_again(world, monkeypatch):
    """Stopped between its hold and the record, until holds count no more: what was swept is sent again."""
    from dataver.repository.holds import WriterHold

    draft = child(world)

    def away():
        world.later(days=2)
        world.open().gc(grace=NOW, delete_most=True)
        monkeypatch.setattr(WriterHold, "trusted", property(lambda hold: False))

    before = world.store.create

    def create(key, data):
        if key.startswith("datasets/"):
            away()
        before(key, data)

    monkeypatch.setattr(world.store, "create", create)
    version = draft.upload().version
    assert version.ref in world.all_right()


def test_a_writer_that_is_away_for_hours_and_cannot_mend_withdraws(world, monkeypatch):
    """What it relied on is gone for good: the record does not stay."""
    from dataver.repository.holds import WriterHold

    draft = reuse(world)
    before = world.store.create

    def create(key, data):
        if key.startswith("datasets/again/versions/1.0.0.json"):
            world.later(days=2)
            world.open().gc(grace=NOW, delete_most=True)
            monkeypatch.setattr(WriterHold, "trusted", property(lambda hold: False))
        before(key, data)

    monkeypatch.setattr(world.store, "create", create)
    with pytest.raises((IntegrityError, Conflict)):
        draft.upload()
    assert world.repo._core.records.labels("again") == []
    world.all_right()
