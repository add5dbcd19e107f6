"""Creating one object exclusively when any reply may be lost; and the labels of versions."""

import itertools
import secrets
import sys
from types import SimpleNamespace

import pytest

from dataver.errors import AlreadyExists, Conflict, InvalidInput, NotFound, StoreError
from dataver.repository.create_once import Outcome, create_once
from dataver.repository.layout import record_key
from dataver.storage import MemoryStore
from dataver.testing.faulty import Fault, FaultyStore


@pytest.fixture
def inner():
    return MemoryStore()


@pytest.fixture
def no_pauses(monkeypatch):
    """Let the pauses between tries take no time."""
    monkeypatch.setattr(
        sys.modules[create_once.__module__], "time", SimpleNamespace(sleep=lambda seconds: None)
    )


def test_who_comes_first_wins_and_is_told_so_again(inner):
    """Our own object is known by its bytes, also in a later call; another's is never replaced."""
    assert create_once(inner, "key", b"ours") is Outcome.WON
    assert create_once(inner, "key", b"ours") is Outcome.WON
    assert create_once(inner, "key", b"theirs") is Outcome.LOST
    assert inner.objects == {"key": b"ours"}


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.REPLY_LOST])
def test_one_lost_request_or_reply_is_not_noticed(inner, fault):
    """Read back, the key says whether it was written; if not, it is written now."""
    store = FaultyStore(inner, {1: fault})
    assert create_once(store, "key", b"ours") is Outcome.WON
    assert inner.objects == {"key": b"ours"}
    assert len(store.writes) == (2 if fault is Fault.LOST else 1)


def test_after_a_lost_request_somebody_else_may_have_won(inner):
    """The key is there, but the bytes are another's: lost, not unknown."""

    class Taken(FaultyStore):
        def create(self, key, data):
            inner.create(key, b"theirs")
            raise StoreError("no answer.", transient=True)

    assert create_once(Taken(inner), "key", b"ours") is Outcome.LOST


def test_a_client_that_sent_twice_below_us_still_won(inner):
    """`AlreadyExists` for an object with our bytes is our own first request."""

    class Twice(FaultyStore):
        def create(self, key, data):
            inner.create(key, data)
            raise AlreadyExists(f"{key} exists.")

    assert create_once(Twice(inner), "key", b"ours") is Outcome.WON


def test_what_cannot_be_found_out_is_unknown_and_a_repeat_settles_it(inner, no_pauses):
    """Every request is lost: a temporary error that says so, after a few tries, and nothing is deleted."""
    store = FaultyStore(inner, dict.fromkeys(range(1, 100), Fault.LOST))
    with pytest.raises(StoreError, match="unknown whether key was written") as caught:
        create_once(store, "key", b"ours")
    assert caught.value.transient
    assert "repeat" in caught.value.hint
    assert len(store.writes) < 10
    assert not [request for request in store.requests if request.method == "delete"]
    assert create_once(inner, "key", b"ours") is Outcome.WON


def test_a_key_that_cannot_be_read_back_is_unknown(inner, no_pauses):
    """Written, no reply, and no reading: neither won nor lost is claimed; the repeat finds its own object."""

    class Mute(FaultyStore):
        def get(self, key, start=None, length=None):
            raise StoreError("no answer.", transient=True)

    store = Mute(inner, {1: Fault.REPLY_LOST, 2: Fault.LOST, 3: Fault.LOST, 4: Fault.LOST})
    with pytest.raises(StoreError, match="unknown whether"):
        create_once(store, "key", b"ours")
    assert create_once(inner, "key", b"ours") is Outcome.WON


def test_a_permanent_refusal_is_told_at_once(inner):
    """No permission is not asked for again."""
    store = FaultyStore(inner, {1: Fault.REFUSED})
    with pytest.raises(StoreError, match="injected fault"):
        create_once(store, "key", b"ours")
    assert len(store.requests) == 1


def test_an_automatic_label_steps_over_one_that_others_took(world):
    """Between reading the labels and writing ours somebody publishes: the next number is ours."""

    class Late(FaultyStore):
        times = 2

        def create(self, key, data):
            if self.times:
                self.times -= 1
                world.publish("d")
            super().create(key, data)

    (world.root / "mine").mkdir()
    (world.root / "mine" / "file").write_text("mine")
    late = world.open(Late(world.inner))
    draft = late.create("d", workspace=world.root / "work")
    draft.add(world.root / "mine")
    draft.finalize()
    assert draft.upload().version.label == "1.0.2"
    assert world.repo._core.records.labels("d") == ["1.0.0", "1.0.1", "1.0.2"]
    assert world.repo.version("d@1.0.2").read("file") == b"mine"


def test_the_part_that_grows_is_chosen(world):
    """Major, minor and patch, from the highest number."""
    labels = [world.publish("d", bump=bump).label for bump in ("patch", "minor", "patch", "major", "patch")]
    assert labels == ["1.0.0", "1.1.0", "1.1.1", "2.0.0", "2.0.1"]
    with pytest.raises(InvalidInput, match="'huge'"):
        world.publish("d", bump="huge")


def test_a_chosen_label_that_is_taken_can_be_changed_without_losing_the_draft(world):
    """The conflict leaves the sealed draft; finalized under another label it is uploaded."""
    world.publish("d", "july")
    before = dict(world.inner.objects)
    draft = world.repo.create("d", workspace=world.root / "work")
    draft.add(world.source)
    sealed = draft.finalize("summer", label="july")
    with pytest.raises(Conflict, match="d@july is already published") as caught:
        draft.upload()
    assert "another label" in caught.value.hint
    assert world.inner.objects[record_key("d", "july")] == before[record_key("d", "july")]
    again = draft.finalize("another message", label="august")
    assert (again.digest, again.message) == (sealed.digest, "summer")
    assert draft.upload().version.ref == "d@august"
    assert draft.finalize(label="september").label == "august"


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.REPLY_LOST])
def test_a_record_is_published_once_whatever_reply_is_lost(world, fault):
    """One version, under one label, with one id, for a fault at every write of the upload."""
    for number in itertools.count(1):
        name = f"d{number}"
        store = FaultyStore(world.inner, {number: fault})
        repo = world.open(store)
        (world.source / "file").write_bytes(secrets.token_bytes(100))
        draft = repo.create(name, workspace=world.root / "work")
        draft.add(world.source)
        draft.finalize()
        store.writes.clear()
        try:
            version = draft.upload().version
        except StoreError:
            version = draft.upload().version
        assert version.ref == f"{name}@1.0.0"
        assert world.repo._core.records.labels(name) == ["1.0.0"]
        assert world.repo.version(name).record_id == version.record_id
        if len(store.writes) < number:
            assert number > 3  # the pack, the block and the record were each hit
            return


def test_a_record_in_the_cache_does_not_stand_in_for_one_in_the_store(world):
    """A version that was deleted in the store is gone, although this machine has a copy of its record."""
    world.publish("d", "1.0.0")
    assert world.repo.version("d").label == "1.0.0"
    del world.inner.objects[record_key("d", "1.0.0")]
    with pytest.raises(NotFound):
        world.repo.version("d")
    assert world.repo._core.records.read_back("d", "1.0.0") is None
