"""Tags move by appending: the highest number is current, the rest is the history."""

import secrets
import threading

import pytest

import dataver
from dataver.errors import Conflict, IntegrityError, InvalidInput, NotFound, StoreError
from dataver.repository.layout import tag_key
from dataver.testing.faulty import Fault, FaultyStore


def test_a_tag_moves_and_remembers_where_it_was(world, monkeypatch):
    """Every move stays, with who made it and when; the last one counts."""
    world.publish("d", "1.0.0")
    world.publish("d", "1.0.1")
    monkeypatch.setenv("DATAVER_AUTHOR", "ann")
    world.repo.tag("d@1.0.0", "production")
    monkeypatch.setenv("DATAVER_AUTHOR", "ben")
    world.repo.tag("d", "production")
    world.repo.tag("d@production", "golden")
    assert world.repo.tagged("d") == {"golden": "1.0.1", "production": "1.0.1"}
    assert world.repo.version("d").tags == ["golden", "production"]
    moves = world.repo.tag_history("d", "production")
    assert [(move.number, move.label, move.author) for move in moves] == [
        (1, "1.0.0", "ann"),
        (2, "1.0.1", "ben"),
    ]
    assert moves[1].record == world.repo.version("d@1.0.1").record_id
    assert moves[0].created <= moves[1].created


def test_a_removed_tag_is_gone_its_history_is_not_and_it_may_come_back(world):
    """Removing is a move to nothing."""
    world.publish("d", "1.0.0")
    world.repo.tag("d@1.0.0", "production")
    world.repo.untag("d", "production")
    assert world.repo.tagged("d") == {}
    with pytest.raises(NotFound, match="no version or tag 'production'"):
        world.repo.version("d@production")
    with pytest.raises(NotFound, match="d has no tag 'production'"):
        world.repo.untag("d", "production")
    world.repo.tag("d@1.0.0", "production")
    assert [move.label for move in world.repo.tag_history("d", "production")] == ["1.0.0", None, "1.0.0"]
    assert world.repo.version("d@production").label == "1.0.0"


def test_a_tag_that_never_was_has_no_history(world):
    """Asking is no error, removing is."""
    world.publish("d", "1.0.0")
    assert world.repo.tag_history("d", "nothing") == []
    with pytest.raises(NotFound):
        world.repo.untag("d", "nothing")


@pytest.mark.parametrize("tag", ["", "latest", "Latest", "a/b", "..", "a b", ".x", "x" * 201, "a@b", "a\nb"])
def test_a_tag_that_cannot_be_one_is_refused(world, tag):
    """A tag is one part of a name, and `latest` is computed."""
    world.publish("d", "1.0.0")
    with pytest.raises(InvalidInput):
        world.repo.tag("d", tag)
    assert world.repo.tagged("d") == {}


def test_a_label_cannot_be_a_tag_too(world):
    """One name would mean two things, now or when the next version gets its number."""
    world.publish("d", "1.0.0")
    world.publish("d", "july")
    for taken in ("1.0.0", "july"):
        with pytest.raises(InvalidInput, match=f"'{taken}' is the label"):
            world.repo.tag("d@1.0.0", taken)
    with pytest.raises(InvalidInput, match=r"'1\.0\.1'"):
        world.repo.tag("d@1.0.0", "1.0.1")


def test_a_tag_cannot_be_a_label_too(world):
    """A version is not published under the name of a tag, which would then mean something else."""
    world.publish("d", "1.0.0")
    world.repo.tag("d@1.0.0", "production")
    with pytest.raises(Conflict, match="'production' is a tag"):
        world.publish("d", "production")
    assert world.repo._core.records.labels("d") == ["1.0.0"]
    assert world.repo.version("d@production").label == "1.0.0"
    world.repo.untag("d", "production")
    assert world.publish("d", "production").ref == "d@production"


def test_tags_belong_to_one_dataset(world):
    """The same tag in another dataset, also in one whose name begins alike, is another tag."""
    for name in ("d", "d/e", "dd"):
        world.publish(name, "1.0.0")
        world.publish(name, "2.0.0")
    world.repo.tag("d@1.0.0", "best")
    world.repo.tag("d/e@2.0.0", "best")
    assert world.repo.tagged("d") == {"best": "1.0.0"}
    assert world.repo.tagged("d/e") == {"best": "2.0.0"}
    assert world.repo.tagged("dd") == {}


def test_movers_at_once_each_make_a_move(tmp_path):
    """Eight threads on a real folder: eight numbered moves without gaps, none lost, none overwritten."""
    repo = dataver.init(tmp_path / "repo")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_text("x")
    repo.sync(tmp_path / "source", "d")
    (tmp_path / "source" / "file").write_text("y")
    repo.sync(tmp_path / "source", "d")
    start = threading.Barrier(8)
    failed = []

    def move(number):
        own = dataver.open(tmp_path / "repo")
        start.wait()
        try:
            own.tag(f"d@1.0.{number % 2}", "production")
        except Exception as error:  # noqa: BLE001 - told by the main thread
            failed.append(error)

    threads = [threading.Thread(target=move, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    moves = repo.tag_history("d", "production")
    assert [move.number for move in moves] == list(range(1, 9))
    assert len({move.write_id for move in moves}) == 8
    assert repo.version("d@production").label == moves[-1].label


class Overtaken(FaultyStore):
    """A store where somebody else moves the tag before each of our first writes."""

    def __init__(self, inner, others, times):
        super().__init__(inner)
        self.others, self.times = others, times

    def create(self, key, data):
        if self.times:
            self.times -= 1
            self.others.tag("d@1.0.0", "production")
        super().create(key, data)


def test_a_mover_that_is_overtaken_takes_the_next_number(world):
    """Losing a number is no error: the move comes after the other one."""
    world.publish("d", "1.0.0")
    world.publish("d", "2.0.0")
    late = world.open(Overtaken(world.inner, world.repo, 2))
    late.tag("d@2.0.0", "production")
    assert [move.label for move in world.repo.tag_history("d", "production")] == ["1.0.0", "1.0.0", "2.0.0"]


def test_a_mover_that_is_always_overtaken_gives_up_with_a_conflict(world):
    """It ends, and says that it may be tried again."""
    world.publish("d", "1.0.0")
    late = world.open(Overtaken(world.inner, world.repo, 1000))
    with pytest.raises(Conflict, match="d@production") as caught:
        late.tag("d", "production")
    assert caught.value.hint == "try again"


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.REPLY_LOST])
def test_a_move_whose_reply_is_lost_is_made_once(world, fault):
    """The write id tells our own move again, so no second one follows."""
    world.publish("d", "1.0.0")
    world.open(FaultyStore(world.inner, {1: fault})).tag("d", "production")
    assert [move.number for move in world.repo.tag_history("d", "production")] == [1]


def test_a_refused_move_is_an_error_and_changes_nothing(world):
    """Without permission the tag stays where it was."""
    world.publish("d", "1.0.0")
    world.publish("d", "2.0.0")
    world.repo.tag("d@1.0.0", "production")
    with pytest.raises(StoreError) as caught:
        world.open(FaultyStore(world.inner, {1: Fault.REFUSED})).tag("d", "production")
    assert not caught.value.transient
    assert world.repo.tagged("d") == {"production": "1.0.0"}


def test_a_damaged_move_is_an_integrity_error_that_names_the_tag(world):
    """Nobody is sent to another version by bytes that are no move, or are another tag's."""
    world.publish("d", "1.0.0")
    world.repo.tag("d", "production")
    world.repo.tag("d", "golden")
    key = tag_key("d", "production", 1)
    good = world.inner.objects[key]
    for bad in (good[:-10], b"", secrets.token_bytes(100), world.inner.objects[tag_key("d", "golden", 1)]):
        world.inner.objects[key] = bad
        with pytest.raises(IntegrityError) as caught:
            world.repo.version("d@production")
        assert "production" in str(caught.value)
        assert world.repo.version("d@golden").label == "1.0.0"


def test_objects_that_are_no_moves_are_passed_over(world):
    """Stray keys beside the moves, from another tool or a hand, do not hide the tag."""
    world.publish("d", "1.0.0")
    world.repo.tag("d", "production")
    for stray in ("notes.txt", "00000002", "x/00000009.json", "-1.json", "²2.json"):
        world.inner.objects[f"datasets/d/tags/production/{stray}"] = b"stray"
    assert world.repo.tagged("d") == {"production": "1.0.0"}
    assert world.repo.version("d@production").label == "1.0.0"


def test_a_tag_that_only_goes_forward_stays_at_a_descendant(world):
    """Of two writers that publish and tag, the one that tags late does not take the tag back."""
    first, second = world.publish("d"), world.publish("d")
    assert world.repo.tag(second.ref, "good", forward=True).label == "1.0.1"
    assert world.repo.tag(first.ref, "good", forward=True).label == "1.0.1"
    assert len(world.repo.tag_history("d", "good")) == 1
    third = world.publish("d")
    assert world.repo.tag(third.ref, "good", forward=True).label == "1.0.2"
    assert world.repo.tag(first.ref, "good").label == "1.0.0"
