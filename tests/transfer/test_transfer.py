"""Moving versions: what arrives, what it costs, what conflicts do, and what is left out."""

import pytest

import dataver
from dataver.errors import InvalidInput, NotFound
from dataver.formats.pack import MAGIC

from .conftest import contents


def both(world, ref, monkeypatch):
    """Return what a version holds in the source and in the target."""
    found = []
    for end in (world.source, world.target):
        monkeypatch.setenv("DATAVER_CACHE", str(world.root / f"fetch-{end.name}"))
        found.append(contents(end.open().fetch(ref).path))
    return found


def test_everything_arrives_as_it_is(filled, monkeypatch):
    """Records, packs, blocks and moves of tags are equal, key by key and byte by byte; ids stay."""
    report = filled.source.open().push(filled.target.open())
    assert report.problems == []
    assert [each.ref for each in report.versions] == [
        "vision/cats@1.0.0",
        "vision/cats@1.0.1",
        "vision/cats@1.0.2",
        "text@1.0.0",
    ]
    for prefix in ("packs/", "trees/", "datasets/"):
        assert filled.target.objects(prefix) == filled.source.objects(prefix), prefix
    assert report.packs == len(filled.source.keys("packs/")) == 3
    assert report.blocks == len(filled.source.keys("trees/"))
    sent = filled.source.objects("packs/") | filled.source.objects("trees/")
    assert report.size == sum(map(len, sent.values()))
    assert filled.target.open().version("vision/cats@production").label == "1.0.1"
    ours, theirs = both(filled, "vision/cats@1.0.2", monkeypatch)
    assert ours == theirs != {}


def test_the_plan_says_what_will_happen_and_changes_nothing(filled):
    """Packs, blocks and bytes of the plan are those of the report; planning writes nothing."""
    target = filled.target.open()
    plan = dataver.api.transfer.plan(filled.source.open()._core, target._core)
    assert filled.target.store.writes == []
    assert filled.target.inner.objects == {}
    report = dataver.api.transfer.execute(plan)
    assert (plan.packs, plan.blocks, plan.size) == (report.packs, report.blocks, report.size)
    assert len(plan.versions) == len(report.versions) == 4
    made = len(filled.source.store.requests) + len(filled.target.store.requests)
    assert plan.requests <= made


def test_repeating_a_move_sends_nothing(filled):
    """Names are listed and records compared; no block and no pack is asked for or read."""
    filled.source.open().push(filled.target.open())
    report = filled.source.open().push(filled.target.open())
    assert (report.versions, report.there, report.size, report.tags) == ([], 4, 0, 0)
    assert filled.target.store.writes == []
    for end in (filled.source, filled.target):
        assert not [each for each in end.store.requests if each.key.startswith(("packs/", "trees/"))]


def test_the_next_version_costs_what_is_new(filled):
    """One pack and the changed blocks are read and written; the source's leaves are not read again."""
    filled.source.open().push(filled.target.open())
    filled.write("newer", 20_000)
    version = filled.publish("vision/cats")
    report = filled.source.open().push(filled.target.open(), version.ref)
    assert [each.ref for each in report.versions] == [version.ref]
    assert report.packs == 1
    assert filled.source.asked("get", "packs/") == 1
    assert filled.target.asked("put_new", "packs/") == 1
    assert filled.target.asked("list", "packs/") == 0
    assert report.blocks == filled.target.asked("put_new", "trees/") <= 2
    assert report.size < 30_000


def test_one_version_brings_what_it_needs_and_no_more(filled, monkeypatch):
    """The version is whole without its parents, and neither their records nor other datasets come along."""
    report = filled.source.open().push(filled.target.open(), ["vision/cats@1.0.1"])
    assert [each.ref for each in report.versions] == ["vision/cats@1.0.1"]
    assert filled.target.keys("datasets/") == ["datasets/vision/cats/versions/1.0.1.json"]
    assert report.packs == 2
    ours, theirs = both(filled, "vision/cats@1.0.1", monkeypatch)
    assert ours == theirs
    assert (
        dataver.api.transfer.execute(
            dataver.api.transfer.plan(
                filled.source.open()._core, filled.target.open()._core, "vision/cats@1.0.1"
            ),
            verify=True,
        ).problems
        == []
    )


def test_a_dataset_a_tag_and_a_digest_can_be_chosen(filled):
    """`name` brings all versions and tags, `name@tag` the version and the tag, `dv1:` the version."""
    digest = filled.source.open().version("text").digest
    filled.source.open().push(filled.target.open(), [digest, "vision/cats@production"])
    assert filled.target.keys("datasets/") == [
        "datasets/text/versions/1.0.0.json",
        "datasets/vision/cats/tags/production/00000001.json",
        "datasets/vision/cats/tags/production/00000002.json",
        "datasets/vision/cats/versions/1.0.1.json",
    ]
    filled.target.open().pull(filled.source.open(), "vision/cats")
    assert filled.target.objects("datasets/") == filled.source.objects("datasets/")


def test_what_does_not_exist_is_refused_before_anything_moves(filled):
    """An unknown name, and a move of a repository to itself."""
    for wrong in ("vision/dogs", "vision/cats@9.9.9", "dv1:ffffffff"):
        with pytest.raises(NotFound):
            filled.source.open().push(filled.target.open(), wrong)
    with pytest.raises(InvalidInput, match="itself"):
        filled.source.open().push(filled.source.open())
    assert filled.target.inner.objects == {}


def test_a_label_that_is_taken_is_named_and_everything_else_moves(filled):
    """The target's own version stays as it is (invariant 2); the report says which it is."""
    filled.write("mine", 1000)
    filled.publish("text", filled.target.open())
    before = filled.target.objects("datasets/text/")
    report = filled.source.open().push(filled.target.open())
    assert [name for name, _ in report.problems] == ["text@1.0.0"]
    assert "conflict" in report.problems[0][1]
    assert len(report.versions) == 3
    assert filled.target.objects("datasets/text/") == before


def test_a_label_that_is_a_tag_in_the_target_is_a_conflict(filled):
    """Otherwise one name would mean two versions."""
    filled.write("more", 100)
    filled.publish("text", label="mine")
    theirs = filled.publish("text", filled.target.open())
    filled.target.open().tag(theirs.ref, "mine")
    report = filled.source.open().push(filled.target.open(), "text@mine")
    assert [name for name, _ in report.problems] == ["text@mine"]
    assert report.versions == []


def test_content_that_the_target_has_in_packs_of_its_own_is_not_sent(filled, monkeypatch):
    """Chunked and packed otherwise, the same leaves are there: the record alone moves."""
    theirs = filled.publish("elsewhere", filled.target.open())
    report = filled.source.open().push(filled.target.open(), "text")
    assert theirs.digest == filled.source.open().version("text").digest
    assert (report.packs, report.blocks) == (0, 0)
    assert len(report.versions) == 1
    ours, found = both(filled, "text", monkeypatch)
    assert ours == found


def test_a_damaged_pack_is_named_and_only_its_versions_stay_behind(filled):
    """Nothing that hangs on it is written: no record, and no block that would lead to it."""
    packs = filled.source.keys("packs/")
    newest = max(packs, key=lambda key: filled.source.inner.stat(key).modified)
    data = bytearray(filled.source.inner.objects[newest])
    data[len(MAGIC) + 30] ^= 1
    filled.source.inner.objects[newest] = bytes(data)
    report = filled.source.open().push(filled.target.open())
    name = newest.rpartition("/")[2]
    named = dict(report.problems)
    assert f"pack {name}" in named
    assert set(named) == {f"pack {name}", "vision/cats@1.0.2", "text@1.0.0"}
    assert name in named["text@1.0.0"]
    assert [each.ref for each in report.versions] == ["vision/cats@1.0.0", "vision/cats@1.0.1"]
    assert newest not in filled.target.inner.objects
    assert filled.source.open().push(filled.target.open(), "vision/cats@1.0.1", verify=True).problems == []
    trees = set(filled.target.keys("trees/"))
    for dataset, label in (("vision/cats", "1.0.2"), ("text", "1.0.0")):
        root = filled.source.open()._core.records.get(dataset, label).record.tree.hex()
        assert f"trees/{root[:2]}/{root}" not in trees


def test_a_missing_block_is_named_and_only_its_versions_stay_behind(filled):
    """The other versions are published, and the target verifies."""
    root = filled.source.open()._core.records.get("text", "1.0.0").record.tree.hex()
    del filled.source.inner.objects[f"trees/{root[:2]}/{root}"]
    report = filled.source.open().push(filled.target.open(), verify=True)
    assert {name for name, _ in report.problems} == {f"tree block {root}", "text@1.0.0"}
    assert len(report.versions) == 3


def test_verify_finds_what_the_target_lost(filled):
    """Past every cache: a damaged pack, a missing block and a changed record are named."""
    filled.source.open().push(filled.target.open())
    pack = filled.target.keys("packs/")[0]
    filled.target.inner.objects[pack] = b"rot" + filled.target.inner.objects[pack][3:]
    root = filled.source.open()._core.records.get("text", "1.0.0").record.tree.hex()
    del filled.target.inner.objects[f"trees/{root[:2]}/{root}"]
    report = filled.source.open().push(filled.target.open(), verify=True)
    assert {name for name, _ in report.problems} == {f"pack {pack.rpartition('/')[2]}", f"tree block {root}"}
    assert report.checked > 4


def test_blocks_that_cannot_be_read_in_the_target_are_replaced(filled):
    """A damaged leaf that an interrupted move left does not become a part of a version."""
    filled.target.inner._strict = False
    root = filled.source.open()._core.records.get("text", "1.0.0").record.tree.hex()
    filled.target.inner.put(f"trees/{root[:2]}/{root}", b"DVTREE rot")
    report = filled.source.open().push(filled.target.open(), "text", verify=True)
    assert report.problems == []
    assert filled.target.objects("trees/") == {
        key: data
        for key, data in filled.source.objects("trees/").items()
        if key in filled.target.keys("trees/")
    }
