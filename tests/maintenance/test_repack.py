"""Repacking moves what is left of packs: digests stay, readers go on, and gc frees the rest."""

import itertools
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

import dataver
from dataver.errors import Conflict, DataverError, IntegrityError
from dataver.formats.keeping import Hold
from dataver.machine.process_identity import this_process
from dataver.repository.holds import writer_hold
from dataver.repository.layout import hold_key, pack_key
from dataver.storage.base import ObjectInfo
from dataver.testing.faulty import Crash, Fault, FaultyStore
from dataver.testing.lying import Answer, LyingStore

from .conftest import NOW

STORED = ("packs/", "trees/")


def mostly_dead(world, seed=0):
    """Publish files of which one in ten is left, and delete the version that had them all."""
    files = {f"{number:02}": bytes([seed]) + os.urandom(60_000) for number in range(20)}
    world.publish(files=files)
    kept = {name: files[name] for name in list(files)[seed % 7 :: 10]}
    version = world.publish(files=kept)
    world.repo.delete(world.repo.versions("d")[0].ref)
    return version, kept


def test_bytes_move_and_nothing_else_changes(world):
    """Invariant 2's one exception: the same digests, the same content, fewer bytes."""
    version, kept = mostly_dead(world)
    before = world.size(*STORED)
    blocks = world.keys("trees/")
    plan = world.repo.plan_repack()
    report = world.repo.repack()
    assert report.packs == len(plan.packs) >= 1
    assert report.blocks == plan.blocks == 1
    assert world.keys("trees/") == blocks
    again = world.open()
    assert world.all_right() == [version.ref]
    assert again.version(version.ref).digest == version.digest
    assert {name: again.version(version.ref).read(name) for name in kept} == kept
    world.repo.gc(grace=NOW, delete_most=True)
    assert world.all_right() == [version.ref]
    assert world.size(*STORED) < before / 2
    assert not world.repo.plan_repack().packs


@pytest.mark.parametrize("dead", [0.1, 0.5])
def test_a_small_pack_that_is_needed_whole_stays(world, dead):
    """Its footer is larger than its frames, and none of it is dead."""
    version = world.publish(files={"file": b"\0"})
    (pack,) = world.keys("packs/")
    assert not world.repo.plan_repack(dead=dead).packs
    assert world.repo.repack(dead=dead).packs == 0
    assert world.keys("packs/") == [pack]
    assert world.open().version(version.ref).read("file") == b"\0"


def test_readers_of_the_old_layout_go_on_within_the_grace_period_and_after_it(world):
    """Within it the old pack is there; after it the block is read anew, and not from a cache."""
    version, kept = mostly_dead(world)
    reader = world.open().version(version.ref)
    name = next(iter(kept))
    assert reader.read(name) == kept[name]
    world.later(days=30)
    world.repo.gc(delete_most=True)
    world.repo.repack()
    assert world.repo.gc(delete_most=True).packs == 0
    assert reader.read(name) == kept[name]
    world.later(days=15)
    assert world.repo.gc(delete_most=True).packs >= 1
    assert {each: reader.read(each) for each in kept} == kept
    assert world.open().version(version.ref).read(name) == kept[name]


def test_a_fetch_with_the_old_layout_at_hand_goes_on(world, tmp_path):
    """The pack is gone; the version comes all the same."""
    version, kept = mostly_dead(world)
    reader = world.open()
    for _ in reader.version(version.ref).entries():
        pass
    world.repo.repack()
    world.repo.gc(grace=NOW, delete_most=True)
    report = reader.fetch(version.ref, dest=tmp_path / "out")
    assert report.files == len(kept)
    assert {name: (tmp_path / "out" / name).read_bytes() for name in kept} == kept
    assert reader.fetch(version.ref).files == len(kept)


def test_a_machine_that_keeps_old_layouts_can_publish_again(world, tmp_path):
    """A draft made of them is refused, and the next one is made of those that the store has now."""
    version, kept = mostly_dead(world)
    for _ in world.open().version(version.ref).entries():
        pass
    world.repo.repack()
    world.repo.gc(grace=NOW, delete_most=True)
    (tmp_path / "new").write_text("new")

    def publish():
        draft = world.open().create("d", parents=version.ref)
        draft.add(tmp_path / "new")
        draft.finalize()
        return draft.upload().version

    with pytest.raises(IntegrityError, match="nothing was published"):
        publish()
    again = publish()
    assert {name: again.read(name) for name in kept} == kept


def test_a_pack_that_is_really_gone_is_still_an_error(world, tmp_path):
    """Reading anew finds the same layout."""
    version, kept = mostly_dead(world)
    for key in world.keys("packs/"):
        world.store.delete(key)
    with pytest.raises(IntegrityError, match="missing"):
        world.open().fetch(version.ref, dest=tmp_path / "out")
    with pytest.raises(IntegrityError, match="missing"):
        world.open().version(version.ref).read(next(iter(kept)))


@pytest.mark.slow
@pytest.mark.parametrize("fault", list(Fault), ids=lambda fault: fault.name.lower())
def test_a_fault_at_any_write_harms_no_version_and_a_repeat_finishes(world, fault):
    """Invariant 4, for every write of a repack."""
    for number in itertools.count(1):
        version, _ = mostly_dead(world, number)
        store = FaultyStore(world.store, {number: fault})
        try:
            world.open(store).repack()
        except (DataverError, Crash):
            pass
        assert version.ref in world.all_right()
        world.later(days=2)  # holds of this living process are thought to be those of another
        world.repo.repack()
        assert not world.repo.plan_repack().packs
        world.repo.gc(grace=NOW, delete_most=True)
        assert version.ref in world.all_right()
        assert world.repo.du().unneeded == 0
        if len(store.writes) < number:
            assert number > 4
            return


def test_a_damaged_pack_is_not_copied(world):
    """Invariant 1: nothing goes into a new pack that was not checked against the old one's footer."""
    mostly_dead(world)
    pack = next(iter(world.repo.plan_repack().packs))
    data = bytearray(world.store.objects[pack_key(pack)])
    data[100:200] = bytes(100)
    world.store.objects[pack_key(pack)] = bytes(data)
    before = world.keys(*STORED)
    with pytest.raises(IntegrityError):
        world.repo.repack()
    assert world.keys(*STORED) == before


def test_repack_and_gc_keep_out_of_each_others_way(world):
    """A gc that sees a repack deletes nothing; a repack that sees another one does nothing."""
    mostly_dead(world)
    with writer_hold(world.store, None) as hold:
        hold.establish(lambda _: None)
        with pytest.raises(Conflict):
            world.repo.gc(grace=NOW, delete_most=True)
        with pytest.raises(Conflict):
            world.repo.repack()
    assert world.repo.repack().packs >= 1


def test_a_gc_that_looked_before_a_repack_deletes_nothing_of_it(world):
    """Layouts changed under its hands: what it marked is worth nothing."""
    from dataver.maintenance.gc import _Collection

    version, _ = mostly_dead(world)
    collection = _Collection(world.repo._core, NOW, (), ())
    world.open().repack()
    with pytest.raises(Conflict):
        collection.execute(dataver.progress.SILENT)
    assert world.all_right() == [version.ref]


def test_a_gc_that_looked_before_a_hold_on_everything_was_put_deletes_nothing(world):
    """It looks again before each batch."""
    from dataver.maintenance.gc import _Collection

    mostly_dead(world)
    collection = _Collection(world.repo._core, NOW, (), ())
    before = world.keys(*STORED)
    with writer_hold(world.store, None) as hold:
        hold.establish(lambda _: None)
        with pytest.raises(Conflict):
            collection.execute(dataver.progress.SILENT)
    assert world.keys(*STORED) == before


def test_a_repack_that_was_killed_is_told_from_one_under_way(world):
    """What a dead process sent to a server may still arrive for two minutes; then nothing is in the way."""
    mostly_dead(world)
    say = (
        "import json; from dataver.machine.process_identity import this_process as i; print(json.dumps(i()))"
    )
    told = subprocess.run([sys.executable, "-c", say], capture_output=True, text=True, check=True).stdout
    key = hold_key("ab" * 16)
    for owner, sentence in ((this_process(), "another repack"), (json.loads(told), "was killed")):
        world.store.put(key, Hold(tree=None, owner=owner).encode())
        with pytest.raises(Conflict, match=sentence):
            world.repo.repack()
    world.store.written[key] -= timedelta(minutes=3)
    assert world.repo.repack().packs


def test_what_an_upload_found_in_an_old_pack_stays(world):
    """It deduplicates against a pack that is being retired, and publishes afterwards."""
    version, kept = mostly_dead(world)
    draft = world.repo.create("other", workspace=world.root)
    draft.add(world.source)
    draft.finalize()
    world.open().repack()
    draft.upload()
    world.repo.gc(grace=NOW, delete_most=True)
    assert world.all_right() == [version.ref, "other@1.0.0"]
    assert world.open().version("other").read("00") == kept["00"]


def test_moved_bytes_keep_their_place_in_files_of_many_frames(world):
    """Large files have extents over many frames, edited ones many extents."""
    large = os.urandom(900_000)
    files = {"large": large, **{f"{number}": os.urandom(250_000) for number in range(12)}}
    world.publish(files=files)
    edited = {"large": large[:300_000] + b"edit" + large[300_000:], "empty": b""}
    version = world.publish(files=edited)
    world.repo.delete("d@1.0.0")
    assert world.repo.repack(dead=0.3).packs >= 1
    world.repo.gc(grace=NOW, delete_most=True)
    assert world.all_right() == [version.ref]
    assert world.open().version(version.ref).read("large") == edited["large"]


def test_dates_come_from_the_listing(world):
    """The store of these tests dates its objects by its own clock."""
    world.publish()
    (info,) = world.store.list("packs/")
    assert isinstance(info, ObjectInfo)
    assert abs((info.modified - datetime.now(UTC)).total_seconds()) < 60


def test_a_pack_that_is_said_to_exist_is_looked_at(worlds):
    """A store that refuses to write the new pack, as if it were there, is not believed."""
    world, other = next(worlds), next(worlds)
    mostly_dead(other)
    probe = FaultyStore(other.store)
    other.open(probe).repack()
    version, _ = mostly_dead(world)
    (number,) = [at for at, request in enumerate(probe.requests, 1) if request.method == "put_new"]
    store = LyingStore(world.store, number, Answer.EXISTS)
    world.open(store).repack()
    assert store.met
    world.later(days=2)
    world.repo.gc(grace=NOW, delete_most=True)
    assert world.all_right() == [version.ref]
