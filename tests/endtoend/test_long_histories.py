"""Requests of commands in a history of 30 versions and in one of 300: they do not grow with the history."""

import os
import secrets
from collections import Counter
from datetime import UTC, datetime

import pytest

import dataver
from benchmarks.histories import NAME, CountingStore, Maker
from dataver.formats.config import RepositoryConfig
from dataver.formats.frame import HEADER_SIZE, parse_header
from dataver.formats.pack import MAGIC
from dataver.hashing.digest import checksum
from dataver.repository import RepositoryCore
from dataver.repository.layout import CONFIG
from dataver.storage import MemoryStore
from dataver_cli.commands.log import _history

SIZES = (30, 300)


@pytest.fixture(scope="module")
def made():
    """The objects of histories of both sizes, and their configurations."""
    found = {}
    for size in SIZES:
        maker = Maker()
        found[size] = maker.make(size), maker.config
    return found


class History:
    """A repository in memory with a history; each opening counts its requests."""

    def __init__(self, objects=(), config=None, size=0):
        self.inner = MemoryStore()
        for key, data in dict(objects).items():
            self.inner.put(key, data)
        self.config = config or RepositoryConfig(
            id=secrets.token_hex(16),
            created=datetime.now(UTC),
            write_id=secrets.token_hex(16),
            create_if_absent=True,
        )
        self.inner.put(CONFIG, self.config.encode())
        self.last = size - 1

    def open(self):
        self.store = CountingStore(self.inner)
        return dataver.Repository(RepositoryCore(self.store, self.config), "memory:test")

    def asked(self):
        """Return the requests since the last opening, by method and first part of the key."""
        return Counter((each.method, each.key.partition("/")[0]) for each in self.store.requests)

    def ref(self, number):
        return f"{NAME}@1.0.{number}"


@pytest.fixture
def histories(made, machines):
    """A short and a long history, and a machine with an empty cache."""
    machines[0].sit_down()
    return [History(*made[size], size) for size in SIZES]


def test_an_exact_name_reads_no_other_names(histories):
    """A label costs a short listing and its record, a tag one more of each."""
    for history in histories:
        for ref, most in (
            (history.ref(history.last // 2), 2),
            (f"{NAME}@nightly", 5),
        ):
            repo = history.open()
            assert repo.version(ref).dataset == NAME
            assert sum(history.asked().values()) <= most
            assert not [each for each in history.store.requests if each.key.endswith("/versions/")]


def test_a_label_is_no_prefix_of_another(histories):
    """1.0.2 is listed with the beginning of 1.0.20, and is not it."""
    history = histories[0]
    assert history.open().version(history.ref(2)).label == "1.0.2"
    history.inner.delete(f"datasets/{NAME}/versions/1.0.2.json")
    with pytest.raises(dataver.NotFound, match=r"1\.0\.2'"):
        history.open().version(history.ref(2))


def test_log_lists_a_dataset_once_and_reads_each_record_once(histories):
    """For a name, one listing; for a label, the records come in few rounds."""
    for history in histories:
        count = history.last + 1
        repo = history.open()
        assert len(_history(repo, NAME)) == count
        assert history.asked() == {("list", "datasets"): 1, ("get", "datasets"): count}
        repo = history.open()
        assert len(_history(repo, history.ref(history.last))) == count
        assert sum(history.asked().values()) <= 2 * count
        repo = history.open()
        assert [each.label for each in _history(repo, NAME, 3).values()] == [
            f"1.0.{history.last - number}" for number in range(3)
        ]


def test_log_of_a_label_with_a_limit_reads_near_ancestors_only(histories, machines):
    """Records further back than a few times the limit are not read."""
    counts = []
    for history in histories:
        machines[1].sit_down()
        _history(history.open(), history.ref(history.last), 5)
        counts.append(history.asked())
    assert counts[0] == counts[1]


def test_fifty_parents_read_each_record_once(histories, machines, tmp_path):
    """The common ancestors of parents all over the history."""
    history = histories[1]
    parents = [history.ref(number) for number in range(0, 300, 6)]
    machines[1].sit_down()
    draft = history.open().create("data/merged", parents=parents, workspace=tmp_path)
    assert len(draft.parents) == 50
    assert history.asked()["get", "datasets"] <= 300 + 50
    assert history.asked()["list", "datasets"] <= 50 + 6


def test_the_parents_of_a_few_versions_ago_read_a_few_records(histories, machines, tmp_path):
    """A draft of two near versions does not read the rest of the history."""
    for history in histories:
        machines[1].sit_down()
        parents = [history.ref(history.last - 3), history.ref(history.last)]
        history.open().create(NAME, parents=parents, workspace=tmp_path / str(history.last)).discard()
        assert history.asked()["get", "datasets"] <= 10


def test_moving_a_tag_lists_its_moves_only(histories):
    """The name of an existing tag is not compared with all other names."""
    for history in histories:
        repo = history.open()
        repo.tag(history.ref(0), "nightly")
        assert sum(history.asked().values()) <= 6
        assert repo._core.tags.target(NAME, "nightly") == "1.0.0"
        assert not [each for each in history.store.requests if each.key.endswith(("/versions/", "/tags/"))]


def test_deleting_a_version_reads_its_record_only(histories):
    """Not those of its children, nor those of other datasets."""
    for history in histories:
        repo = history.open()
        repo.delete(history.ref(history.last // 2))
        assert history.asked()["get", "datasets"] <= 4
        assert sum(history.asked().values()) <= 10


def test_the_plan_of_a_deletion_has_the_children(histories):
    """Which are kept."""
    history = histories[0]
    (found,) = history.open().plan_delete(history.ref(7)).versions
    assert found.children == [history.ref(8)]


def test_a_dataset_that_grows_is_fetched_and_published_with_few_requests(machines, tmp_path):
    """Each version adds a small file; uploads join the small packs, and every version stays intact."""
    author, reader = machines
    world = History()
    folder = tmp_path / "data"
    folder.mkdir()
    asked = []
    for number in range(50):
        (folder / f"{number:03}").write_bytes(os.urandom(500))
        author.sit_down()
        world.open().sync(folder, "d")
        asked.append(sum(world.asked().values()))
    assert max(asked) <= 64
    assert sum(asked[-16:]) / 16 <= 40
    reader.sit_down()
    repo = world.open()
    report = repo.fetch("d")
    assert {path.name: path.read_bytes() for path in report.path.iterdir()} == {
        path.name: path.read_bytes() for path in folder.iterdir()
    }
    assert world.asked()["get", "packs"] <= 2 * 16
    assert len(world.open().verify().findings) == 0
    assert len({each.key for each in world.inner.list("packs/")}) >= 50


def test_an_upload_with_a_lost_small_pack_stores_its_files_again(machines, tmp_path):
    """Nothing is joined then, and the upload finds the pack missing."""
    machines[0].sit_down()
    world = History()
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(17):
        (folder / f"{number:03}").write_bytes(os.urandom(500))
        if number == 16:
            world.inner.delete(min(info.key for info in world.inner.list("packs/")))
        version = world.open().sync(folder, "d", workspace=tmp_path).version
    assert version.label == "1.0.16"
    for path in folder.iterdir():
        assert version.read(path.name) == path.read_bytes()


def test_packs_that_are_shared_with_other_leaves_are_not_copied(machines, tmp_path):
    """Of each pack, the changed leaf needs a small part: it stays where it is."""
    machines[0].sit_down()
    world = History()
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(20):
        for name in range(10):
            (folder / f"{number:03}-{name}").write_bytes(os.urandom(2000))
        world.open().sync(folder, "d", workspace=tmp_path)
        for name in range(1, 10):
            (folder / f"{number:03}-{name}").unlink()
    report = world.open().sync(folder, "d", workspace=tmp_path)
    assert report.upload.packs == 0


def test_repack_joins_small_packs_and_each_leaf_is_replaced_once(histories, machines):
    """After it, a version is fetched and published with few requests, and all versions are intact."""
    history = histories[1]
    plan = history.open().plan_repack()
    assert (plan.small, len(plan.packs)) == (300, 300)
    report = history.open().repack()
    assert (report.packs, report.written) == (300, 1)
    assert history.asked()["replace", "trees"] == report.blocks == plan.blocks
    assert history.open().plan_repack().packs == {}
    machines[1].sit_down()
    report = history.open().fetch(history.ref(history.last))
    assert report.files == 300
    assert history.asked()["get", "packs"] == 1
    assert sum(history.asked().values()) <= 12
    assert len(history.open().verify().findings) == 0


def test_a_small_pack_of_a_newer_dataver_is_not_joined(machines, tmp_path):
    """The upload does not need its bytes, so it does not fail."""
    machines[0].sit_down()
    world = History()
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(17):
        (folder / f"{number:03}").write_bytes(os.urandom(500))
        if number == 15:
            key = min(info.key for info in world.inner.list("packs/"))
            data = bytearray(world.inner.get(key))
            frame = memoryview(data)[len(MAGIC) :]
            stored = parse_header(frame, 0).stored_length
            frame[:2] = (99).to_bytes(2, "little")  # the codec
            check = checksum(frame[: HEADER_SIZE - 8], frame[HEADER_SIZE : HEADER_SIZE + stored])
            frame[HEADER_SIZE - 8 : HEADER_SIZE] = check.to_bytes(8, "little")
            world.inner.objects[key] = bytes(data)
        version = world.open().sync(folder, "d", workspace=tmp_path).version
    assert version.label == "1.0.16"
