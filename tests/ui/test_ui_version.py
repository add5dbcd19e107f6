"""The page of a version: its facts, its folders, and how to use it."""

import re
import shlex
from html import unescape

import pytest

from dataver.ui import folder


def test_a_version_has_its_facts(pages):
    """Name, origin, runs, kinds of files and readme."""
    found = pages.document("version", ref="shop/prices@1.0.2")
    assert found["version"]["tags"] == ["production"]
    assert found["version"]["description"]["license"] == "CC-BY-4.0"
    assert [each["ref"] for each in found["version"]["parents"]] == ["shop/prices@1.0.1"]
    assert {each["suffix"] for each in found["about"]["kinds"]} == {".md", ".parquet", ".csv", ".json"}
    assert not found["about"]["fetched"]
    shown = pages.page("version", ref="shop/prices@1.0.2")
    assert "<h1>Prices</h1>" in shown
    assert "<script>alert" not in shown
    assert "CC-BY-4.0" in shown
    older = pages.document("version", ref="shop/prices@1.0.1")["about"]
    assert older["children"] == {"total": 1, "first": ["shop/prices@1.0.2"]}
    assert older["runs"]["total"] == len(pages.repo.lineage.runs(version="shop/prices@1.0.1"))
    assert [each["role"] for each in older["runs"]["first"]] == ["output"] + ["input"] * 4
    assert sum(older["runs"]["roles"].values()) == older["runs"]["total"]
    assert "made by 1, read by " in pages.page("version", ref="shop/prices@1.0.1")


def test_names_page_by_rank_in_both_directions(pages):
    """Each name once, and the page before leads back; the last page is full."""
    address = {"ref": "odd/names@1.0.0", "path": "many"}
    seen, at = [], 0
    while at is not None:
        page = pages.document("version", **address, **({"from": at} if at else {}))["folder"]
        seen += [each["name"] for each in page["rows"]]
        if at:
            before = pages.document("version", **address, back=at)["folder"]["place"]
            assert (before["first"], before["last"]) == (at - 99, at)
        at = page["place"]["next"]
    assert seen == [f"{number:05}.txt" for number in range(1_200)]
    assert pages.document("version", **address, back=1_200)["folder"]["place"]["first"] == 1_101
    for beyond in ("from=1200", "back=1201"):
        assert pages.ask(f"/-/version?ref=odd/names@1.0.0&path=many&{beyond}").status == 404


def test_a_grid_has_the_thumbnails_of_profiles(pages, monkeypatch):
    """Others are the pictures themselves, if they are small; a list needs none."""
    address = {"ref": "vision/cats@1.0.1", "path": "train"}
    shown = pages.page("version", **address)
    assert shown.count('src="data:image/jpeg;base64,') > 40
    assert 'src="/vision/cats' not in shown
    assert 'data-image="/vision/cats@1.0.1/train/0001.jpg"' in shown
    assert "thumbnail" not in pages.document("version", view="list", **address)["folder"]["rows"][0]
    monkeypatch.setattr(folder, "_PROFILES", 10)
    shown = pages.page("version", **address)
    assert 'loading="lazy" decoding="async" src="/vision/cats@1.0.1/train/0001.jpg"' in shown
    assert "base64" not in shown


def test_pages_do_not_cut_subfolders(pages):
    """A page that an address begins inside a subfolder begins at the subfolder."""
    found = pages.document("version", ref="odd/names@1.0.0", **{"from": 900})["folder"]
    assert found["rows"][0]["name"] == "many"
    assert found["rows"][0]["files"] == 1_200
    assert found["place"]["first"] == 1 + pages.repo.version("odd/names@1.0.0").tree.rank("many/")
    assert pages.document("version", ref="odd/names@1.0.0", back=900)["folder"]["place"]["first"] == 1


def test_names_are_filtered_by_their_beginning(pages):
    """Without a look at the others; what is not there has no rows."""
    found = pages.document("version", ref="odd/names@1.0.0", path="many", begins="0110")["folder"]
    assert [each["name"] for each in found["rows"]] == [f"{number:05}.txt" for number in range(1_100, 1_110)]
    assert found["files"] == 1_200
    assert found["place"]["entries"] == 10
    assert pages.document("version", ref="odd/names@1.0.0", begins="many/0")["folder"]["rows"] != []
    assert "No name here begins with" in pages.page("version", ref="odd/names@1.0.0", begins="zz")


def test_links_say_where_they_lead(pages):
    """A link to a file or a folder has its target; one that leads out of the version leads nowhere."""
    rows = {each["name"]: each for each in pages.document("version", ref="odd/names@1.0.0")["folder"]["rows"]}
    assert rows["link.npy"]["target"] == "matrix.npy"
    found = pages.document("version", ref="odd/names@1.0.0", path="link.npy")["file"]
    assert found["leads"] == "matrix.npy"
    assert "matrix.npy" in pages.page("version", ref="odd/names@1.0.0", path="link.npy")


def test_hostile_names_are_text(pages):
    """Each is shown, and its page is found."""
    shown = pages.page("version", ref="odd/names@1.0.0", path="strange")
    assert "<img src=x" not in shown
    assert "\u202e" not in shown
    for each in pages.document("version", ref="odd/names@1.0.0", path="strange")["folder"]["rows"]:
        page = pages.page("version", ref="odd/names@1.0.0", path=each["path"])
        assert "<img src=x" not in page
        assert "\u202e" not in page


def used(pages, path, ref="odd/names@1.0.0"):
    """Return the texts to copy by their names."""
    page = pages.page("version", ref=ref, path=path)
    return {
        name: unescape(text)
        for name, text in re.findall(r'aria-label="([^"]*)"><code>(.*?)</code>', page, re.DOTALL)
    }


def test_use_it_quotes_what_it_copies(pages):
    """Commands and code have names as literals."""
    path = "strange/quote'\"quote.txt"
    use = used(pages, path)
    assert use["Command line"].endswith(f"cat odd/names@1.0.0 {shlex.quote(path)} > {shlex.quote(path[8:])}")
    assert use["Python"].endswith(f"read({path!r})")
    use = used(pages, "strange/evil\u202egpj.txt")
    assert r"$'strange/evil\u202egpj.txt'" in use["Command line"]
    assert used(pages, "strange")["PyTorch"].count("include='strange'") == 1
    assert list(used(pages, "prices.parquet", "shop/prices@1.0.2")) == [
        "Command line", "Python", "pandas", "DuckDB", "PyTorch", "Mount",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["Python", "pandas", "DuckDB", "PyTorch"])
def test_the_code_that_is_copied_runs(pages, name):
    """As it is shown, for a table."""
    pytest.importorskip({"PyTorch": "torch", "DuckDB": "duckdb"}.get(name, "pandas"))
    exec(used(pages, "prices.parquet", "shop/prices@1.0.2")[name], {})  # what the page shows


def test_what_is_missing_is_said(pages):
    """A version, a path and a page that are not there."""
    for query in ("ref=none@1.0.0", "ref=shop/prices@9.9.9", "ref=shop/prices@1.0.2&path=none"):
        assert pages.ask(f"/-/version?{query}").status == 404
    assert pages.ask("/-/version").status == 400
