"""What versions change against their bases: enough to say who holds a content."""

import random

import pytest

import dataver
from dataver.hashing import digest
from dataver.lineage.index.changes import CONTENT_SIZE, fill_changes
from dataver.lineage.index.event_rows import version_number
from dataver.lineage.index.index import LineageIndex
from dataver.lineage.index.pull import pull, rebuild
from dataver.repository.layout import block_key

from .index_models import dump

HOLDERS = """
WITH RECURSIVE held(version, path) AS (
    SELECT version, path FROM changes WHERE content = :content AND kind = 1
    UNION
    SELECT child.id, path FROM held JOIN versions child ON child.base = held.version
    WHERE NOT EXISTS (SELECT 1 FROM changes gone WHERE gone.content = :content AND gone.version = child.id
        AND gone.path = held.path AND gone.kind = 0)
)
SELECT version, path FROM held
"""


class World:
    """A repository in a folder, versions of a few files, and an index."""

    def __init__(self, root):
        self.root = root
        self.repo = dataver.init(root / "repo")
        self.index = LineageIndex.open(self.repo.id, root / "index.sqlite")
        self.source = root / "source"
        self.made = {}

    def publish(self, files, parents=(), name="d"):
        """Publish a version that holds exactly these files: path → content."""
        draft = self.repo.create(name, parents=[each.ref for each in parents], workspace=self.root)
        folder = self.root / f"files-{len(self.made)}"
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        folder.mkdir(exist_ok=True)
        draft.sync(folder)
        draft.finalize("", allow_empty=True)
        version = draft.upload(allow_fork=True).version
        self.made[version_number(version.record_id)] = files
        return version

    def fill(self, *versions):
        """Bring the index up to date."""
        pull(self.repo._core, self.index, full=True)
        numbers = [version_number(each.record_id) for each in versions] or None
        return fill_changes(self.repo._core, self.index, numbers)

    def holders(self, content):
        key = digest(content)[:CONTENT_SIZE]
        return set(self.index.db.execute(HOLDERS, {"content": key}).fetchall())

    def changed(self):
        return dict(self.index.db.execute("SELECT id, changed FROM versions").fetchall())

    def rows(self, version):
        found = self.index.db.execute(
            "SELECT path, kind FROM changes WHERE version = ?", [version_number(version.record_id)]
        )
        return sorted(found.fetchall())

    def base(self, version):
        return self.index.db.execute(
            "SELECT base FROM versions WHERE id = ?", [version_number(version.record_id)]
        ).fetchone()[0]


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setenv("DATAVER_LINEAGE", "off")
    monkeypatch.chdir(tmp_path)
    made = World(tmp_path)
    yield made
    made.index.close()


def test_a_version_is_its_changes_against_its_first_parent(world):
    """All files of the first; of a child what came and went."""
    first = world.publish({"a": b"1", "b": b"2", "same": b"3"})
    other = world.publish({"x": b"9"}, name="other")
    child = world.publish({"a": b"1 changed", "moved/b": b"2", "same": b"3"}, [first, other])
    assert world.fill() == []
    assert world.rows(first) == [("a", 1), ("b", 1), ("same", 1)]
    assert world.rows(child) == [("a", 0), ("a", 1), ("b", 0), ("moved/b", 1)]
    assert world.base(first) is None
    assert world.base(child) == version_number(first.record_id)
    assert set(world.changed().values()) == {1}


def test_every_content_is_found_in_every_version_that_holds_it(world):
    """Random histories with branches and merges: walking bases gives what the versions really hold."""
    chance = random.Random(7)
    contents = [b"content %d" % number for number in range(8)]
    versions = []
    for _ in range(14):
        parents = chance.sample(versions, min(len(versions), chance.randint(0, 2)))
        files = dict(world.made[version_number(parents[0].record_id)]) if parents else {}
        for _ in range(5):
            path = chance.choice(["a", "b", "c/d", "c/e", "f"])
            if chance.random() < 0.3:
                files.pop(path, None)
            else:
                files[path] = chance.choice(contents)
        versions.append(world.publish(files, parents))
    assert world.fill() == []
    for content in contents:
        expected = {
            (number, path) for number, files in world.made.items() for path in files if files[path] == content
        }
        assert world.holders(content) == expected


def test_only_what_is_asked_for_is_filled_with_its_ancestors(world):
    """A question about one version reads no other trees than those it counts from."""
    first = world.publish({"a": b"1"})
    second = world.publish({"a": b"2"}, [first])
    third = world.publish({"a": b"3"}, [second])
    world.publish({"z": b"1"}, name="unrelated")
    world.fill(second)
    assert [world.changed()[version_number(each.record_id)] for each in (first, second, third)] == [1, 1, 0]
    assert sum(world.changed().values()) == 2
    world.fill()
    assert sum(world.changed().values()) == 4


def test_filling_again_reads_nothing(world):
    """What is complete stays as it is."""
    first = world.publish({"a": b"1"})
    world.publish({"a": b"2"}, [first])
    world.fill()
    before = dump(world.index)
    assert fill_changes(dataver.open(world.root / "repo")._core, world.index) == []
    assert dump(world.index) == before


def test_children_of_a_tree_that_cannot_be_read_count_from_another_base(world):
    """The version is named and has no rows; its children are whole; once it can be read all follows."""
    first = world.publish({"a": b"1", "b": b"2"})
    broken = world.publish({"a": b"1", "b": b"3"}, [first])
    child = world.publish({"a": b"4", "b": b"3"}, [broken, first])
    alone = world.publish({"a": b"5", "b": b"3"}, [broken])
    path = world.root / "repo" / block_key(bytes.fromhex(broken.digest.removeprefix("dv1:")))
    data = path.read_bytes()
    path.unlink()
    world.repo = dataver.open(world.root / "repo")
    ((name, reason),) = world.fill()
    assert name == broken.ref and "missing" in reason
    assert world.rows(broken) == []
    assert world.base(child) == version_number(first.record_id)
    assert world.base(alone) is None
    held = {(version_number(each.record_id), "b") for each in (child, alone)}
    assert world.holders(b"3") == held
    damaged = dump(world.index)
    rebuild(world.repo._core, world.root / "again" / "index.sqlite")
    with LineageIndex.open(world.repo.id, world.root / "again" / "index.sqlite") as again:
        assert dump(again) == damaged
    path.write_bytes(data)
    assert fill_changes(dataver.open(world.root / "repo")._core, world.index) == []
    assert world.base(child) == world.base(alone) == version_number(broken.record_id)
    assert world.holders(b"3") == held | {(version_number(broken.record_id), "b")}
    rebuild(world.repo._core, world.root / "whole" / "index.sqlite")
    with LineageIndex.open(world.repo.id, world.root / "whole" / "index.sqlite") as whole:
        assert dump(whole) == dump(world.index)


def test_two_that_fill_at_once_do_it_once(world):
    """A second process that comes to the same version finds it done."""
    first = world.publish({"a": b"1"})
    world.publish({"a": b"2"}, [first])
    pull(world.repo._core, world.index, full=True)

    class Meanwhile:
        """Lets another connection do all the work while the first is under way."""

        def start(self, files, size):
            with LineageIndex.open(world.repo.id, world.index.path) as other:
                assert fill_changes(world.repo._core, other) == []

        def advance(self, files, size, new=0):
            pass

    assert fill_changes(world.repo._core, world.index, progress=Meanwhile()) == []
    assert world.index.check() == []
    assert sum(world.changed().values()) == 2
