"""gc frees what nobody needs, when its time has come by the store's clock, and nothing else."""

import contextlib
import itertools
import os
import time
from datetime import timedelta
from functools import partial

import pytest

import dataver
from dataver.errors import Conflict, DataverError, IntegrityError, NotFound, StoreError
from dataver.formats.block import Leaf
from dataver.repository.holds import writer_hold
from dataver.repository.layout import block_key
from dataver.repository.marking import reach
from dataver.testing.faulty import Crash, Fault, FaultyStore

from .conftest import GRACE, NOW

STORED = ("packs/", "trees/")


def test_a_deleted_version_is_freed_when_the_grace_period_is_over(world):
    """And reports the very bytes that are gone from the store."""
    first, second = world.publish(), world.publish()
    world.later(days=100)
    world.repo.delete(first.ref)
    before = world.size(*STORED)
    assert world.repo.plan_gc().count == 0
    waiting = world.repo.plan_gc()
    world.later(days=13)
    assert world.repo.gc(delete_most=True).size == 0
    world.later(days=2)
    plan = world.repo.plan_gc()
    report = world.repo.gc(delete_most=True)
    assert report.size == plan.size == waiting.waiting_size == before - world.size(*STORED) > 50_000
    assert world.all_right() == [second.ref]
    assert world.repo.plan_gc().count == 0


@pytest.mark.parametrize("deleted", [1, 12])
def test_a_plan_tells_what_the_sweep_asks_of_the_store(world, deleted):
    """Requests beyond those of looking are those of the plan, but for a few; where nothing goes, none."""
    versions = [world.publish() for _ in range(deleted + 1)]
    assert (world.repo.plan_gc(grace=NOW).requests, world.repo.plan_gc(grace=NOW).seconds) == (0, 0.0)
    for version in versions[:-1]:
        world.repo.delete(version.ref)
    planning, sweeping = FaultyStore(world.store), FaultyStore(world.store)
    plan = world.open(planning).plan_gc(grace=NOW)
    assert plan.count == 2 * deleted
    assert plan.seconds > 0
    world.open(sweeping).gc(grace=NOW, delete_most=True)
    assert abs(len(sweeping.requests) - len(planning.requests) - plan.requests) <= 3


class _Forgetful(FaultyStore):
    """A store whose listings leave out records: all of them, or all but the first time."""

    skip = 0

    def list(self, prefix="", after=None):
        listed = [*super().list(prefix, after)]
        self.skip -= prefix.startswith("datasets/")
        return iter([one for one in listed if self.skip >= 0 or not one.key.startswith("datasets/")])


@pytest.mark.parametrize("skip", [0, 1, 2, 3])
def test_listings_that_leave_out_records_delete_nothing(world, skip):
    """What the last gc saw is asked for by name; what one listing showed counts, whatever the next says."""
    kept, other = world.publish(), world.publish("other")
    world.repo.gc(grace=NOW, delete_most=True)
    store = _Forgetful(world.store)
    store.skip = skip
    with contextlib.suppress(StoreError):
        world.open(store).gc(grace=NOW, delete_most=True)
    assert world.all_right() == [kept.ref, other.ref]


class _Cached(FaultyStore):
    """A store behind a cache that took an empty answer to the usual listing of records."""

    def list(self, prefix="", after=None):
        return iter(()) if (prefix, after) == ("datasets/", None) else super().list(prefix, after)


def test_a_cached_empty_listing_deletes_nothing(world, tmp_path, monkeypatch):
    """Also on a machine where no gc ran before: records are listed by two requests that differ."""
    kept = world.publish()
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "of another machine"))
    world.open(_Cached(world.store)).gc(grace=NOW, delete_most=True)
    assert world.all_right() == [kept.ref]


class _Denying(FaultyStore):
    """A store that lists objects of one kind and says that they do not exist."""

    end = ""

    def get(self, key, start=None, length=None):
        if self.end and key.endswith(self.end):
            raise NotFound(f"{key} does not exist.")
        return super().get(key, start, length)


@pytest.mark.parametrize("end", [".json", ".tombstone"])
def test_a_listed_version_that_cannot_be_found_stops_everything(world, end, tmp_path, monkeypatch):
    """One reply does not make a record or a young tombstone absent; a deleted version has a tombstone."""
    kept, deleted = world.publish(), world.publish()
    world.repo.delete(deleted.ref)
    there = world.keys()
    store = _Denying(world.store)
    store.end = end
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "of another machine"))
    with pytest.raises(StoreError, match="cannot be found"):
        world.open(store).gc(grace=GRACE, delete_most=True)
    assert world.keys() == there
    assert world.all_right() == [kept.ref]


def test_more_than_half_is_deleted_only_when_told_so(world):
    """By bytes of packs and blocks; less than that needs no word, also in Python."""
    versions = [world.publish() for _ in range(5)]
    for version in versions[:2]:
        world.repo.delete(version.ref)
    assert world.repo.gc(grace=NOW).packs == 2
    for version in versions[2:4]:
        world.repo.delete(version.ref)
    with pytest.raises(Conflict, match="more than half"):
        world.repo.gc(grace=NOW)
    assert world.repo.gc(grace=NOW, delete_most=True).packs == 2
    assert world.all_right() == [versions[4].ref]


def test_what_an_interrupted_upload_left_is_freed_when_it_is_old(world):
    """Young objects may be those of an upload under way."""
    world.publish("kept")
    for path in world.source.iterdir():
        path.write_bytes(os.urandom(50_000))
    crashing = FaultyStore(world.store, {3: Fault.CRASH_BEFORE})
    with pytest.raises(Crash):
        world.open(crashing).sync(world.source, "d", workspace=world.root)
    left = world.size(*STORED)
    assert world.repo.gc(delete_most=True).size == 0
    world.later(days=15)
    report = world.repo.gc(delete_most=True)
    assert (report.packs, report.blocks) == (1, 1)
    assert world.size(*STORED) == left - report.size
    assert world.all_right() == ["kept@1.0.0"]


@pytest.mark.parametrize("skew", [timedelta(days=-40), timedelta(days=40)], ids=["behind", "ahead"])
def test_only_the_stores_clock_counts(world, skew):
    """A host that is forty days off frees nothing early and keeps nothing late."""
    world.store.ahead = skew
    world.publish()
    world.publish()
    world.repo.delete("d@1.0.0")
    assert world.repo.gc(delete_most=True).size == 0
    world.later(days=13)
    assert world.repo.gc(delete_most=True).size == 0
    world.later(days=2)
    assert world.repo.gc(delete_most=True).size > 0
    assert world.all_right() == ["d@1.0.1"]


def test_a_store_that_tells_no_dates_is_swept_only_with_no_grace(world):
    """Without an age nothing is old."""
    world.publish()
    world.publish()
    world.repo.delete("d@1.0.0")
    world.store.written.clear()
    world.store._dated = lambda info: info._replace(modified=None)
    assert world.repo.gc(delete_most=True).size == 0
    assert world.repo.gc(grace=NOW, delete_most=True).size > 0
    assert world.all_right() == ["d@1.0.1"]


def leaf_bases(world, version):
    """Return the leaves that leaves of a version are stored against."""
    blocks = reach(world.store, [version.tree.digest])
    return {block.base for block in blocks if isinstance(block, Leaf) and block.base is not None}


def test_the_block_that_another_is_stored_against_stays(world):
    """A child's leaf is a delta against its parent's; the parent goes, its leaf does not."""
    files = {f"{number:04}": os.urandom(40) for number in range(1500)}
    first = world.publish(files=files)
    second = world.publish(files=files | {"0007": b"changed"})
    (base,) = leaf_bases(world, second)
    world.repo.delete(first.ref)
    world.repo.gc(grace=NOW, delete_most=True)
    assert world.repo._core.blocks.exists(base)
    assert world.all_right() == [second.ref]


def test_a_block_that_outlived_its_packs_is_mended_when_it_is_published_again(world):
    """Kept only because another is stored against it, its layout leads nowhere: the upload replaces it."""
    small = {f"{number:04}": os.urandom(40) for number in range(1500)}
    large = os.urandom(50_000)
    world.publish("apart", {"large": large})
    (apart,) = world.keys("packs/")
    first = world.publish(files=small | {"0007": large})
    second = world.publish(files=small | {"0007": b"changed"})
    (base,) = leaf_bases(world, second)
    world.repo.delete("apart@1.0.0")
    world.repo.delete(first.ref)
    world.repo.gc(grace=NOW, delete_most=True)
    assert apart not in world.keys("packs/")
    assert world.repo._core.blocks.exists(base)
    draft = world.repo.create("again", workspace=world.root)
    for name, content in (small | {"0007": large, "more": os.urandom(9_000)}).items():
        (world.source / name).write_bytes(content)
    draft.add(world.source)
    draft.remove("/more")  # so that the bytes lie in another pack than before
    draft.finalize()
    assert draft.upload().version.tree.digest == first.tree.digest
    assert apart not in world.keys("packs/")
    assert world.all_right() == ["again@1.0.0", second.ref]
    assert world.open().version("again").read("0007") == large


def test_a_version_that_cannot_be_read_stops_everything(world):
    """Nobody knows what it needs."""
    first, second = world.publish(), world.publish("other")
    world.repo.delete(first.ref)
    world.store.delete(next(key for key in world.keys("trees/") if key.endswith(second.tree.digest.hex())))
    before = world.keys(*STORED)
    with pytest.raises(IntegrityError, match="missing"):
        world.repo.gc(grace=NOW, delete_most=True)
    assert world.keys(*STORED) == before


def test_unfinished_files_of_a_folder_are_swept_when_they_are_old(tmp_path):
    """They are dated by the file system, whose clock is that store's."""
    repo = dataver.init(tmp_path / "repo")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "f").write_bytes(b"x")
    repo.sync(tmp_path / "source", "d", workspace=tmp_path)
    old, young = (next((tmp_path / "repo" / "packs").iterdir()) / name for name in (".tmp-a", ".tmp-b"))
    notes = tmp_path / "repo" / "keeping" / "swept"
    notes.mkdir(exist_ok=True)
    (notes / ".tmp-c").write_bytes(b"")
    os.utime(notes / ".tmp-c", (1e9, 1e9))
    old.write_bytes(b"12345")
    young.write_bytes(b"123")
    os.utime(old, (1e9, 1e9))
    report = repo.gc(delete_most=True)
    assert (report.leftovers, report.size) == (2, 5)
    assert not old.exists()
    assert not list(notes.iterdir())
    assert young.exists()
    assert repo.gc(grace=NOW, delete_most=True).leftovers == 0  # its writer may be about to name it
    os.utime(young, (time.time() - 90,) * 2)
    assert repo.gc(grace=NOW, delete_most=True).leftovers == 1
    assert not young.exists()


def test_a_draft_of_this_folder_keeps_what_it_relies_on(world, monkeypatch):
    """Its parent may be deleted and long forgotten; here the draft is known."""
    monkeypatch.chdir(world.root)
    first = world.publish(files={"a": os.urandom(50_000), "b": b"b"})
    draft = world.repo.create("d", parents=[first.ref], workspace=world.root)
    draft.remove("/b")
    draft.finalize()
    world.repo.delete(first.ref)
    assert world.repo.gc(grace=NOW, delete_most=True).size < 10_000
    draft.upload()
    assert world.all_right() == ["d@1.0.1"]


def test_a_draft_elsewhere_whose_parent_was_freed_fails_cleanly(world):
    """It says that a pack is gone; nothing is published."""
    first = world.publish(files={"a": os.urandom(50_000), "b": b"b"})
    for change in (lambda draft: draft.remove("/b"), lambda draft: None):
        draft = world.repo.create("d", parents=[first.ref], workspace=world.root)
        change(draft)
        draft.finalize(allow_empty=True)
        if first.label in world.repo._core.records.labels("d"):
            world.repo.delete(first.ref)
        world.repo.gc(grace=NOW, delete_most=True)
        with pytest.raises(IntegrityError):
            draft.upload()
        assert world.repo._core.records.labels("d") == []
        world.all_right()
        first = world.publish(files={"a": os.urandom(50_000), "b": b"b"})


def test_a_hold_counts_whatever_the_grace_period_and_for_a_day(world):
    """Its writer may be slow; one that never comes back does not keep things for ever."""
    first = world.publish()
    with writer_hold(world.store, first.tree.digest) as hold:
        hold.establish(lambda _: set())
        world.repo.delete(first.ref)
        assert world.repo.gc(grace=NOW, delete_most=True).size == 0
        assert world.repo.plan_gc(grace=NOW).held == 1
        world.later(hours=25)
        assert world.repo.gc(grace=NOW, delete_most=True).size > 50_000
    assert world.keys("keeping/holds/") == []


def test_a_hold_that_cannot_be_read_keeps_everything(world):
    """A newer dataver may have written it."""
    first = world.publish()
    world.repo.delete(first.ref)
    world.store.put(f"keeping/holds/{'a' * 32}.json", b'{"format":2}')
    with pytest.raises(Conflict):
        world.repo.gc(grace=NOW, delete_most=True)
    assert world.size(*STORED) > 50_000


@pytest.mark.parametrize("keeper", ["hold", "draft"])
def test_a_damaged_block_that_only_a_hold_or_a_draft_keeps_stops_gc(world, monkeypatch, keeper):
    """What lies below it is unknown; a missing block is passed over, and the rest is kept."""
    first = world.publish(files={f"{number:05}": b"%d" % number for number in range(9_000)})
    monkeypatch.chdir(world.root)
    root = block_key(first.tree.digest)
    if keeper == "draft":
        world.repo.create("d", parents=[first.ref], workspace=world.root)
    with (
        writer_hold(world.store, first.tree.digest) if keeper == "hold" else contextlib.nullcontext() as hold
    ):
        if hold is not None:
            hold.establish(lambda _: set())
        world.repo.delete(first.ref)
        good, stored = world.store.get(root), world.size(*STORED)
        leaf = next(key for key in world.keys("trees/") if key != root)
        for key in (root, leaf):
            whole = world.store.get(key)
            world.store.replace(key, whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
            for free in (world.repo.plan_gc, partial(world.repo.gc, delete_most=True)):
                with pytest.raises(IntegrityError, match=f"{key[-64:]}.*nothing more was deleted"):
                    free(grace=NOW)
            assert world.size(*STORED) == stored
            world.store.replace(key, whole)
        assert world.repo.gc(grace=NOW).size == 0
        world.store.delete(leaf)
        world.repo.gc(grace=NOW, delete_most=True)
        assert world.store.get(root) == good


@pytest.mark.slow
@pytest.mark.parametrize("fault", list(Fault), ids=lambda fault: fault.name.lower())
def test_a_fault_at_any_write_harms_no_version_and_a_repeat_finishes(world, fault):
    """Invariant 4, for every write of a sweep: afterwards nothing unneeded is left."""
    for number in itertools.count(1):
        kept = world.publish("kept")
        for _ in range(2):
            world.publish()
        world.repo.delete("d", entire_dataset=True)
        store = FaultyStore(world.store, {number: fault})
        try:
            world.open(store).gc(grace=NOW, delete_most=True)
        except (DataverError, Crash):
            pass
        assert kept.ref in world.all_right()
        world.later(days=2)  # notes of this living process are thought to be those of another
        world.repo.gc(grace=NOW, delete_most=True)
        assert world.repo.du().unneeded == 0
        assert len(world.keys("keeping/")) == 1
        assert world.keys(".probe-") == []
        if len(store.writes) < number:
            assert number > 6
            return


def test_a_long_look_is_not_trusted(world, monkeypatch):
    """A sweep that was stopped for hours between looking and deleting deletes nothing then."""
    from dataver.maintenance import gc

    world.publish()
    world.repo.delete("d@1.0.0")
    monkeypatch.setattr(gc, "_LATEST", -1.0)
    report = world.repo.gc(grace=NOW, delete_most=True)
    assert report.size == 0
    assert len(report.problems) == 2


def test_grace_is_two_weeks_unless_told(world):
    """The default that users read about."""
    assert timedelta(days=14) == GRACE == world.repo.plan_gc().grace


def test_a_sweep_that_is_stopped_between_two_deletions_deletes_nothing_more(world, monkeypatch):
    """Its marker may have expired meanwhile, and a version may need the rest."""
    from dataver.maintenance import gc

    for _ in range(3):
        world.publish()
    world.repo.delete("d", entire_dataset=True)
    moments = itertools.chain([0.0, 0.0], itertools.repeat(1e6))
    monkeypatch.setattr(gc, "Stopwatch", type("", (), {"seconds": lambda self: next(moments)}))
    before = len(world.keys("packs/", "trees/"))
    report = world.repo.gc(grace=NOW, delete_most=True)
    assert len(world.keys("packs/", "trees/")) == before - 2
    assert len(report.problems) == before - 2
