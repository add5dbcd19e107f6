"""Records, footers and tree blocks through the machine's cache: hints that do no harm (invariants 1, 5)."""

import random
import shutil
import threading

import pytest

from dataver.errors import IntegrityError, NotFound
from dataver.repository.layout import block_key, record_key
from dataver.testing.faulty import FaultyStore


@pytest.fixture
def filled(world):
    """A version of a hundred files, whose blocks, footers and record this machine has kept."""
    noise = random.Random(3)
    for number in range(100):
        (world.source / f"{number:03d}").write_bytes(noise.randbytes(noise.randrange(1, 3000)))
    world.version = world.repo.sync(world.source, "d").version
    read_all(world.open(world.inner))
    assert world.cached()
    return world


def read_all(repo):
    """Read everything of the newest version past the cache of fetched folders."""
    version = repo.version("d")
    return {entry.path: version.read(entry.path) for entry in version.entries()}


def asked(store, prefix):
    return [
        request for request in store.requests if request.key.startswith(prefix) and request.method != "list"
    ]


def test_what_this_machine_has_read_is_not_read_again(filled):
    """A second process asks for the listing, and for the frames it decodes; not for records or blocks."""
    store = FaultyStore(filled.inner)
    read_all(filled.open(store))
    assert asked(store, "trees/") == []
    assert asked(store, "datasets/") == []
    assert not [request for request in store.requests if request.method == "get_tail"]


@pytest.mark.parametrize("damage", ["flipped", "cut", "emptied", "swapped"])
def test_a_damaged_cache_is_read_past(filled, damage):
    """Whatever the cache holds, what is returned is what the store has; and the cache mends."""
    expected = {path.name: path.read_bytes() for path in filled.source.iterdir()}
    files = filled.cached()
    datas = [path.read_bytes() for path in files]
    for number, path in enumerate(files):
        data = datas[number]
        if damage == "flipped":
            path.write_bytes(data[:20] + bytes([data[20] ^ 1]) + data[21:])
        elif damage == "cut":
            path.write_bytes(data[: len(data) // 2])
        elif damage == "emptied":
            path.write_bytes(b"")
        else:
            path.write_bytes(datas[number - 1])
    store = FaultyStore(filled.inner)
    assert read_all(filled.open(store)) == expected
    assert asked(store, "trees/") and asked(store, "datasets/")
    store = FaultyStore(filled.inner)
    assert read_all(filled.open(store)) == expected
    assert asked(store, "trees/") == []


def test_a_forged_cache_with_right_checksums_is_no_better(filled):
    """Objects put into the cache under another's key are found out by their digests."""
    cache = filled.repo._core.cache
    tree = filled.version.tree.digest
    other = filled.publish("other", content="something else")
    cache.put(block_key(tree), filled.repo._core.blocks.object(other.tree.digest))
    key = record_key("d", "1.0.0")
    name = f"{filled.inner.location}\n{key}\n{filled.inner.stat(key).stamp}"
    assert cache.get(name) == filled.inner.objects[key]
    cache.put(name, filled.inner.objects[record_key("other", "1.0.0")])
    assert {entry.path for entry in filled.open(filled.inner).version("d").entries()} == {
        f"{number:03d}" for number in range(100)
    }


def test_a_cache_that_cannot_be_written_changes_nothing(filled):
    """A file in place of the cache's folder: every read goes to the store."""
    root = filled.repo._core.cache.root
    shutil.rmtree(root)
    root.write_text("in the way")
    assert len(read_all(filled.open(filled.inner))) == 100
    assert root.read_text() == "in the way"


@pytest.mark.parametrize(
    "spoil", [lambda data: b"", lambda data: data[:-1], lambda data: data[:40] + b"?" + data[41:]]
)
def test_a_block_that_is_damaged_in_the_store_too_is_an_error_by_name(filled, spoil):
    """Neither copy is believed; the error names the block."""
    digest = filled.version.tree.digest
    key = block_key(digest)
    filled.inner.objects[key] = spoil(filled.inner.objects[key])
    filled.repo._core.cache.remove(key)
    for _ in range(2):  # the damaged object must not be kept as if it were good
        with pytest.raises(IntegrityError, match=digest.hex()):
            list(filled.open(filled.inner).version("d").entries())


def test_a_block_that_is_missing_is_an_error_by_name(filled):
    """A tree with a hole is damage, not an empty folder."""
    digest = filled.version.tree.digest
    filled.repo._core.cache.remove(block_key(digest))
    del filled.inner.objects[block_key(digest)]
    assert not filled.repo._core.blocks.exists(digest)
    with pytest.raises(IntegrityError, match=f"tree block {digest.hex()} is missing"):
        list(filled.open(filled.inner).version("d").entries())


def test_a_record_under_another_name_is_an_error(filled):
    """A record that somebody copied to another label or dataset does not become that version."""
    data = filled.inner.objects[record_key("d", "1.0.0")]
    filled.inner.objects[record_key("d", "2.0.0")] = data
    with pytest.raises(IntegrityError, match=r"stored as d@2\.0\.0 belongs to d@1\.0\.0"):
        filled.repo.version("d@2.0.0")
    assert filled.repo.version("d@1.0.0") == filled.version


@pytest.mark.parametrize(
    "stray", ["._1.0.0.json", ".DS_Store", "1.0.0 (copy).json", "notes.txt", "x/y.json", "latest.json"]
)
def test_objects_that_are_no_records_are_passed_over(filled, stray):
    """What a sync tool or a hand leaves beside the records is no version."""
    filled.inner.objects[f"datasets/d/versions/{stray}"] = b"stray"
    repo = filled.open(filled.inner)
    assert repo._core.records.labels("d") == ["1.0.0"]
    assert repo.version("d") == filled.version
    assert [summary.name for summary in repo.datasets()] == ["d"]
    assert [version.label for version in repo.versions("d")] == ["1.0.0"]


def test_datasets_and_versions_are_listed_in_order(world):
    """Datasets by name with their newest version, versions by age."""
    for name, label in (("b", "1.0.0"), ("a/x", "1.0.0"), ("b", "0.9.0"), ("a/y", "july")):
        world.publish(name, label)
    assert [(each.name, each.versions, each.latest.label) for each in world.repo.datasets()] == [
        ("a/x", 1, "1.0.0"),
        ("a/y", 1, "july"),
        ("b", 2, "1.0.0"),
    ]
    assert [each.name for each in world.repo.datasets("a/")] == ["a/x", "a/y"]
    assert [each.label for each in world.repo.versions("b")] == ["1.0.0", "0.9.0"]
    with pytest.raises(NotFound, match="no dataset 'c'"):
        world.repo.versions("c")
    with pytest.raises(NotFound, match=r"no version b@3\.0\.0"):
        world.repo._core.records.get("b", "3.0.0")


def test_ranges_of_packs_are_exact_or_an_error(filled):
    """A range beyond the end, and a pack that is not there, are damage."""
    entry = next(filled.version.entries())
    pack = entry.extents[0].pack
    size = len(filled.inner.objects[f"packs/{pack.hex()[:2]}/{pack.hex()}"])
    assert len(filled.repo._core.packs.read(pack, 8, 100)) == 100
    assert filled.repo._core.packs.exists(pack) and not filled.repo._core.packs.exists(bytes(32))
    with pytest.raises(IntegrityError):
        filled.repo._core.packs.read(pack, size - 10, 11)
    for read in (
        lambda: filled.repo._core.packs.read(bytes(32), 0, 1),
        lambda: filled.repo._core.packs.footer(bytes(32)),
        lambda: filled.repo._core.packs.footers([pack, bytes(32)]),
    ):
        with pytest.raises(IntegrityError, match=r"pack 0{64} is missing"):
            read()


def test_footers_of_several_packs_are_read_side_by_side(world):
    """A large file lies in many packs: from afar their footers cost a few round trips, not one each."""
    for _ in range(3):
        world.publish("a")
    entries = [entry for version in world.repo.versions("a") for entry in version.entries()]
    packs = {extent.pack for entry in entries for extent in entry.extents}
    assert len(packs) == 3

    class Meeting(FaultyStore):
        together = threading.Barrier(3)

        def get_tail(self, key, length):
            self.together.wait(120)
            return super().get_tail(key, length)

    for path in world.cached():
        path.unlink()
    found = world.open(Meeting(world.inner))._core.packs.footers(packs)
    assert {pack: footer.pack_id for pack, footer in found.items()} == {pack: pack for pack in packs}
