"""The difference of two versions, and of one file in them."""

import pytest

import dataver
from dataver.ui import diff as page_module
from ui.example import HOSTILE


def test_a_version_is_compared_with_its_first_parent(pages):
    """The numbers of `diff --json`, each change with both entries, grouped by folder."""
    found = pages.document("diff", new="vision/cats")
    assert (found["old"]["ref"], found["new"]["ref"]) == ("vision/cats@1.0.0", "vision/cats@1.0.1")
    assert found["summary"] == pages.repo.version("vision/cats").diff().summary()
    assert found["counts"] == {"added": 1, "removed": 1, "modified": 3, "renamed": 1}
    renamed = next(each for each in found["changes"] if each["kind"] == "renamed")
    assert (renamed["old"]["path"], renamed["new"]["path"]) == ("train/0007.jpg", "test/0007.jpg")
    assert [each["name"] for each in found["folders"]] == ["train"]
    assert found["choices"] == ["vision/cats@1.0.1", "vision/cats@1.0.0"]
    assert "is now" in pages.page("diff", new="vision/cats")


def test_any_two_versions_are_compared(pages):
    """Also against the order of time, and of two datasets."""
    back = pages.document("diff", old="vision/cats@1.0.1", new="vision/cats@1.0.0")
    assert back["counts"]["removed"] == back["counts"]["added"] == 1
    assert pages.document("diff", old="models/cats", new="vision/cats")["counts"]["removed"] == 1
    same = pages.page("diff", old="vision/cats", new="vision/cats")
    assert "The versions have the same files." in same


def test_changes_page_and_are_selected(pages):
    """200 a page; by kind, and below a folder."""
    first = pages.document("diff", new="odd/names")
    assert first["old"] is None
    assert len(first["changes"]) == 200
    assert first["place"]["pages"] == 7
    many = pages.document("diff", new="odd/names", under="many", kind="added", page=6)
    assert many["counts"]["added"] == 1_200
    assert many["changes"][-1]["path"] == "many/01199.txt"
    assert many["folders"] == []
    assert pages.document("diff", new="odd/names", kind="removed")["changes"] == []
    assert pages.document("diff", new="vision/cats", under="test")["changes"][0]["kind"] == "renamed"
    assert pages.ask("/-/diff?new=odd/names&page=8").status == 404
    assert pages.ask("/-/diff?new=odd/names&kind=odd").status == 400


def test_a_difference_is_made_once_for_its_pages(pages, monkeypatch):
    """The last one is kept; another one replaces it."""
    made, make = [], dataver.Version.diff
    monkeypatch.setattr(
        dataver.Version, "diff", lambda self, *given: made.append(self.ref) or make(self, *given)
    )
    for name in ("odd/names", "odd/names", "vision/cats", "odd/names"):
        pages.document("diff", new=name, kind="added")
        pages.document("diff", new=name)
    assert made == ["odd/names@1.0.0", "vision/cats@1.0.0", "odd/names@1.0.0"]


def test_names_of_files_are_text(pages):
    """Hostile names are shown, and lead to their files."""
    found = pages.page("diff", new="odd/names", under="strange")
    assert "<img" not in found.replace('<img src="/-/static/', "")
    assert "evil\\u202egpj.txt" in found
    for name in HOSTILE[:3]:
        assert pages.document("diff", new="odd/names", path=f"strange/{name}")["kind"] == "added"


def test_rows_of_a_table(pages):
    """The document of `diff --json`, with both values of changed cells."""
    found = pages.document("diff", old="shop/prices@1.0.0", new="shop/prices@1.0.1", path="prices.parquet")
    content = found["content"]
    with pages.repo.diff("shop/prices@1.0.0", "shop/prices@1.0.1").content("prices.parquet") as expected:
        assert content["rows"] == expected.rows
        assert content["changed"][0]["cells"] == expected.values(1)["changed"][0]["cells"]
    assert (len(content["changed"]), len(content["added"]), content["key"]) == (12, 40, ["id"])
    assert content["added"][0]["note"] is None or len(content["added"][0]["note"]) <= 401
    few = pages.page("diff", old="shop/prices@1.0.0", new="shop/prices@1.0.1", path="prices.parquet", items=5)
    assert "… and 35 added rows more" in few
    assert "fig &lt;b&gt;" in few


def test_columns_of_a_table(pages):
    """Added, dropped, renamed and retyped ones, and drift; a key may be chosen."""
    content = pages.document("diff", new="lab/mixed", path="table.parquet")["content"]
    assert content["columns"]["renamed"] == [{"old": "name", "new": "label"}]
    assert content["columns"]["retyped"] == [{"name": "count", "old": "int64", "new": "string"}]
    assert content["moved"][0]["name"] == "value"
    assert content["moved"][0]["drift"] > 0.25
    page = pages.page("diff", new="lab/mixed", path="table.parquet")
    assert "\u2212 old" in page
    assert "&lt;i&gt;0" in page
    keyed = pages.document("diff", new="lab/mixed", path="table.parquet", key="count")["content"]
    assert keyed["key"] == ["count"]
    assert keyed["keys"] == ["key", "value", "count"]
    wrong = pages.page("diff", new="lab/mixed", path="table.parquet", key="none")
    assert "key" in wrong


def test_values_lines_and_tensors(pages):
    """JSON by path, text with the numbers of lines, tensors by name."""
    json = pages.document("diff", new="lab/mixed", path="settings.json")["content"]
    assert {(each["op"], each["path"]) for each in json["changes"]} == {
        ("replace", "/rate"), ("replace", "/<b>/2"), ("remove", "/old"), ("add", "/new"),
    }  # fmt: skip
    lines = pages.document("diff", new="lab/mixed", path="notes.txt")["content"]["diff"]
    assert {"mark": "+", "old": None, "new": 21, "text": "<script>alert('text')</script>"} in lines
    assert {"mark": " ", "old": 23, "new": 23, "text": "line 22"} in lines
    assert "<script>alert" not in pages.page("diff", new="lab/mixed", path="notes.txt")
    tensors = pages.document("diff", new="lab/mixed", path="model.safetensors")["content"]
    assert [each["name"] for each in tensors["changes"]] == ["head", "tail", "weight"]
    assert "binary, not compared" in pages.page("diff", new="lab/mixed", path="small.bin")


def test_images_are_shown_both(pages):
    """From their own addresses, beside the share of pixels that differ."""
    page = pages.page("diff", new="vision/cats", path="train/0001.jpg")
    for label in ("1.0.0", "1.0.1"):
        assert f'src="/vision/cats@{label}/train/0001.jpg"' in page
    assert "of the pixels differ" in page


@pytest.mark.parametrize(
    ("path", "kind", "text"),
    [
        ("train/0008.jpg", "removed", "Only vision/cats@1.0.0 has this file."),
        ("train/0061.png", "added", "Only vision/cats@1.0.1 has this file."),
        ("train/0007.jpg", "renamed", "The content is the same"),
        ("train/0002.jpg", "modified", "of the pixels differ"),
        ("labels.csv", "unchanged", "the same content"),
    ],
)
def test_a_file_of_one_version_or_both(pages, path, kind, text):
    """Nothing to compare is said, and where the file is."""
    assert pages.document("diff", new="vision/cats", path=path)["kind"] == kind
    assert text in pages.page("diff", new="vision/cats", path=path)


def test_large_files_are_not_read(pages, monkeypatch):
    """Beyond the limit the page shows the command."""
    monkeypatch.setattr(page_module, "_READ", 1_000)
    page = pages.page("diff", new="lab/mixed", path="large.bin")
    assert "larger than 1.0 kB together" in page
    assert "dataver diff" in page


def test_what_does_not_exist_is_not_found(pages):
    """Versions and paths."""
    for query in ("new=vision/none", "new=vision/cats&old=x@9", "new=vision/cats&path=none"):
        assert pages.ask(f"/-/diff?{query}").status == 404
    assert pages.ask("/-/diff").status == 400


def test_further_columns_are_shown_on_demand(pages):
    """The address has their number."""
    few = pages.document("diff", new="lab/mixed", path="table.parquet", columns=2)["content"]
    all_of_them = pages.document("diff", new="lab/mixed", path="table.parquet")["content"]
    assert few["names"] == all_of_them["names"][:2]
    assert few["further"] == len(all_of_them["names"]) - 2 > 0
    text = pages.page("diff", new="lab/mixed", path="table.parquet", columns=2)
    assert "columns=400" in text
    assert "columns=400" not in pages.page("diff", new="lab/mixed", path="table.parquet")
