"""The lists of datasets and of the versions of one."""

import gzip
import re
from contextlib import closing
from http.client import HTTPConnection

import pytest


def test_datasets_have_their_numbers(pages):
    """The document has what `list --json` has, and tags, sizes and runs."""
    found = {each["name"]: each for each in pages.document("datasets")["datasets"]}
    prices = found["shop/prices"]
    assert prices["latest"]["ref"] == "shop/prices@1.0.2"
    assert prices["tags"] == {"production": "1.0.2"}
    assert len(prices["sizes"]) == prices["versions"] == 3
    assert prices["sizes"][-1] == prices["latest"]["size"]
    assert found["models/cats"]["runs"] == 3
    shown = pages.page("datasets")
    assert "Prices of all products by day." in shown
    assert '<a class="tag" href="/-/version?ref=shop/prices@production">production → 1.0.2</a>' in shown


def test_names_are_filtered_and_texts_are_found(pages):
    """`q` alone filters names; with `search` it is also searched in texts and paths."""
    assert [each["name"] for each in pages.document("datasets", q="CAT vis")["datasets"]] == ["vision/cats"]
    found = pages.document("datasets", q="mended", search=1)
    assert found["datasets"] == []
    assert [each["ref"] for each in found["hits"]] == ["shop/prices@1.0.2"]
    assert "shop/prices@1.0.2" in pages.page("datasets", q="mended", search=1)
    assert pages.document("datasets", q="0007.jpg", search=1)["hits"]


def test_a_name_leads_to_its_page_first(pages):
    """Of a version or a run, once; a search that finds nothing does not offer itself again."""
    hits = pages.document("datasets", q="shop/prices@1.0.1", search=1)["hits"]
    assert [each["ref"] for each in hits].count("shop/prices@1.0.1") == 1
    assert hits[0] == {"ref": "shop/prices@1.0.1", "field": "version", "text": ""}
    assert pages.document("datasets", q="lab:1", search=1)["hits"][0]["ref"] == "lab:1"
    assert "/-/run?key=lab:1" in pages.page("datasets", q="lab:1", search=1)
    nothing = pages.page("datasets", q="zzz", search=1)
    assert "Nothing is found" in nothing
    assert "Search in texts" not in nothing
    assert "Search in texts" in pages.page("datasets", q="zzz")


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        ("TRAIN", ["lab:2", "lab:1", "lab:0"]),
        ("lab:", [f"lab:{number}" for number in range(9, -1, -1)]),
        ("4f1", ["mlflow:4f1c"]),
        ("team/x", ["mlflow:4f1c"]),
        ("mlflow:4f1c", ["mlflow:4f1c"]),
        ("none of them", []),
    ],
)
def test_runs_are_found_by_name_and_by_the_beginning_of_their_ids(pages, words, keys):
    """In the search, on the start page of lineage and in the list of runs; those of contexts, too."""
    found = pages.document("datasets", q=words, search=1)["hits"]
    assert [each["ref"] for each in found if each["field"] == "run"] == keys
    assert [each["run"] for each in pages.document("lineage", q=words)["runs"]] == keys
    assert [each["run"] for each in pages.document("runs", name=words)["runs"]] == keys


def test_two_versions_are_chosen_to_compare(pages):
    """The newest with the one before it, if nobody chooses."""
    shown = pages.page("dataset", name="vision/cats")
    assert re.findall(r'name="(\w+)" value="([^"]*)"[^>]* checked', shown) == [
        ("new", "vision/cats@1.0.1"), ("old", "vision/cats@1.0.0"),
    ]  # fmt: skip
    assert 'name="old"' not in pages.page("dataset", name="odd/names")


def test_lines_of_a_description_are_lines(pages):
    """A blank line is not shown as an escape."""
    pages.repo.version("lab/mixed").describe("One\n\nTwo")
    for shown in (pages.page("datasets"), pages.page("version", ref="lab/mixed@1.0.1")):
        assert "One\n\nTwo" in shown


def test_a_dataset_lists_its_versions_with_their_changes(pages):
    """Newest first, with the numbers of `diff` against the first parent."""
    found = pages.document("dataset", name="vision/cats")["versions"]
    assert [each["ref"] for each in found] == ["vision/cats@1.0.1", "vision/cats@1.0.0"]
    assert found[0]["changes"] == pages.repo.diff("vision/cats@1.0.0", "vision/cats@1.0.1").summary()
    assert found[0]["graph"] == {"lane": 0, "from": False, "to": [0], "past": []}
    assert found[1]["graph"] == {"lane": 0, "from": True, "to": [], "past": []}
    assert found[1]["changes"] is None


def test_bytes_that_versions_added_are_a_request_of_their_own(pages):
    """The page does not wait for them; without other datasets, they are those of `du`."""
    first = pages.document("dataset", name="vision/cats")["versions"]
    assert [each["added"] for each in first] == [None, None]
    assert 'data-load="/-/dataset?name=vision/cats&amp;page=1&amp;added=1"' in pages.page(
        "dataset", name="vision/cats"
    )
    found = pages.document("dataset", name="vision/cats", added=1)["versions"]
    expected = {each.name: each.added for each in pages.repo.du("vision/cats").versions}
    assert {each["ref"]: each["added"] for each in found} == expected
    assert "data-load" not in pages.page("dataset", name="vision/cats", added=1)
    old = pages.document("dataset", name="log/events", added=1, page=2)["versions"]
    assert all(each["added"] > 0 for each in old)


def test_versions_page(pages):
    """Thirty a page; a page that is not there is not found."""
    assert len(pages.document("dataset", name="log/events")["versions"]) == 30
    second = pages.document("dataset", name="log/events", page=2)
    assert second["place"] == {"page": 2, "pages": 2, "total": 40}
    assert second["versions"][-1]["ref"] == "log/events@1.0.0"
    assert pages.ask("/-/dataset?name=log/events&page=3").status == 404
    assert pages.ask("/-/dataset?name=log/events&page=x").status == 400


@pytest.mark.parametrize("ending", ["", ".json"])
def test_errors_say_what_to_do(pages, ending):
    """As a page and as a document, with the status of the error."""
    for path, status in (("dataset?name=none", 404), ("dataset", 400), ("nothing", 404)):
        name, _, query = path.partition("?")
        reply = pages.ask(f"/-/{name}{ending}?{query}")
        assert reply.status == status
        assert "json" in reply.headers["Content-Type"] if ending else "<h1>" in reply.text
    assert pages.reports == []


def test_texts_of_datasets_are_text(pages):
    """Neither a message nor a readme becomes HTML of its own."""
    for found in (pages.page("datasets"), pages.page("dataset", name="odd/names")):
        assert "<script>alert" not in found
        assert "&lt;script&gt;alert" in found
    prices = pages.page("dataset", name="shop/prices")
    assert "<script>alert" not in prices
    assert "javascript:alert(1)</p>" in prices or 'href="javascript' not in prices
    assert "example.org/x.png" not in prices


def test_every_page_has_a_strict_policy(pages):
    """No script but the package's own, in no frame."""
    for path in ("/-/", "/-/dataset?name=shop/prices", "/-/nothing"):
        policy = pages.ask(path).headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
    assert pages.ask("/-/static/page.js").status == 200
    assert pages.ask("/-/static/../site.py").status == 404


def test_pages_are_compressed_on_request(pages):
    """For those who reach the server by a network."""
    with closing(HTTPConnection("127.0.0.1", pages.server.port)) as connection:
        connection.request("GET", "/-/dataset?name=log/events", headers={"Accept-Encoding": "gzip"})
        response = connection.getresponse()
        body = response.read()
    assert response.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body).decode() == pages.page("dataset", name="log/events")
    assert len(body) < 10_000
