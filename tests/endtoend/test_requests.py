"""How many requests the main job costs: counted, since each takes a store some 30 ms."""

import random
import secrets
from collections import Counter
from datetime import UTC, datetime

import pytest

import dataver
from dataver.formats.config import RepositoryConfig
from dataver.repository import RepositoryCore as Core
from dataver.storage import MemoryStore
from dataver.testing.faulty import FaultyStore

from .conftest import contents


class Counted:
    """A repository in memory, of which every opening counts its own requests."""

    def __init__(self):
        self.inner = MemoryStore()
        self.config = RepositoryConfig(
            id=secrets.token_hex(16),
            created=datetime.now(UTC),
            write_id=secrets.token_hex(16),
            create_if_absent=True,
        )

    def open(self):
        self.store = FaultyStore(self.inner)
        return dataver.Repository(Core(self.store, self.config), "memory:test")

    def asked(self, prefix=""):
        """Return how often each method was called for keys that begin so."""
        return Counter(request.method for request in self.store.requests if request.key.startswith(prefix))


@pytest.fixture
def tiny(tmp_path):
    """Two thousand files of some hundred bytes in forty folders."""
    noise = random.Random(2)
    for number in range(2000):
        path = tmp_path / "tiny" / f"{number % 40:02d}" / f"{number:04d}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise.randbytes(noise.randrange(20, 600)))
    return tmp_path / "tiny"


def test_fetching_two_thousand_tiny_files_reads_packs_not_files(tiny, machines):
    """A pack, its footer, a few blocks, a record, a listing: twelve requests at most for all files."""
    first, second = machines
    world = Counted()
    first.sit_down()
    sent = world.open().sync(tiny, "d").upload
    packs = sent.packs
    assert packs == 1
    assert world.asked("packs/")["put_file_new"] == packs
    second.sit_down()
    report = world.open().fetch("d")
    assert contents(report.path) == contents(tiny)
    assert world.asked("packs/")["get"] <= 2 * packs
    assert sum(world.asked("packs/").values()) <= 3 * packs
    assert world.asked("trees/")["get"] == sent.blocks <= 4
    assert world.store.writes == []
    assert len(world.store.requests) <= 12


def test_fetching_again_and_fetching_a_child_costs_what_is_new(tiny, machines):
    """The same version asks for names only; a child with one new file reads its blocks and one range."""
    first, second = machines
    world = Counted()
    first.sit_down()
    world.open().sync(tiny, "d")
    (tiny / "00" / "new").write_bytes(b"new")
    child = world.open().sync(tiny, "d")
    assert child.upload.packs == 1
    assert child.upload.blocks <= 3
    assert world.asked("packs/")["put_file_new"] == 1
    second.sit_down()
    world.open().fetch("d@1.0.0")
    world.open().fetch("d@1.0.0")
    assert world.asked("packs/") == world.asked("trees/") == Counter()
    report = world.open().fetch("d@1.0.1")
    assert world.asked("packs/")["get"] <= 1
    assert world.asked("trees/")["get"] <= child.upload.blocks
    assert (report.path / "00" / "new").read_bytes() == b"new"


def test_a_part_reads_its_ranges_only(tiny, machines):
    """Fifty files that lie together are one range of the pack, a single file another."""
    first, second = machines
    world = Counted()
    first.sit_down()
    world.open().sync(tiny, "d")
    stored = sum(len(data) for key, data in world.inner.objects.items() if key.startswith("packs/"))
    second.sit_down()
    report = world.open().fetch("d", include=["07"])
    assert report.files == 50
    ranges = [
        request for request in world.store.requests if request.method == "get" and request.key[:6] == "packs/"
    ]
    assert len(ranges) == 1
    assert ranges[0].length < stored / 2
    version = world.open().version("d")
    assert version.read("20/0020") == (tiny / "20" / "0020").read_bytes()
    assert world.asked("packs/")["get"] == 1


def test_adding_what_is_known_sends_nothing_but_a_record(tiny, machines):
    """A copy of the data under another name uploads no pack; a hold comes and goes, and a turn is taken."""
    machines[0].sit_down()
    world = Counted()
    world.open().sync(tiny, "d")
    report = world.open().sync(tiny, "other")
    assert report.add.new_chunks == 0
    assert report.upload.packs == 0
    assert world.asked("packs/")["put_file_new"] == 0
    assert len(world.store.writes) <= 1 + 2 + 1 + report.upload.blocks
    assert sum(world.asked("keeping/").values()) == 4


def test_names_cost_a_listing_and_a_record(tiny, machines):
    """Resolving, listing and tagging grow with the versions asked for, not with files."""
    machines[0].sit_down()
    world = Counted()
    for number in range(5):
        (tiny / "00" / "changing").write_text(str(number))
        world.open().sync(tiny, "d")
    machines[1].sit_down()
    world.open().version("d")
    assert sum(world.asked().values()) == 2
    world.open().version("d@1.0.2")
    assert sum(world.asked().values()) == 2
    assert len(world.open().versions("d")) == 5
    assert sum(world.asked().values()) <= 2 + 5
    world.open().tag("d@1.0.2", "production")
    assert sum(world.asked().values()) <= 5
