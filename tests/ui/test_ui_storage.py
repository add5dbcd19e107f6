"""What datasets, versions, folders and files take."""

from itertools import pairwise

import pytest

from dataver.ui.treemap import squares


def test_datasets_have_the_numbers_of_du(pages):
    """Largest first, with what the whole repository stores."""
    found, report = pages.document("storage"), pages.repo.du()
    assert found["usage"]["size"] == report.stored
    assert found["usage"]["needed"] == report.needed
    stored = {each.name: each.total for each in report.datasets}
    assert {each["name"]: each["stored"] for each in found["rows"]} == stored
    assert found["rows"][0]["name"] == "lab/mixed"
    assert "measured again after 60 s" in pages.page("storage")


def test_versions_of_a_dataset(pages):
    """What each needs alone, shares and added; newest first."""
    found = pages.document("storage", name="vision/cats")
    new, old = found["rows"]
    assert (new["name"], old["name"]) == ("vision/cats@1.0.1", "vision/cats@1.0.0")
    assert new["stored"] == new["shared"] + new["unique"]
    assert old["added"] > new["added"] > 0
    assert pages.document("storage", name="log/events")["place"]["total"] == 40
    assert pages.ask("/-/storage?name=none").status == 404


def test_it_is_measured_once(pages, monkeypatch):
    """Several pages show one measurement."""
    first = pages.document("storage")["measured"]
    assert pages.document("storage", name="odd/names")["measured"] == first


def test_the_map_of_a_version(pages):
    """Folders with their totals and what is large in them; a folder has its own map."""
    found = pages.document("storage", ref="vision/cats@1.0.0")["map"]
    version = pages.repo.version("vision/cats@1.0.0")
    assert (found["files"], found["size"]) == (65, version.size)
    train = next(each for each in found["boxes"] if each["path"] == "train")
    assert train["size"] == sum(each.size for each in version.entries("train/"))
    assert sum(each["size"] for each in train["inside"]) == train["size"]
    assert train["inside"][-1]["path"] is None
    inner = pages.document("storage", ref="vision/cats@1.0.0", path="train")["map"]
    assert sum(each["size"] for each in inner["boxes"]) == inner["size"] == train["size"]
    assert pages.ask("/-/storage?ref=vision/cats&path=none").status == 404


def test_hostile_names_in_a_map(pages):
    """Names are text, and links lead to them."""
    found = pages.page("storage", ref="odd/names", path="strange")
    assert "<img src=x" not in found
    assert "path=strange/%3Cimg" in found


def test_shared_parts_of_a_file(pages):
    """An insertion in the middle of a large file is stored anew, and the rest is shared."""
    found = pages.document("storage", ref="lab/mixed", path="large.bin")["file"]
    assert found["before"] == "lab/mixed@1.0.0"
    assert 0.9 < found["shared"] / found["entry"]["size"] < 1
    parts = sorted(found["parts"])
    assert (parts[0][0], parts[-1][1]) == (0, found["entry"]["size"])
    assert all(stop < start for (_, stop), (start, _) in pairwise(parts))
    assert len(parts) > 1
    assert sum(stop - start for start, stop in parts) == found["shared"]
    assert "% is shared with lab/mixed@1.0.0" in pages.page("storage", ref="lab/mixed", path="large.bin")


@pytest.mark.parametrize(
    ("ref", "path", "text"),
    [
        ("lab/mixed@1.0.0", "large.bin", "is the first version"),
        ("vision/cats@1.0.1", "train/0061.png", "has no file of this path"),
        ("vision/cats@1.0.1", "labels.csv", "100.0 % is shared"),
        ("lab/mixed@1.0.1", "small.bin", "0.0 % is shared"),
    ],
)
def test_files_without_an_earlier_one(pages, ref, path, text):
    """The page says why it shares nothing."""
    assert text in pages.page("storage", ref=ref, path=path)


def test_boxes_fill_their_map():
    """Areas are as the sizes, boxes do not overlap, and they are near squares."""
    items = [{"size": size} for size in (6, 6, 4, 3, 2, 2, 1, 0)]
    found = list(squares(items, (0, 0, 600, 400)))
    assert len(found) == 7
    for each, (left, top, width, height) in found:
        assert width * height == pytest.approx(each["size"] * 10_000)
        assert left + width <= 600.01
        assert top + height <= 400.01
        assert max(width / height, height / width) < 3
    assert list(squares([], (0, 0, 6, 4))) == []
