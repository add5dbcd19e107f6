"""One-step `sync`: cut short anywhere, the same call ends as one call would have, and sends nothing twice."""

import itertools
import random
import threading
from collections import Counter

import pytest

import dataver
from dataver.errors import Conflict, DataverError, StoreError
from dataver.repository import RepositoryCore as Core
from dataver.storage import MemoryStore
from dataver.testing.faulty import Crash, Fault, FaultyStore

from .conftest import configured

SPOOL = 16 << 20
DOWN = dict.fromkeys(range(4, 40), Fault.LOST)  # three packs are sent, then the network is gone


class Counting(MemoryStore):
    """Notes every object that is really written."""

    def __init__(self):
        super().__init__()
        self.puts = Counter()

    def put(self, key, data):
        self.puts[key] += 1
        super().put(key, data)


class World:
    """A folder, a workspace and a store; every opening is another process's."""

    def __init__(self, home, seed=1):
        home.mkdir(exist_ok=True)
        self.home, self.source, self.inner = home, home / "src", Counting()
        self.source.mkdir()
        self.noise = random.Random(seed)
        self.config = configured()
        for number in range(6):
            self.write(f"f{number}")

    def write(self, name, size=700_000):
        (self.source / name).write_bytes(self.noise.randbytes(size))

    def open(self, plan=None):
        self.store = FaultyStore(self.inner, plan)
        return dataver.Repository(Core(self.store, self.config), "memory://test")

    def sync(self, plan=None, **how):
        return self.open(plan).sync(self.source, "d", workspace=self.home, spool=SPOOL, **how)

    def packs(self):
        return {key for key in self.inner.objects if key.startswith("packs/")}

    def sent(self):
        """Return how often each pack was written, by all calls together."""
        return Counter({key: count for key, count in self.inner.puts.items() if key.startswith("packs/")})

    def drafts(self):
        return self.open().drafts(self.home)

    def all_right(self, label):
        """The latest version is the folder as it is, nothing waits, and what is there is whole."""
        repo = self.open()
        version = repo.version("d")
        assert version.label == label
        assert repo.verify("d").ok
        there = {path.name: path.read_bytes() for path in self.source.iterdir()}
        assert {entry.path: version.read(entry.path) for entry in version.entries()} == there
        assert self.drafts() == []


@pytest.mark.slow
@pytest.mark.parametrize("fault", list(Fault), ids=lambda fault: fault.name.lower())
def test_cut_short_at_any_write_and_repeated(tmp_path, fault):
    """For every N: one version, no pack that is there sent again, no draft left."""
    for number in itertools.count(1):
        world = World(tmp_path / str(number), seed=number)
        try:
            world.sync({number: fault})
            hit = len(world.store.writes) >= number
        except (DataverError, Crash):
            hit = True
        report = world.sync()
        assert report.version is None or report.version.label == "1.0.0"
        assert set(world.sent().values()) == {1}
        world.all_right("1.0.0")
        assert len(world.packs()) <= 6
        if not hit:
            assert number > 8
            return


@pytest.mark.parametrize("prefix", ["packs/", "trees/", "keeping/", "datasets/"])
def test_a_network_that_failed_leaves_a_draft_that_the_repeat_takes_up(tmp_path, prefix):
    """Sealed, its files are not read again; open or sealed, its packs are not made again."""
    probe = World(tmp_path / "probe")
    probe.sync()
    first = next(at for at, key in enumerate(probe.store.writes, 1) if key.startswith(prefix))
    world = World(tmp_path / "world")
    size = 6 * 700_000
    with pytest.raises(StoreError) as caught:
        world.sync(dict.fromkeys(range(first, 60), Fault.LOST), message="July")
    assert "repeat the same command" in caught.value.hint
    (left,) = world.drafts()
    left_sealed = left.sealed
    assert left_sealed or prefix == "packs/"
    report = world.sync(message="July")
    assert report.add.size == size
    if left_sealed:
        assert (report.add.unchanged, report.add.new_size) == (6, 0)
    else:
        assert report.add.new_size <= 2 << 20  # of the pack that was not complete
    assert set(world.sent().values()) == {1}
    assert report.version.message == "July"
    world.all_right("1.0.0")


def test_a_folder_that_changed_meanwhile_is_mirrored_as_it_is_now(tmp_path):
    """What did not change is not stored again; words given anew are the new ones."""
    world = World(tmp_path)
    with pytest.raises(StoreError):
        world.sync(DOWN, message="first")
    (world.source / "f0").unlink()
    world.write("new", 10_000)
    report = world.sync(message="second", label="2.0.0")
    assert report.add.new_size == 10_000
    assert report.version.message == "second"
    world.all_right("2.0.0")


def test_what_others_published_meanwhile_becomes_the_parent(tmp_path):
    """The draft left behind is of another parent: its packs are taken, its chunks found."""
    world = World(tmp_path)
    with pytest.raises(StoreError):
        world.sync(DOWN)
    other = tmp_path / "other"
    other.mkdir()
    (other / "x").write_bytes(b"theirs")
    world.open().sync(other, "d", workspace=other)
    report = world.sync()
    assert report.add.new_size == 0
    assert report.version.parents[0].label == "1.0.0"
    world.all_right("1.0.1")


def test_a_lost_reply_to_the_record_is_resolved_whoever_published_since(tmp_path):
    """The first call did publish: the second says which version it is, and makes no other."""
    probe = World(tmp_path / "probe")
    probe.sync()
    (last,) = [at for at, key in enumerate(probe.store.writes, 1) if key.startswith("datasets/")]
    world = World(tmp_path / "world")
    with pytest.raises(Crash):
        world.sync({last: Fault.CRASH_AFTER})
    report = world.sync()
    assert report.version.ref == "d@1.0.0"
    assert report.upload.already
    world.all_right("1.0.0")
    assert world.sync().version is None


def test_a_label_that_is_taken_leaves_nothing_but_packs_the_next_call_finds(tmp_path):
    """As nothing is published, the draft goes; with a free label, nothing is sent again."""
    world = World(tmp_path)
    world.sync(label="1.0.0")
    world.write("new")
    with pytest.raises(Conflict):
        world.sync(label="1.0.0")
    assert world.drafts() == []
    there = world.packs()
    world.sync(label="1.1.0")
    assert there <= world.packs()  # the last ones may not have been sent before
    assert world.open().du().unneeded == 0  # nothing is stored twice
    world.all_right("1.1.0")


def test_two_calls_at_once_leave_each_other_alone(tmp_path):
    """A draft that somebody is at is not taken up; the call that publishes later finds nothing changed."""
    world = World(tmp_path)
    reached, gate = threading.Event(), threading.Event()

    class Slow:
        def start(self, files, size, /):
            pass

        def advance(self, files, size, /, new=0):
            reached.set()
            gate.wait(120)

    first = []
    thread = threading.Thread(target=lambda: first.append(world.sync(progress=Slow())))
    thread.start()
    assert reached.wait(120)
    try:
        second = world.sync()
    finally:
        gate.set()
        thread.join()
    assert second.version.label == "1.0.0"
    assert first[0].version is None
    world.all_right("1.0.0")


def test_other_folders_and_places_are_other_work(tmp_path):
    """Only a call for the same folder, dataset and place takes a draft up."""
    world = World(tmp_path)
    with pytest.raises(StoreError):
        world.sync(DOWN)
    (left,) = world.drafts()
    other = tmp_path / "other"
    other.mkdir()
    (other / "x").write_bytes(b"x")
    world.open().sync(other, "d", workspace=tmp_path)
    world.open().sync(world.source, "e", workspace=tmp_path)
    world.open().sync(world.source, "d", dest="below", workspace=tmp_path)
    assert [draft.id for draft in world.drafts()] == [left.id]


def test_a_failure_that_repeating_cannot_mend_leaves_no_draft(tmp_path):
    """A folder that is none: an error, and nothing to clear away."""
    world = World(tmp_path)
    with pytest.raises(DataverError):
        world.open().sync(world.source / "f0", "d", workspace=tmp_path)
    assert world.drafts() == []


def test_packs_are_sent_while_the_folder_is_read(tmp_path):
    """The report counts them with those that upload sent, and each pack costs one put."""
    world = World(tmp_path)
    report = world.sync()
    assert report.add.sent_packs >= 1
    assert report.upload.packs == len(world.packs())
    assert set(world.sent().values()) == {1}
    world.all_right("1.0.0")
