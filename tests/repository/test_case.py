"""Names that differ in upper and lower case only: refused when made, told apart when read."""

import pytest

from dataver.errors import InvalidInput, NotFound
from dataver.storage import MemoryStore


class Folding(MemoryStore):
    """Finds an object whatever the case of its key's letters, as disks of macOS and Windows do."""

    def _object(self, key):
        same = next((each for each in self.objects if each.casefold() == key.casefold()), key)
        return super()._object(same)

    def list(self, prefix="", after=None):
        for info in super().list(""):
            if info.key.casefold().startswith(prefix.casefold()):
                yield info._replace(key=prefix + info.key[len(prefix) :])


def test_a_dataset_that_differs_from_another_in_case_only_is_refused(world):
    """By `create`, by `sync`, and for each part of the name; the same name and others are fine."""
    world.publish("vision/cats")
    for name in ("vision/Cats", "Vision/cats", "VISION/dogs"):
        with pytest.raises(InvalidInput, match="upper and lower case only"):
            world.repo.create(name)
        with pytest.raises(InvalidInput, match="upper and lower case only"):
            world.publish(name)
    assert [each.name for each in world.repo.datasets()] == ["vision/cats"]
    assert world.repo.drafts() == []
    for name in ("vision/cats", "vision/catsup", "sound", "vision/dogs/Cats"):
        world.repo.create(name)


def test_a_label_that_differs_from_another_in_case_only_is_refused(world):
    """As a label of a version and as a tag."""
    world.publish("d", label="July")
    with pytest.raises(InvalidInput, match="'july' differs from the label 'July'"):
        world.publish("d", label="july")
    with pytest.raises(InvalidInput, match="'JULY' differs from the label 'July'"):
        world.repo.tag("d@July", "JULY")
    assert world.repo._core.records.labels("d") == ["July"]
    assert world.publish("d", label="August").label == "August"


def test_a_tag_that_differs_from_another_in_case_only_is_refused(world):
    """Also from one that was removed, whose moves stay; and a label that differs from a tag in case only."""
    version = world.publish("d")
    world.repo.tag(version.ref, "Prod")
    with pytest.raises(InvalidInput, match="'prod' differs from the tag 'Prod'"):
        world.repo.tag(version.ref, "prod")
    with pytest.raises(InvalidInput, match="'PROD' differs from the tag 'Prod'"):
        world.publish("d", label="PROD")
    world.repo.untag("d", "Prod")
    with pytest.raises(InvalidInput, match="'prod' differs from the tag 'Prod'"):
        world.repo.tag(version.ref, "prod")
    world.repo.tag(version.ref, "Prod")
    assert list(world.repo._core.tags.current("d")) == ["Prod"]


def test_a_store_that_folds_case_gives_no_other_tag(world):
    """The tag that was written is not there, the one that is there is named, and neither is moved."""
    world.inner.__class__ = Folding
    version = world.publish("d")
    world.repo.tag(version.ref, "Prod")
    with pytest.raises(NotFound) as caught:
        world.open(world.inner).version("d@prod")
    assert "Prod" in f"{caught.value.message} {caught.value.hint}"
    with pytest.raises(InvalidInput, match="differs from the tag 'Prod'"):
        world.repo.tag(version.ref, "prod")
    with pytest.raises(NotFound):
        world.repo.untag("d", "prod")
    assert world.repo.version("d@Prod").label == "1.0.0"


def test_a_store_that_folds_case_gives_no_other_version(world):
    """The name that was written is not there; the one that is there is named; nothing is called damaged."""
    world.inner.__class__ = Folding
    world.publish("cats", label="July")
    for ref in ("Cats", "cats@july", "CATS@JULY"):
        with pytest.raises(NotFound, match="no version") as caught:
            world.open(world.inner).version(ref)
        assert "July" in f"{caught.value.message} {caught.value.hint}"
    assert world.repo.version("cats@July").label == "July"
    with pytest.raises(InvalidInput, match="upper and lower case only"):
        world.repo.create("Cats")
