"""A renamed dataset: everything is there under the new name, and the old one leads to it."""

import contextlib
import itertools
import secrets

import pytest

import dataver
from dataver.errors import AlreadyExists, Conflict, DataverError, InvalidInput, NotFound
from dataver.maintenance import rename
from dataver.testing.faulty import Crash, Fault, FaultyStore

from .conftest import NOW


def history(repo, name):
    """Return what a rename keeps of each version, and its parents and tags."""
    versions = repo.versions(name)
    kept = [(v.label, v.digest, v.created, v.author, v.message, v.metadata, v.line) for v in versions]
    parents = [[(parent.dataset, parent.label) for parent in v.parents] for v in versions]
    return kept, parents, [v.tags for v in versions]


@pytest.fixture
def filled(world):
    """Versions with a fork, a deleted one, metadata, and a protected tag."""
    world.publish(metadata={"a": 1}, message="first")
    second = world.publish()
    world.publish().delete()
    world.publish()
    draft = world.repo.create("d", parents=second, workspace=world.root)
    draft.add(world.source, dest="beside")
    draft.finalize("a fork")
    draft.upload(allow_fork=True)
    world.repo.tag(second, "production", protect=True)
    world.repo.tag("d", "newest")
    world.repo.version("d@1.0.0").describe("the first", set={"b": 2})
    world.repo.describe("d", "all of it")
    return world


def test_versions_history_and_tags_get_the_new_name(filled):
    """Only parents of this dataset change; the bytes stay, and gc frees none of them."""
    repo = filled.repo
    kept, parents, tags = history(repo, "d")
    plan = repo.plan_rename("d", "new/d")
    assert plan.versions == [each[0] for each in kept] and set(plan.tags) == {"production", "newest"}
    assert [each.name for each in repo.datasets()] == ["d"]  # a plan changes nothing
    repo.rename("d", "new/d")
    renamed = [[("d" if label == "1.0.2" else "new/d", label) for _, label in each] for each in parents]
    assert history(filled.open(), "new/d") == (kept, renamed, tags)
    assert [each.name for each in repo.datasets()] == ["new/d"]
    assert repo.tag_history("new/d", "production")[-1].protected
    assert (repo.version("new/d@1.0.0").description.text, repo.version("new/d@1.0.0").metadata) == (
        "the first",
        {"a": 1, "b": 2},
    )
    assert repo.description("new/d").text == "all of it"
    filled.later(days=1)
    repo.gc(grace=NOW)
    assert len(filled.all_right()) == len(kept)


def test_a_description_that_is_written_meanwhile_is_renamed_too(filled, monkeypatch):
    """Between the copy of the descriptions and the deletion under the old name."""
    move_tags = rename._move_tags

    def describe_first(repo, plan, author):
        monkeypatch.undo()
        filled.open().version("d@1.0.1").describe("meanwhile")
        return move_tags(repo, plan, author)

    monkeypatch.setattr(rename, "_move_tags", describe_first)
    filled.repo.rename("d", "new/d")
    assert filled.open().version("new/d@1.0.1").description.text == "meanwhile"


def test_the_old_name_leads_to_the_new_one(filled):
    """As a reference, and to writers; the digest is found as before."""
    repo = filled.repo
    version = repo.version("d@1.0.1")
    repo.rename("d", "new/d")
    for ref in ("d", "d@1.0.1", "d@production", "d@latest", version):
        with pytest.raises(NotFound, match="'d' was renamed to 'new/d'") as caught:
            repo.version(ref)
        assert caught.value.hint.startswith("write new/d")
    assert repo.version(version.digest).ref == "new/d@1.0.1"
    with pytest.raises(Conflict, match="was renamed to 'new/d'"):
        repo.create("d", workspace=filled.root)
    with pytest.raises(Conflict, match="was renamed to 'new/d'"):
        filled.publish()
    assert [parent.label for parent in filled.publish("new/d").parents] == ["1.0.3"]
    assert repo.rename("d", "new/d").versions == []  # done already


def test_a_draft_begun_before_is_refused(filled):
    """It names the new dataset, and the old name does not come back."""
    draft = filled.repo.create("d", parents="d", workspace=filled.root)
    draft.add(filled.source, dest="more")
    draft.finalize()
    filled.repo.rename("d", "new")
    with pytest.raises(Conflict, match="was renamed to 'new'"):
        draft.upload()


def test_names_that_cannot_be_the_new_one(filled):
    """Nothing is changed by a refusal."""
    repo = filled.repo
    filled.publish("other")
    for name, error in {
        "other": AlreadyExists,
        "d": InvalidInput,
        "a b": InvalidInput,
        "D": InvalidInput,
    }.items():
        with pytest.raises(error):
            repo.rename("d", name)
    with pytest.raises(NotFound):
        repo.rename("nothing", "new")
    repo.rename("d", "new")
    with pytest.raises(AlreadyExists, match="labels are never reused"):
        repo.rename("new", "d")
    assert [each.name for each in repo.datasets()] == ["new", "other"]


@pytest.mark.slow
@pytest.mark.parametrize("fault", [Fault.LOST, Fault.REPLY_LOST, Fault.CRASH_BEFORE, Fault.CRASH_AFTER])
def test_an_interrupted_rename_is_completed_by_repeating_it(world, fault):
    """At every write: each name is whole or leads to the other, and nothing is renamed twice."""
    for number in itertools.count(1):
        old, new = f"d{number}", f"new{number}"
        world.publish(old)
        world.repo.tag(world.publish(old), "best", protect=True)
        before = history(world.repo, old)
        store = FaultyStore(world.store, {number: fault})
        try:
            world.open(store).rename(old, new)
        except (Crash, DataverError):
            labels = {each.label for name in (old, new) for each in versions_or_none(world.repo, name)}
            assert labels == {"1.0.0", "1.0.1"}
            world.repo.rename(old, new)
        after = history(world.open(), new)
        assert (after[0], after[2]) == (before[0], before[2])
        assert (
            world.repo.version(f"{new}@1.0.1").parents[0].record
            == world.repo.version(f"{new}@1.0.0").record_id
        )
        assert versions_or_none(world.repo, old) == []
        if number > len(store.writes):
            break
    assert number > 6


def versions_or_none(repo, name):
    try:
        return repo.versions(name)
    except NotFound:
        return []


class Beside(FaultyStore):
    """Another process publishes one more version under the old name before each of a few writes."""

    def __init__(self, inner, publish, before):
        super().__init__(inner)
        self.publish, self.before = publish, before

    def create(self, key, data):
        if len(self.writes) + 1 in self.before:
            self.before.remove(len(self.writes) + 1)
            self.publish()
        super().create(key, data)


def test_what_others_publish_meanwhile_is_renamed_too(world):
    """Before the first record, between records and tombstones, and in the last round."""
    for number in range(1, 9):
        old, new = f"d{number}", f"new{number}"
        world.publish(old)
        world.publish(old)
        published = []
        store = Beside(world.store, lambda: published.append(world.publish(old)), [number])  # noqa: B023
        world.open(store).rename(old, new)
        labels = [each.label for each in world.repo.versions(new)]
        assert labels == ["1.0.0", "1.0.1", *(each.label for each in published)]
        assert versions_or_none(world.repo, old) == []


def test_a_tag_that_others_move_meanwhile_has_their_version(world):
    """Before each write: what they published and tagged under the old name is not undone by the rename."""
    for number in range(1, 11):
        old, new = f"d{number}", f"new{number}"
        world.repo.tag(world.publish(old), "best", protect=True)
        moved = []

        def publish(old=old, moved=moved):
            moved.append(world.publish(old))
            world.repo.tag(moved[0], "best", force=True, reason="better")

        store = Beside(world.store, publish, [number])
        world.open(store).rename(old, new)
        assert world.repo.version(f"{new}@best").label == (moved[0].label if moved else "1.0.0")
        assert world.repo.tag_history(new, "best")[-1].protected
        assert versions_or_none(world.repo, old) == []


@pytest.mark.slow
@pytest.mark.parametrize("fault", [Fault.CRASH_BEFORE, Fault.CRASH_AFTER])
def test_a_tag_that_was_moved_after_an_interrupted_rename_stays_there(world, fault):
    """Whoever moved it last, under the old name or under the new one."""
    for number, name in itertools.product(range(1, 9), ("old", "new")):
        old, new = f"{number}.{name}", f"new{number}.{name}"
        world.repo.tag(world.publish(old), "best", protect=True)
        world.publish(old)
        with contextlib.suppress(Crash):
            world.open(FaultyStore(world.store, {number: fault})).rename(old, new)
        where = old if name == "old" else new
        if "1.0.1" not in {each.label for each in versions_or_none(world.repo, where)}:
            continue
        world.repo.tag(f"{where}@1.0.1", "best", force=True, reason="better")
        world.repo.rename(old, new)
        assert world.repo.version(f"{new}@best").label == "1.0.1"


def test_the_old_lineage_is_found_under_the_new_name(filled, monkeypatch):
    """By content: the runs that read the old name, and the old name itself."""
    monkeypatch.setenv("DATAVER_LINEAGE", "on")
    filled.repo.fetch("d@1.0.0", run="mlflow:old")
    filled.repo.rename("d", "new")
    filled.repo.fetch("new@1.0.0", run="mlflow:new")
    lineage = filled.repo.lineage
    assert "d@1.0.0" in {each.ref for each in lineage.version("new@1.0.0").same}
    assert {run.key for run, _ in lineage.version("d@1.0.0").consumed} == {"mlflow:old"}
    assert {run.key for run, *_ in lineage.impact("new@1.0.0").runs} == {"mlflow:old", "mlflow:new"}


def rename_on(repo, root):
    """Rename on a real store, and read everything back."""
    (root / "data").mkdir()
    (root / "data" / "a").write_bytes(secrets.token_bytes(20_000))
    repo.sync(root / "data", "d", workspace=root)
    (root / "data" / "b").write_bytes(b"b")
    repo.sync(root / "data", "d", workspace=root)
    repo.tag("d@1.0.0", "best")
    repo.rename("d", "animals/d")
    assert [each.ref for each in repo.versions("animals/d")] == ["animals/d@1.0.0", "animals/d@1.0.1"]
    assert repo.version("animals/d@best").label == "1.0.0"
    assert (repo.fetch("animals/d") / "b").read_bytes() == b"b"
    assert repo.verify().findings == []
    with pytest.raises(NotFound, match="was renamed to 'animals/d'"):
        repo.version("d")


def test_in_a_folder(tmp_path):
    rename_on(dataver.init(tmp_path / "repo"), tmp_path)


def test_in_a_bucket(tmp_path, s3_server):
    """Of servers that honour conditions and of one that does not."""
    url = s3_server.url(f"renaming/{secrets.token_hex(6)}")
    rename_on(dataver.init(url, storage_options=s3_server.options), tmp_path)
