"""What any cached version shares with a wanted one is not moved: bytes of packs, counted at the store."""

import random
import secrets
from collections import defaultdict
from datetime import UTC, datetime

import pytest

import dataver
from dataver.checkout import range_plan
from dataver.formats.config import RepositoryConfig
from dataver.repository import RepositoryCore, frame_reader
from dataver.storage import MemoryStore

from .conftest import contents

_VERSIONS = 20
_LARGE = 64 * 1024  # smaller files are moved whole
_FOOTERS = 1024  # bytes at least that are read for a footer, and 1/256 of its pack


class CountingStore(MemoryStore):
    """Counts the bytes that reads return, by the first part of the key, and the reads."""

    def __init__(self):
        super().__init__()
        self.moved = defaultdict(int)
        self.reads = []

    def get(self, key, start=None, length=None):
        return self._counted(key, super().get(key, start, length))

    def get_tail(self, key, length):
        data, size = super().get_tail(key, length)
        return self._counted(key, data), size

    def _counted(self, key, data):
        self.moved[key.partition("/")[0]] += len(data)
        self.reads.append(key)
        return data


class Wire:
    """A repository in memory, and readers with empty caches."""

    def __init__(self, root, monkeypatch):
        self.root, self._monkeypatch = root, monkeypatch
        self.store = CountingStore()
        self.config = RepositoryConfig(
            id=secrets.token_hex(16),
            created=datetime.now(UTC),
            write_id=secrets.token_hex(16),
            create_if_absent=True,
        )

    def use(self, cache):
        """Use a cache from now on."""
        self.cache = self.root / f"cache-{cache}"
        self._monkeypatch.setenv("DATAVER_CACHE", str(self.cache))

    def open(self):
        return dataver.Repository(RepositoryCore(self.store, self.config), "memory:shared")

    def publish(self, folder, name):
        return self.open().sync(folder, name, workspace=self.root).version.ref

    def fetch(self, ref, **options):
        """Fetch a version; return its report and the bytes that it moved, by kind of object."""
        self.store.moved.clear()
        self.store.reads.clear()
        return self.open().fetch(ref, **options), dict(self.store.moved)

    def floor(self, ref, *cached):
        """Return the bytes of packs that hold what a version has and others lack, without their footers.

        These are the frames of its chunks that no file of the others has, found by their digests.
        """
        core = self.open()._core
        files, chunks = set(), set()
        for other in cached:
            for entry in core.tree(core.resolve(other).record.tree).iterate():
                files.add(entry.digest)
                if entry.size >= _LARGE:
                    chunks |= {digest for digest, _ in _chunks(core, entry)}
        frames = {}
        for entry in core.tree(core.resolve(ref).record.tree).iterate():
            if entry.digest not in files:
                for digest, (pack, frame, stored) in _chunks(core, entry):
                    if entry.size < _LARGE or digest not in chunks:
                        frames[pack, frame] = stored
        return sum(frames.values())

    def footers(self):
        """Return how many bytes the footers of all packs cost at most."""
        packs = [data for key, data in self.store.objects.items() if key.startswith("packs/")]
        return sum(_FOOTERS + len(data) // 256 for data in packs)


def _chunks(core, entry):
    """Yield the digest and the frame of each chunk of a file."""
    for extent in entry.extents:
        footer = core.packs.footer(extent.pack)
        start = range_plan.raw_start(footer, extent)
        for chunk in range(footer.chunk_count):
            if start <= footer.chunk_starts[chunk] < start + extent.length:
                frame = footer.locate(chunk)[0]
                yield footer.chunk_digest(chunk), (extent.pack, frame, footer.frame_stored[frame])


@pytest.fixture(scope="module")
def wire(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frame_reader, "MAX_GAP", 0)  # else bytes are read in vain where that saves a request
        patch.setenv("DATAVER_LINEAGE", "off")
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.chdir(tmp_path_factory.mktemp("work"))
        yield Wire(tmp_path_factory.mktemp("shared"), patch)


def _change(folder, noise, version):
    """Change, rename, add and remove files, and edit the large one."""
    small = sorted((folder / "small").iterdir())
    noise.choice(small).write_bytes(noise.randbytes(3_000))
    noise.choice(small).rename(folder / "small" / f"renamed-{version}")
    (folder / "small" / f"new-{version}").write_bytes(noise.randbytes(2_000))
    medium = sorted((folder / "medium").iterdir())
    medium[0].unlink()
    (folder / "medium" / f"{version + 5:02d}").write_bytes(noise.randbytes(120_000))
    large = bytearray((folder / "large").read_bytes())
    at = noise.randrange(len(large))
    large[at : at + noise.randrange(60_000)] = noise.randbytes(noise.randrange(60_000))
    (folder / "large").write_bytes(large)


@pytest.fixture(scope="module")
def history(wire):
    """Twenty versions of a dataset, and four of another whose paths differ; what each holds."""
    wire.use("author")
    noise, folder, held = random.Random(8), wire.root / "source" / "files", {}
    for name, count, size in (("small", 40, 4_000), ("medium", 5, 120_000)):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            (folder / name / f"{number:02d}").write_bytes(noise.randbytes(size))
    (folder / "large").write_bytes(noise.randbytes(2_500_000))
    for version in range(_VERSIONS):
        if version:
            _change(folder, noise, version)
        held[wire.publish(folder, "data/one")] = contents(folder)
        if version % 5 == 0:
            held[wire.publish(folder.parent, "data/other")] = contents(folder.parent)
    return held


def _check_pair(wire, history, number, cached, wanted):
    wire.use(number)
    wire.fetch(cached)
    floor = wire.floor(wanted, cached)
    wire.use(f"{number}-b")  # the floor has read blocks and footers
    wire.fetch(cached)
    report, moved = wire.fetch(wanted)
    assert contents(report.path) == history[wanted]
    assert moved.get("packs", 0) <= floor + wire.footers(), (cached, wanted)


def test_two_versions_share_what_they_have_in_common(wire, history):
    """Forwards and backwards, near and far, within a dataset and across: only frames with new chunks move."""
    refs = sorted(history)
    noise = random.Random(9)
    pairs = [noise.sample(refs, 2) for _ in range(12)]
    pairs += [["data/one@1.0.0", "data/one@1.0.1"], ["data/one@1.0.19", "data/one@1.0.0"]]
    for number, (cached, wanted) in enumerate(pairs):
        _check_pair(wire, history, number, cached, wanted)


@pytest.mark.slow
def test_any_two_versions_share_what_they_have_in_common(wire, history):
    """All pairs, in both directions."""
    pairs = [(cached, wanted) for cached in history for wanted in history if cached != wanted]
    for number, (cached, wanted) in enumerate(pairs):
        _check_pair(wire, history, number, cached, wanted)


def test_several_cached_versions_share_together(wire, history):
    """Each contributes the files and chunks that the others lack."""
    wire.use("several")
    cached = ("data/one@1.0.0", "data/one@1.0.6", "data/one@1.0.12", "data/one@1.0.19")
    wanted = "data/one@1.0.9"
    floor = wire.floor(wanted, *cached)
    assert floor < min(wire.floor(wanted, each) for each in cached)
    wire.use("several-b")
    for each in cached:
        wire.fetch(each)
    report, moved = wire.fetch(wanted)
    assert contents(report.path) == history[wanted]
    assert moved["packs"] <= floor + wire.footers()


def test_the_same_files_of_another_dataset_move_nothing(wire, history):
    """Their paths and their tree differ; a view links them, a working copy copies them."""
    wire.use("other")
    first, _ = wire.fetch("data/one@1.0.5")
    report, moved = wire.fetch("data/other@1.0.1")
    assert contents(report.path) == history["data/other@1.0.1"]
    assert "packs" not in moved
    assert (report.path / "files/large").samefile(first.path / "large")
    own, moved = wire.fetch("data/other@1.0.1", dest=wire.root / "own")
    assert contents(own.path) == history["data/other@1.0.1"]
    assert "packs" not in moved
    assert own.reused == own.size


def test_a_part_is_shared_as_a_whole_version_is(wire, history):
    """Files of a fetched part are not moved again, by a larger part, a shard or another version."""
    wire.use("parts")
    part, _ = wire.fetch("data/one@1.0.3", include=["medium", "small/0*"])
    assert part.transferred
    for options in ({"include": ["medium"]}, {"include": ["medium/0[5-7]"]}):
        report, moved = wire.fetch("data/one@1.0.3", **options)
        assert (report.transferred, "packs" in moved) == (0, False)
    whole, _ = wire.fetch("data/one@1.0.3")
    assert contents(whole.path) == history["data/one@1.0.3"]
    assert whole.transferred + whole.reused >= whole.size
    assert whole.reused >= part.size
    shards = [wire.fetch("data/other@1.0.0", shard=(rank, 2)) for rank in range(2)]
    merged = contents(shards[0][0].path) | contents(shards[1][0].path)
    assert merged == history["data/other@1.0.0"]


def test_looking_for_shared_files_asks_for_nothing(wire, history):
    """Beside versions that share nothing, a fetch makes the requests that it makes with an empty cache."""
    strange = wire.root / "strange"
    strange.mkdir()
    for number in range(30):
        (strange / str(number)).write_bytes(secrets.token_bytes(100_000))
    wire.use("author")
    ref = wire.publish(strange, "data/strange")
    wire.use("empty")
    wire.fetch(ref)
    alone = sorted(wire.store.reads)
    wire.use("full")
    for each in ("data/one@1.0.2", "data/one@1.0.9", "data/other@1.0.3"):
        wire.fetch(each)
    report, _ = wire.fetch(ref)
    assert sorted(wire.store.reads) == alone
    assert report.reused == 0


def test_a_plan_counts_what_any_cached_version_shares(wire, history):
    """Bytes of the plan are those of the fetch, for a rollback and for another dataset."""
    wire.use("plan")
    wire.fetch("data/one@1.0.12")
    for ref in ("data/one@1.0.2", "data/other@1.0.3"):
        planned = wire.open().plan_fetch(ref, measure=False)
        report, _ = wire.fetch(ref)
        assert (planned.transferred, planned.reused) == (report.transferred, report.reused)
        assert planned.reused > planned.transferred
