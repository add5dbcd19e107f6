"""Two places with one id: copies of a repository, and a repository restored in place (invariant 5)."""

import pytest

import dataver
from dataver.errors import IntegrityError
from dataver.lineage.index.index import LineageIndex
from dataver.lineage.index.pull import pull
from dataver.maintenance.gc import plan_gc
from dataver.storage import MemoryStore, open_store
from dataver.storage.s3 import S3Store
from dataver.testing.faulty import FaultyStore


class Copies:
    """A repository and a copy of its objects; on each side a version `d@1.0.1` of its own, tagged `best`."""

    def __init__(self, world):
        self.world = world
        world.publish("d", content="both")
        self.first = world.repo
        self.second_store = MemoryStore("copy")
        self.second_store.objects = dict(world.inner.objects)
        self.second_store._times = dict(world.inner._times)
        self.second = world.open(self.second_store)
        for repo, content in ((self.first, "ours"), (self.second, "theirs")):
            world.repo = repo
            assert world.publish("d", content=content).ref == "d@1.0.1"
            repo.tag("d@1.0.1", "best")

    def rewind(self):
        """Put the second history in place of the first, as a restored backup does."""
        self.world.inner.objects = self.second_store.objects
        self.world.inner._times = self.second_store._times


@pytest.fixture
def copies(world):
    return Copies(world)


def answers(repo):
    """Return what every way to name the newest version leads to."""
    version = repo.version("d@1.0.1")
    found = {
        version.digest,
        repo.version("d").digest,
        repo.version("d@best").digest,
        repo.version(version.digest[:20]).digest,
        repo.versions("d")[-1].digest,
        repo.datasets()[0].latest.digest,
        repo.files("d").digest,
    }
    assert len(found) == 1
    return version.read("file"), (repo.fetch("d").path / "file").read_bytes()


def test_each_copy_answers_with_its_own_versions(copies):
    """Whatever was read of one copy before, the other gives its own record, file and folder."""
    for _ in range(2):
        assert answers(copies.world.open(copies.first._core.store)) == (b"ours", b"ours")
        assert answers(copies.world.open(copies.second._core.store)) == (b"theirs", b"theirs")


def test_a_repository_restored_in_place_answers_with_what_it_holds_now(copies):
    """The same URL and id, other records: in a new process, and in one that had read the old ones."""
    assert answers(copies.first) == (b"ours", b"ours")
    copies.rewind()
    assert answers(copies.first) == (b"theirs", b"theirs")
    assert answers(copies.world.open(copies.first._core.store)) == (b"theirs", b"theirs")


def test_a_sweep_keeps_what_its_own_copy_needs(copies):
    """What the other copy's records name does not decide what is needed here."""
    for repo in (copies.first, copies.second, copies.first):
        plan = plan_gc(copies.world.open(repo._core.store)._core)
        assert (plan.blocks, plan.packs) == ([], [])
    copies.rewind()
    assert plan_gc(copies.first._core).count == 0


def test_content_is_shared_by_copies(copies):
    """A block and a footer that were read of one copy are not read again from the other."""
    answers(copies.first)
    first = copies.world.repo = copies.first
    version = first.version("d@1.0.0")
    version.read("file")
    store = FaultyStore(copies.second._core.store)
    assert copies.world.open(store).version("d@1.0.0").read("file") == b"both"
    assert not [each for each in store.requests if each.key.startswith("trees/")]
    assert not [each for each in store.requests if each.method == "get_tail"]


def test_the_lineage_index_follows_a_restored_repository(copies, tmp_path):
    """Records and moves of tags that were replaced under their keys are read again, and nothing else is."""
    with LineageIndex.open(copies.first._core.local_name, tmp_path / "index.sqlite") as index:

        def named():
            pull(copies.first._core, index)
            with index.asking() as db:
                trees = db.execute("SELECT tree FROM versions WHERE label = '1.0.1'").fetchall()
                best = db.execute("SELECT tree FROM tags JOIN versions v ON v.id = tags.version").fetchall()
            return trees, best

        for repo in (copies.first, copies.second):
            tree = (repo.version("d@1.0.1").digest.removeprefix("dv1:"),)
            assert named() == ([tree], [tree])
            copies.rewind()
        report = pull(copies.first._core, index)
        assert (report.versions, report.tags) == (0, 0)


def test_what_a_machine_keeps_of_names_is_kept_by_location(copies):
    """Index of chunks, lineage, speed: under a name of its own for each place."""
    assert copies.first.id == copies.second.id
    assert copies.first._core.local_name != copies.second._core.local_name
    assert copies.first._core.local_name == copies.world.open(copies.first._core.store)._core.local_name


def test_a_location_is_the_same_however_it_is_reached(tmp_path):
    """A link to a folder is that folder; a bucket of another server is another place; AWS has a name once."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert open_store(tmp_path / "link").location == open_store(tmp_path / "real").location
    assert open_store(f"file://{tmp_path}/real").location == open_store(tmp_path / "real").location

    def location(**options):
        login = {"key": "any", "secret": "any", "region": "eu-west-1"}
        return S3Store("bucket/a", {**login, **options}).location

    assert location() == location(endpoint_url="https://s3.amazonaws.com") == "s3://bucket/a"
    assert location(endpoint_url="http://127.0.0.1:9000") == location(endpoint_url="http://127.0.0.1:9000/")
    assert location(endpoint_url="http://127.0.0.1:9000") != location(endpoint_url="http://127.0.0.1:9001")
    azure = [
        open_store("memory://bucket/a", {"account_name": name, "account_key": "secret"}).location
        for name in ("lab", "lab", "shop")
    ]
    assert azure[0] == azure[1] != azure[2]
    assert "secret" not in azure[0]


def test_a_copy_in_a_weaker_store_does_not_trust_the_first_one_s_probe(tmp_path):
    """Where a kind of store is known to race, writers take turns, whatever `dataver.json` says."""
    repo = dataver.init(tmp_path / "repository")
    assert repo._core.store.exclusive_create
    weak = open_store("memory://copies/weak")
    weak.put("dataver.json", repo._core.store.get("dataver.json"))
    assert not dataver.open("memory://copies/weak")._core.store.exclusive_create


def test_a_draft_of_a_version_that_a_restored_backup_lacks_is_published_whole(copies):
    """Its parent's name belongs to another record by then: all it needs is confirmed, or it is refused."""
    world, theirs = copies.world, copies.second_store.objects
    folder = world.root / "many"
    folder.mkdir()
    (folder / "00000").write_text("in the first block of the tree")
    for number in range(1, 3000):
        (folder / f"{number:05d}").touch()
    copies.first.sync(folder, "d", label="1.0.2")
    draft = copies.first.create("d", parents="d@1.0.2")
    draft.add(world.source / "file", dest="zzz")
    draft.finalize(label="2.0.0")
    world.repo = copies.second
    world.publish("d", label="1.0.2", content="another 1.0.2")
    lost = {key: data for key, data in world.inner.objects.items() if key not in theirs}
    packs = {key: data for key, data in lost.items() if key.startswith("packs/")}
    copies.rewind()
    world.inner.objects.update({key: data for key, data in lost.items() if key not in packs})
    draft = world.open(world.inner).draft(draft.id)
    with pytest.raises(IntegrityError, match="nothing was published"):
        draft.upload()
    assert "2.0.0" not in draft._core.repository.records.labels("d")
    world.inner.objects.update(packs)
    version = draft.upload().version
    assert version.read("00000") == b"in the first block of the tree"
    paths = {entry.path for entry in version.entries()}
    assert paths - {"file"} == {"zzz/file", *(f"{number:05d}" for number in range(3000))}  # theirs, merged
