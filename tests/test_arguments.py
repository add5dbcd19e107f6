"""Bad numbers and words: one sentence, and the values that are accepted."""

import math
from datetime import timedelta
from pathlib import Path

import pytest

import dataver
from dataver.arguments import check_range, check_word
from dataver.errors import InvalidInput


def test_a_number_outside_its_range_is_refused() -> None:
    """Both ends belong to it; None and infinity follow the same rule as other values."""
    for value in (None, 0, 0.5, 1):
        check_range("dead", value, 0, 1)
    check_range("limit", 10**9, 1)
    check_range("grace", timedelta(0), timedelta(0))
    for value in (-0.1, 3, math.nan, math.inf):
        with pytest.raises(InvalidInput) as caught:
            check_range("dead", value, 0, 1)
        assert (
            caught.value.message == f"`dead` is {value}."
            and caught.value.hint == "choose a value from 0 to 1"
        )
    with pytest.raises(InvalidInput, match=r"`grace` is -1 day, 0:00:00\."):
        check_range("grace", timedelta(-1), timedelta(0))


def test_an_unknown_word_is_refused_with_the_known_ones() -> None:
    """As a ValueError, too."""
    check_word("bump", "minor", ("major", "minor"))
    check_word("bump", None, ("major", "minor"))
    with pytest.raises(ValueError, match="unknown `bump` 'x'") as caught:
        check_word("bump", "x", ("major", "minor"))
    assert str(caught.value).endswith("hint: choose major or minor")


def test_plans_refuse_what_their_commands_refuse(tmp_path: Path) -> None:
    """A plan of a negative grace period would show objects that uploads still need."""
    repo = dataver.init(tmp_path / "repo")
    with pytest.raises(InvalidInput):
        repo.plan_gc(grace=timedelta(-1))
    with pytest.raises(InvalidInput):
        repo.plan_repack(dead=3)
    with pytest.raises(InvalidInput):
        repo.plan_delete("d", older_than=timedelta(-1))
