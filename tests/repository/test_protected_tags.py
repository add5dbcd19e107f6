"""A protected tag moves only by force and for a reason, whoever else moves it meanwhile."""

import pytest

import dataver
from dataver.errors import Conflict, InvalidInput, NotFound
from dataver.formats.tag import TagMove
from dataver.repository.layout import tag_key
from dataver.testing.faulty import FaultyStore


@pytest.fixture
def tagged(world):
    """Two versions; `production` is protected at the first."""
    first, second = world.publish("d", "1.0.0"), world.publish("d", "1.0.1")
    world.repo.tag(first, "production", protect=True)
    return first, second


def test_only_force_with_a_reason_moves_it(world, tagged):
    """It stays protected, and the history has the reason."""
    first, second = tagged
    with pytest.raises(Conflict, match="d@production is protected and stays") as caught:
        world.repo.tag(second, "production", reason="only a reason")
    assert "--force and --reason" in caught.value.hint
    for use in (
        lambda: second.tag("production"),
        lambda: world.repo.tag(second, "production", forward=True),
        lambda: world.repo.tag(first, "production", protect=False),
        lambda: world.repo.untag("d", "production"),
    ):
        with pytest.raises(Conflict, match="is protected"):
            use()
    with pytest.raises(InvalidInput, match="only with a reason"):
        world.repo.tag(second, "production", force=True, reason=" ")
    assert len(world.repo.tag_history("d", "production")) == 1
    assert world.repo.tag(second, "production", force=True, reason="reviewed") == second
    moves = world.repo.tag_history("d", "production")
    assert [(each.label, each.protected, each.reason) for each in moves] == [
        ("1.0.0", True, ""),
        ("1.0.1", True, "reviewed"),
    ]


def test_a_repeated_move_to_the_same_version_is_none(world, tagged):
    """A script that runs twice does not fail."""
    world.repo.tag(tagged[0], "production")
    world.repo.tag(tagged[0], "production", protect=True)
    assert len(world.repo.tag_history("d", "production")) == 1


def test_protection_ends_by_force(world, tagged):
    """By a move, or with the tag; a tag of the same name is a new one."""
    first, second = tagged
    world.repo.tag(first, "production", protect=False, force=True, reason="the freeze is over")
    world.repo.tag(second, "production")
    world.repo.tag(second, "production", protect=True)
    world.repo.untag("d", "production", force=True, reason="not used")
    assert world.repo.tagged("d") == {}
    world.repo.tag(first, "production")
    world.repo.tag(second, "production")


def test_a_version_with_a_protected_tag_is_deleted_for_a_reason_only(world, tagged):
    """Nothing is deleted before that is known."""
    with pytest.raises(Conflict, match="is protected"):
        world.repo.delete(["d@1.0.1", "d@1.0.0"], force=True)
    assert [each.label for each in world.repo.versions("d")] == ["1.0.0", "1.0.1"]
    world.repo.delete("d@1.0.0", force=True, reason="faces")
    assert world.repo.tag_history("d", "production")[-1].reason == "faces"
    with pytest.raises(NotFound):
        world.repo.version("d@production")


class Overtaken(FaultyStore):
    """Another process protects the tag just before this one's first move."""

    def __init__(self, inner, version):
        super().__init__(inner)
        self.version = version

    def create(self, key, data):
        if "/tags/" in key and self.version is not None:
            version, self.version = self.version, None
            version.tag("production", protect=True)
        super().create(key, data)


def test_a_mover_that_is_overtaken_by_the_protection_is_refused(world):
    """The protection is the move before, so no check comes too late."""
    first, second = world.publish("d", "1.0.0"), world.publish("d", "1.0.1")
    first.tag("production")
    with pytest.raises(Conflict, match="is protected"):
        world.open(Overtaken(world.inner, first)).tag(second.ref, "production")
    assert [each.label for each in world.repo.tag_history("d", "production")] == ["1.0.0", "1.0.0"]


def test_an_older_writer_ends_the_protection_and_the_history_shows_it(world, tagged):
    """It does not know the keys; a later reader sees a move without them."""
    moves = world.repo.tag_history("d", "production")
    old = TagMove(
        number=2,
        tag="production",
        dataset="d",
        record=tagged[1].record_id,
        label="1.0.1",
        created=moves[0].created,
        author="old",
        write_id="0" * 32,
    )
    assert b"protected" not in old.encode() and b"reason" not in old.encode()
    world.inner.put(tag_key("d", "production", 2), old.encode())
    assert world.repo.version("d@production").label == "1.0.1"
    assert [each.protected for each in world.repo.tag_history("d", "production")] == [True, False]


def test_transfers_report_a_tag_that_is_protected_in_the_target(world, tagged, tmp_path):
    """History is copied with its reasons; a tag that diverged stays where it is protected."""
    other = dataver.init(tmp_path / "other")
    world.repo.push(other)
    world.repo.tag(tagged[1], "production", force=True, reason="reviewed")
    assert world.repo.push(other).problems == []
    assert [each.reason for each in other.tag_history("d", "production")] == ["", "reviewed"]
    other.tag("d@1.0.0", "production", force=True, reason="rolled back")
    world.repo.untag("d", "production", force=True, reason="gone")
    for report in (world.repo.push(other), dataver.mirror(world.repo, other)):
        assert [(name, "protected in the target" in why) for name, why in report.problems] == [
            ("tag d@production", True)
        ]
    assert other.version("d@production").label == "1.0.0"
