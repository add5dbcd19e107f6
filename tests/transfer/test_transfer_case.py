"""Names that differ in upper and lower case only: a move makes none in the target, as `create` does not."""

import pytest

import dataver
from dataver.repository.layout import DATASETS


def moved(world, how):
    """Move everything, by one of the three ways."""
    source, target = world.source.open(), world.target.open()
    if how == "mirror":
        return dataver.mirror(source, target)
    names = [each.name for each in source.datasets()]
    return source.push(target, names) if how == "push" else target.pull(source, names)


@pytest.mark.parametrize("how", ["push", "pull", "mirror"])
def test_a_dataset_that_differs_in_case_only_is_left_out(filled, how):
    """It is named as a problem, all others are moved; its tags and tombstones stay away, too."""
    filled.publish("Vision/dogs", filled.target.open())
    filled.publish("sound")
    filled.publish("vision/cats")
    filled.source.open().delete("vision/cats@1.0.3")
    report = moved(filled, how)
    problems = dict(report.problems)
    refused = "'vision/cats' differs from the dataset 'Vision/dogs' in upper and lower case only"
    assert all(refused in problems[f"vision/cats@1.0.{number}"] for number in range(3))
    assert {each.ref for each in report.versions} == {"text@1.0.0", "sound@1.0.0"}
    assert not filled.target.keys(f"{DATASETS}vision/")


@pytest.mark.parametrize("how", ["push", "mirror"])
def test_a_label_or_tag_that_differs_in_case_only_is_left_out(world, how):
    """From a label or a tag of the target; the same name is no problem."""
    world.write("file", 1000)
    for repository, labels, tags in (
        (world.source.open(), ("July", "August", "prod"), ("best", "Best2", "AUGUST2")),
        (world.target.open(), ("july", "august2"), ("PROD", "Best", "Best2")),
    ):
        for label in labels:
            world.write("file", 1000)
            version = world.publish("d", repository, label=label)
        for tag in tags:
            repository.tag(version.ref, tag)
    report = moved(world, how)
    assert [each.ref for each in report.versions] == ["d@August"]
    problems = dict(report.problems)
    assert "differs from 'july'" in problems["d@July"]
    assert "differs from 'PROD'" in problems["d@prod"]
    assert {"tag d@best", "tag d@AUGUST2"} <= problems.keys()
    names = [key.split("/")[3].removesuffix(".json") for key in world.target.keys(f"{DATASETS}d/")]
    assert len({name.casefold() for name in names}) == len(set(names))
    assert moved(world, how).versions == []
