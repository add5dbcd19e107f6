"""Pulling brings what is new, and only that; rebuilding gives the same; hostile objects are left out."""

import secrets
import shutil
from datetime import UTC, datetime, timedelta

import pytest
import zstandard

import dataver
from dataver.errors import NotFound, StoreError
from dataver.formats.config import RepositoryConfig
from dataver.formats.event import Link
from dataver.lineage.index.changes import fill_changes
from dataver.lineage.index.compact import execute_compaction, plan_compaction
from dataver.lineage.index.index import LineageIndex
from dataver.lineage.index.pull import pull, rebuild
from dataver.repository import RepositoryCore as Core
from dataver.repository.layout import block_key, bundle_key, event_key, record_key
from dataver.storage import MemoryStore
from dataver.testing.faulty import FaultyStore

from .index_models import dump, event_id, event_of, hexed, moment

NOW = moment(24 * 30)
DAY = timedelta(days=1)


class World:
    """A repository in memory, whose requests are counted, and this machine's index of it."""

    def __init__(self, root):
        self.root = root
        self.inner = MemoryStore()
        self.store = FaultyStore(self.inner)
        self.config = RepositoryConfig(
            id=secrets.token_hex(16), created=moment(0), write_id=secrets.token_hex(16), create_if_absent=True
        )
        self.core = Core(self.store, self.config)
        self.repo = dataver.Repository(self.core, "memory:test")
        self.source = root / "source"
        self.source.mkdir()
        self.index = LineageIndex.open(self.repo.id, root / "index.sqlite")

    def publish(self, name, **files):
        for path, text in files.items():
            (self.source / path).write_text(text)
        return self.repo.sync(self.source, name).version

    def event(self, number, published=None, at=None):
        """Write an event, three hours apart each, that may link a version."""
        event = event_of(number, number % 9, number % 3, number, number, [number])
        event = event._replace(id=event_id(at or moment(number * 3), number))
        if published is not None:
            resolved = self.core.resolve(published.ref)
            link = Link(
                role="input",
                dataset=resolved.record.dataset,
                label=resolved.record.label,
                record=resolved.record_id,
                tree=resolved.record.tree.hex(),
                time=moment(number),
                how="fetch",
            )
            event = event._replace(links=(link,))
        return self.core.events.put(event)

    def pull(self, **options):
        """Pull; return the report and how often the store was asked for what."""
        self.store.requests.clear()
        report = pull(self.core, self.index, **{"now": NOW} | options)
        asked = {}
        for request in self.store.requests:
            asked[request.method] = asked.get(request.method, 0) + 1
        return report, asked

    def rebuilt(self, **options):
        """Return the rows of an index made anew elsewhere."""
        path = self.root / f"rebuilt-{secrets.token_hex(4)}" / "index.sqlite"
        rebuild(self.core, path, now=NOW, **options)
        with LineageIndex.open(self.repo.id, path) as index:
            assert index.check() == []
            return dump(index)

    def runs(self):
        return self.index.db.execute("SELECT count(*) FROM runs").fetchone()[0]


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DATAVER_LINEAGE", "off")  # the test's own writing notes nothing
    monkeypatch.chdir(tmp_path)
    made = World(tmp_path)
    yield made
    made.index.close()


def test_a_pulled_index_is_the_rebuilt_one_row_for_row(world):
    """Versions, tags, events, bundles and changes that came one by one, in whatever order, or all at once."""
    versions = [world.publish("raw/cats", a=f"a{n}", b=f"b{n // 2}") for n in range(4)]
    world.pull(now=moment(0))
    fill_changes(world.core, world.index)
    for number in range(30):
        world.event(number, versions[number % 4] if number % 2 else None)
        if number % 7 == 0:
            world.pull(now=moment(number * 3))
    world.repo.tag(versions[0].ref, "production")
    draft = world.repo.create("clean", parents=[versions[3].ref, versions[1].ref], workspace=world.root)
    draft.add(world.source, dest="more")
    draft.finalize("", metadata={})
    draft.upload()
    world.pull(now=moment(91))
    world.repo.tag(versions[2].ref, "production")
    world.repo.tag(versions[1].ref, "broken")
    world.repo.untag("raw/cats", "broken")
    world.pull(now=moment(92))
    execute_compaction(world.core, plan_compaction(world.core, now=NOW, least=2))
    for number in range(30, 40):
        world.event(number, versions[0])
    world.pull(now=moment(121))
    fill_changes(world.core, world.index)
    rows = dump(world.index)
    assert [table for table, found in rows.items() if not found] == []
    assert rows == world.rebuilt()


def test_a_pull_of_nothing_new_lists_and_reads_nothing(world):
    """Two listings, of records and of recent events, and no object; however much there is."""
    for number in range(20):
        world.event(number)
    version = world.publish("cats", a="a")
    world.repo.tag(version.ref, "production")
    world.repo.untag("cats", "production")
    report, _ = world.pull()
    assert (report.events, report.versions, report.full) == (20, 1, True)
    report, asked = world.pull()
    assert (report.events, report.versions, report.tags, report.full) == (0, 0, 0, False)
    assert asked == {"list": 2}


def test_a_pull_reads_only_what_is_new(world):
    """One object for one new event, one for a new record, one for a moved tag."""
    for number in range(10):
        world.event(number)
    first = world.publish("cats", a="a")
    world.pull(now=moment(40))
    world.event(15, first)
    second = world.publish("cats", a="b")
    world.repo.tag(second.ref, "best")
    shutil.rmtree(world.core.cache.root)
    report, asked = world.pull(now=moment(41))
    assert (report.events, report.versions, report.tags, report.full) == (1, 1, 1, False)
    assert asked == {"list": 2, "get": 3}


def test_old_events_are_not_even_listed(world):
    """The store is asked from two days before the last pull on."""
    world.event(1)
    world.pull()
    listed = []
    world.inner.list, real = (
        lambda prefix="", after=None: listed.append((prefix, after)) or real(prefix, after),
        world.inner.list,
    )
    world.event(200, at=NOW + timedelta(hours=5))
    report, _ = world.pull(now=NOW + timedelta(hours=6))
    assert report.events == 1
    ((_, after),) = [each for each in listed if each[0].startswith("lineage")]
    # from the newest event on, which is older than the pull: our own clock may have been ahead
    assert after.startswith("lineage/2026-10")


@pytest.mark.parametrize("hours", [-47, -1, 0, 30])
def test_writers_whose_clocks_differ_by_less_than_two_days_are_found_at_once(world, hours):
    """Also when somebody else's event is newer, and when our own clock is ahead of them."""
    world.event(1, at=NOW)
    world.pull()
    world.event(2, at=NOW + timedelta(hours=hours))
    report, _ = world.pull(now=NOW + timedelta(hours=1))
    assert (report.events, report.full) == (1, False)


def test_writers_whose_clocks_are_wrong_are_found_within_a_day(world):
    """An event with last year's key is missed by the short look and found by the daily one, or by `full`."""
    world.event(1, at=NOW)
    world.pull()
    world.event(2, at=datetime(1970, 1, 1, tzinfo=UTC))
    world.event(3, at=datetime(2025, 1, 1, tzinfo=UTC))
    report, _ = world.pull(now=NOW + DAY / 2)
    assert report.events == 0
    report, _ = world.pull(now=NOW + DAY)
    assert (report.events, report.full) == (2, True)
    world.event(4, at=datetime(2025, 1, 2, tzinfo=UTC))
    assert world.pull(now=NOW + DAY, full=True)[0].events == 1


def test_a_clock_from_the_future_hides_nobody(world):
    """An event of the year 2999 and a pull with a clock that is years ahead: later events are still found."""
    world.event(1, at=datetime(2999, 12, 1, tzinfo=UTC))
    world.event(2, at=NOW)
    assert world.pull()[0].events == 2
    world.event(3, at=NOW + timedelta(minutes=1))
    assert world.pull(now=NOW + timedelta(minutes=5))[0].events == 1
    world.pull(now=NOW + 3000 * DAY)
    world.event(4, at=NOW + DAY)
    assert world.pull(now=NOW + DAY)[0].events == 1


def test_a_pull_that_is_cut_short_goes_on_where_it_stopped(world):
    """What was read is kept with the note that it was; the error passes; the next pull does the rest."""
    keys = [world.event(number) for number in range(200)]

    class Failing(MemoryStore):
        def __init__(self, inner, most):
            super().__init__()
            self.objects, self.most, self.got = inner.objects, most, []

        def get(self, key, start=None, length=None):
            if key in keys and len(self.got) >= self.most:
                raise StoreError("cannot read: the test says so.", transient=True)
            self.got.append(key)
            return super().get(key, start, length)

    store = Failing(world.inner, 120)
    with pytest.raises(StoreError, match="the test says so"):
        pull(Core(store, world.config), world.index, now=NOW)
    report, asked = world.pull()
    assert report.full
    assert asked["get"] == report.events
    assert world.pull()[0].events == 0
    assert dump(world.index) == world.rebuilt()


def test_events_bundled_under_our_hands_are_found_in_their_bundle(world):
    """A reader that finds a key gone lists again."""
    for number in range(60):
        world.event(number)
    compacted = []

    class Compacting(MemoryStore):
        def __init__(self, inner):
            super().__init__()
            self.objects = inner.objects

        def get(self, key, start=None, length=None):
            if key.startswith("lineage/") and not compacted:
                compacted.append(True)
                execute_compaction(world.core, plan_compaction(world.core, now=NOW))
            return super().get(key, start, length)

    repo = Core(Compacting(world.inner), world.config)
    report = pull(repo, world.index, now=NOW)
    assert report.events >= 60 and report.problems == []
    assert dump(world.index) == world.rebuilt()


@pytest.mark.parametrize("kind", ["lineage/", "d/tags/", "d/versions/1.0.0.json", "tombstone"])
def test_a_listed_object_that_cannot_be_found_is_a_problem(world, kind, tmp_path, monkeypatch):
    """It is named, the rest is read, and it is read when it is there again."""
    world.event(1)
    world.publish("d", a="1")
    world.repo.tag("d@1.0.0", "prod")
    world.publish("d", a="2")
    world.repo.delete("d@1.0.1")

    class Denying(FaultyStore):
        def get(self, key, start=None, length=None):
            if kind in key:
                raise NotFound(f"{key} does not exist.")
            return super().get(key, start, length)

    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "of another machine"))
    core = Core(Denying(world.inner), world.config)
    report = pull(core, world.index, now=NOW)
    assert [reason for _, reason in report.problems] == [
        "it is listed, but the store reports that it does not exist"
    ]
    assert pull(world.core, world.index, now=NOW).problems == []
    fill_changes(world.core, world.index)
    assert dump(world.index) == world.rebuilt()


def hostile(world):
    """Put every kind of bad object into the repository; return their keys."""
    good = event_of(5, 1, 1, 1, 1, [1])
    data = good.encode()

    def key(number):
        return event_key(event_id(moment(number), f"hostile {number}"))

    def as_key(number, content):
        return content.replace(good.id.encode(), key(number).rpartition("/")[2][:32].encode())

    bomb = zstandard.ZstdCompressor(write_content_size=True).compress(bytes(1 << 28))
    endless = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1 << 28))
    bad = {
        key(100): b" " * (2 << 20),
        key(101): b"",
        key(102): as_key(102, data)[:-1],
        key(103): as_key(103, data).replace(
            b'"facts":{', b'"facts":{"deep":' + b"[" * 100_000 + b"]" * 100_000 + b",", 1
        ),
        key(104): data,
        key(105): as_key(105, data).replace(b'"key":"dataver:1"', '"key":"dataver:\u202e1"'.encode()),
        key(106): as_key(106, data).replace(b'"key":"dataver:1"', b'"key":"\\u001b[31m"'),
        key(107): as_key(107, data).replace(b'"sequence":1', b'"sequence":9223372036854775808'),
        key(108): as_key(108, data).replace(b'"format":1', b'"format":7'),
        key(109): as_key(109, data).replace(b'"dataset":"', b'"dataset":"../../'),
        f"lineage/2020-01/{hexed('wrong month', 32)}.json": data,
        f"lineage/2026-99/{good.id}.json": data,
        bundle_key(event_id(moment(110), "bomb")): bomb,
        bundle_key(event_id(moment(111), "endless")): endless,
        bundle_key(event_id(moment(112), "no bundle")): b"PK\x03\x04",
        bundle_key(event_id(moment(113), "other")): zstandard.compress(data + b"\n"),
        record_key("cats", "6.6.6"): b"{}",
    }
    for name, content in bad.items():
        world.inner.put(name, content)
    for stray in (
        "lineage/x.json",
        "lineage/2026-11/readme",
        "lineage/attachments/zz/y",
        "datasets/cats/versions/a",
    ):
        world.inner.put(stray, b"x" * 100)
    return set(bad)


def test_hostile_objects_are_left_out_by_name(world):
    """Huge, malformed, deep, misnamed, bombs: each is named once, none stops the others or reaches a row."""
    for number in range(20):
        world.event(number)
    world.publish("cats", a="a")
    world.pull()
    clean = dump(world.index)
    bad = hostile(world)
    report, _ = world.pull(full=True)
    named = {key if "/" in key else record_key(*key.split("@")) for key, _ in report.problems}
    assert named == bad
    assert {key for key, _ in world.index.problems()} == {key for key in bad if key.startswith("lineage")}
    assert all(reason for _, reason in report.problems)
    assert dump(world.index) == clean == world.rebuilt(changes=False)
    report, asked = world.pull()
    assert {key for key, _ in report.problems} == {
        "cats@6.6.6"
    }  # events that cannot be read are not read again
    assert asked == {"list": 2, "get": 1}
    assert {key for key, _ in world.pull(full=True)[0].problems} >= {key for key in bad if "lineage" in key}


def test_a_newer_dataver_reads_what_this_one_could_not(world):
    """What was left out is tried again by another version of the program."""
    key = world.event(1)
    data = world.inner.objects[key]
    world.inner.objects[key] = data.replace(b'"format":1', b'"format":2')
    assert "format 2" in world.pull()[0].problems[0][1]
    world.inner.objects[key] = data
    assert world.pull()[0].events == 0
    world.index.db.execute("UPDATE state SET value = '0.0.1' WHERE name = 'tool'")
    assert world.pull()[0].events == 1


def test_a_bundle_with_a_bad_line_gives_the_others(world):
    """What a newer program bundled beside our events is named, and the rest is read."""
    from dataver.hashing import CONTEXT_BUNDLE, derived

    good = [event_of(number, number, 1, 1, 1, [1]) for number in range(3)]
    lines = [each.encode() for each in good]
    lines[1] = lines[1].replace(b'"format":1', b'"format":2')
    content = b"".join(line + b"\n" for line in lines)
    key = bundle_key(good[-1].id[:12] + derived(CONTEXT_BUNDLE, content).hex()[:20])
    world.inner.put(key, zstandard.compress(content))
    report, _ = world.pull()
    assert report.events == 2 and world.runs() == 2
    ((name, reason),) = report.problems
    assert name == key and "line 2" in reason and "format 2" in reason


def test_deleted_records_and_tags_are_forgotten(world):
    """The index follows: rows, names and changes of what is gone go; runs that saw it keep its record id."""
    versions = [world.publish("cats", a=f"a{n}") for n in range(3)] + [world.publish("dogs", a="x")]
    for number, version in enumerate(versions):
        world.event(number, version)
    world.repo.tag(versions[1].ref, "best")
    world.pull()
    fill_changes(world.core, world.index)
    for version in (versions[0], versions[3]):
        key = record_key(*version.ref.split("@"))
        world.inner.delete(key)
        world.core.cache.remove(key)
    for key in [key for key in world.inner.objects if "/tags/" in key]:
        world.inner.delete(key)
    world.pull()
    fill_changes(world.core, world.index)
    rows = dump(world.index)
    assert rows == world.rebuilt()
    assert rows["tags"] == [] and rows["datasets"] == ["('cats',)"]
    with pytest.raises(NotFound):
        world.repo.version("dogs")


@pytest.mark.parametrize("restored", [False, True])
def test_a_deleted_version_keeps_what_its_tombstone_says(world, restored):
    """Name, tree, parents, outputs and changes stay; a repository restored from before has it again."""
    versions = [world.publish("cats", a=f"a{n}", b="b") for n in range(3)]
    for number, version in enumerate(versions):
        world.event(number, version)
    world.pull()
    fill_changes(world.core, world.index)
    before, objects = dump(world.index), dict(world.inner.objects)
    world.repo.delete(versions[1].ref)
    world.pull()
    fill_changes(world.core, world.index)
    rows = dump(world.index)
    assert rows == world.rebuilt()
    ((deleted,),) = world.index.db.execute("SELECT label FROM versions WHERE deleted IS NOT NULL").fetchall()
    assert deleted == "1.0.1"
    assert {name: found for name, found in rows.items() if name != "versions"} == {
        name: found for name, found in before.items() if name != "versions"
    }
    if restored:
        world.inner.objects.clear()
        world.inner.objects.update(objects)
        world.pull()
        fill_changes(world.core, world.index)
        assert dump(world.index) == before


def test_a_deleted_tree_is_asked_for_once(world):
    """An index made after the blocks are gone counts children from another base and reads nothing again."""
    versions = [world.publish("cats", a=f"a{n}", b="b") for n in range(2)]
    world.repo.delete(versions[0].ref)
    key = block_key(bytes.fromhex(versions[0].digest.removeprefix("dv1:")))
    world.inner.delete(key)
    shutil.rmtree(world.core.cache.root)
    repo = Core(world.store, world.config)
    pull(repo, world.index, now=NOW)
    assert fill_changes(repo, world.index) == []
    assert [row[0] for row in world.index.db.execute("SELECT path FROM changes ORDER BY path")] == ["a", "b"]
    world.store.requests.clear()
    assert fill_changes(repo, world.index) == []
    assert world.store.requests == []


def test_a_rebuild_that_fails_leaves_the_old_index(world):
    """The new one is made beside it and takes its place at the end, or not at all."""
    for number in range(5):
        world.event(number)
    world.pull()
    before, files = dump(world.index), sorted(world.root.glob("index*"))
    dead = FaultyStore(MemoryStore())
    dead.list = lambda prefix="", after=None: (_ for _ in ()).throw(StoreError("gone."))
    with pytest.raises(StoreError, match="gone"):
        rebuild(Core(dead, world.config), world.index.path)
    assert sorted(path for path in world.root.glob("index*") if "-wal" not in path.name) == [
        path for path in files if "-wal" not in path.name
    ]
    assert dump(world.index) == before
    world.event(6)
    assert rebuild(world.core, world.index.path).events == 6
    world.index.close()
    world.index = LineageIndex.open(world.repo.id, world.index.path)
    assert dump(world.index) == world.rebuilt()


def test_a_damaged_index_is_rebuilt(world):
    """What no SQLite can open is replaced by what the repository says."""
    for number in range(5):
        world.event(number)
    world.pull()
    rows = dump(world.index)
    world.index.close()
    world.index.file.write_bytes(b"no database" * 1000)
    rebuild(world.core, world.index.path)
    world.index = LineageIndex.open(world.repo.id, world.index.path)
    assert dump(world.index) == rows
    assert len(list(world.root.glob("index-*.sqlite"))) == 1


def test_pulls_tell_how_far_they_are(world):
    """Objects and bytes, the total first."""
    for number in range(5):
        world.event(number)

    class Told:
        def __init__(self):
            self.calls = []

        def start(self, files, size):
            self.calls.append(("start", files, size))

        def advance(self, files, size, new=0):
            self.calls.append(("advance", files, size))

    told = Told()
    world.pull(progress=told)
    size = sum(len(data) for key, data in world.inner.objects.items() if key.startswith("lineage/"))
    assert told.calls[0] == ("start", 5, size)
    assert sum(call[2] for call in told.calls[1:]) == size
