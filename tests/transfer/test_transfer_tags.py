"""Tags on their way: history where it can go along, one new move where rows have parted."""

import dataver


def moves(end, dataset="vision/cats", tag="production"):
    return [move.label for move in end.open().tag_history(dataset, tag)]


def test_a_row_that_goes_on_is_copied_as_it_is(filled):
    """Numbers, times and authors of later moves are the source's, byte by byte; so is a removal."""
    filled.source.open().push(filled.target.open())
    source = filled.source.open()
    source.tag("vision/cats@1.0.2", "production")
    source.untag("vision/cats", "production")
    report = filled.source.open().push(filled.target.open(), "vision/cats")
    assert report.tags == 2
    assert filled.target.objects("datasets/") == filled.source.objects("datasets/")
    assert moves(filled.target) == ["1.0.0", "1.0.1", "1.0.2", None]


def test_rows_that_parted_get_one_new_move(filled):
    """The target's history stays, and its last move leads where the source's tag points."""
    filled.source.open().push(filled.target.open(), "vision/cats@1.0.0")
    filled.target.open().tag("vision/cats@1.0.0", "production")
    report = filled.source.open().push(filled.target.open())
    assert report.tags == 1
    assert moves(filled.target) == ["1.0.0", "1.0.1"]
    assert filled.target.open().tag_history("vision/cats", "production")[1].author == "ana"
    assert filled.source.open().push(filled.target.open()).tags == 0
    filled.source.open().untag("vision/cats", "production")
    assert filled.source.open().push(filled.target.open()).tags == 1
    assert moves(filled.target) == ["1.0.0", "1.0.1", None]
    assert filled.source.open().push(filled.target.open()).tags == 0


def test_a_tag_that_was_moved_on_in_the_target_stays_unless_mirrored(filled):
    """A push does not take it back; a mirror does, with a move of its own, and only once."""
    filled.source.open().push(filled.target.open())
    filled.target.open().tag("vision/cats@1.0.2", "production")
    assert filled.source.open().push(filled.target.open()).tags == 0
    assert moves(filled.target)[-1] == "1.0.2"
    assert dataver.mirror(filled.source.open(), filled.target.open()).tags == 1
    assert moves(filled.target) == ["1.0.0", "1.0.1", "1.0.2", "1.0.1"]
    assert dataver.mirror(filled.source.open(), filled.target.open()).tags == 0


def test_a_tag_whose_version_did_not_arrive_is_named(filled):
    """Its label belongs to another version in the target: the tag is not put on that one."""
    filled.write("mine", 10)
    target = filled.target.open()
    for number in range(2):
        filled.write("mine", 10 + number)
        filled.publish("vision/cats", target)
    report = filled.source.open().push(filled.target.open())
    named = dict(report.problems)
    versions = {f"vision/cats@1.0.{number}" for number in range(3)}  # the last for its parent's sake
    assert set(named) == {*versions, "tag vision/cats@production"}
    assert "1.0.1" in named["tag vision/cats@production"]
    assert moves(filled.target) == []


def test_a_damaged_move_is_named_and_the_rest_arrives(filled):
    """The versions come, the tag does not."""
    key = "datasets/vision/cats/tags/production/00000002.json"
    filled.source.inner.objects[key] = b"{}"
    report = filled.source.open().push(filled.target.open())
    assert [name for name, _ in report.problems] == ["tag vision/cats@production"]
    assert len(report.versions) == 4
    assert moves(filled.target) == []
