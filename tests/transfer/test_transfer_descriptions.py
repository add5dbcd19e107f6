"""Descriptions on their way: copied as they are; where both sides described, the target's stays."""

import pytest


@pytest.fixture
def described(filled):
    """Both ends have all versions; the source has described a version twice and a dataset once."""
    source = filled.source.open()
    source.version("vision/cats@1.0.0").describe("photos")
    source.version("vision/cats@1.0.0").describe(license="MIT")
    source.describe("vision/cats", "all cats")
    source.push(filled.target.open())
    return filled


def test_they_are_copied_unchanged_and_once(described):
    """Numbers, times and authors are the source's, and later ones follow."""
    assert described.target.objects("descriptions/") == described.source.objects("descriptions/") != {}
    assert described.source.open().push(described.target.open()).descriptions == 0
    described.source.open().version("vision/cats@1.0.0").describe(owner="ben")
    report = described.source.open().push(described.target.open(), "vision/cats")
    assert (report.descriptions, report.problems) == (1, [])
    assert described.target.open().version("vision/cats@1.0.0").description.owner == "ben"


def test_a_version_alone_takes_its_description_and_that_of_its_dataset(filled):
    """Not those of other versions."""
    source = filled.source.open()
    for label in ("1.0.0", "1.0.2"):
        source.version(f"vision/cats@{label}").describe(label)
    source.describe("vision/cats", "all cats")
    assert source.push(filled.target.open(), "vision/cats@1.0.0").descriptions == 2
    assert filled.target.keys("descriptions/") == [
        "descriptions/vision/cats/00000001.json",
        "descriptions/vision/cats/versions/1.0.0/00000001.json",
    ]


def test_what_both_described_stays_as_it_is_and_is_reported(described):
    """Only a person can say which one is right; all else is transferred."""
    described.source.open().version("vision/cats@1.0.0").describe("ours")
    described.target.open().version("vision/cats@1.0.0").describe("theirs")
    assert described.source.open().push(described.target.open()).problems == []  # equally many: the target's
    described.source.open().version("vision/cats@1.0.0").describe("ours again")
    report = described.source.open().push(described.target.open())
    assert [name for name, _ in report.problems] == ["description of vision/cats@1.0.0"]
    assert "described differently" in report.problems[0][1]
    assert described.target.open().version("vision/cats@1.0.0").description.text == "theirs"
