"""The lineage around a version or a run, and of everything."""

from urllib.parse import parse_qs

import pytest


def _nodes(document):
    return {each["key"] or each["title"]: each for each in document["nodes"]}


def test_alike_runs_are_one_group_that_lists_its_members(pages):
    """Seven runs that read one version are one node; those that made models stay apart."""
    found = pages.document("lineage", ref="shop/prices@1.0.1")
    nodes = _nodes(found)
    assert nodes["7 runs"]["members"] == 7
    assert {"lab:0", "lab:1", "lab:2", "shop/prices@1.0.2"} <= nodes.keys()
    assert not found["large"]
    group = pages.document("lineage", ref="shop/prices@1.0.1", at=nodes["7 runs"]["id"])
    assert sorted(each["key"] for each in group["listed"]) == [f"lab:{number}" for number in range(3, 10)]
    assert "sweep 5" in pages.page("lineage", ref="shop/prices@1.0.1", at=nodes["7 runs"]["id"])
    some = pages.document("lineage", ref="shop/prices@1.0.1", at=nodes["7 runs"]["id"], q="sweep 4")
    assert [each["key"] for each in some["listed"]] == ["lab:4"]
    out = pages.document("lineage", ref="shop/prices@1.0.1", out=some["listed"][0]["id"])
    assert _nodes(out)["6 runs"]["members"] == 6
    assert "lab:4" in _nodes(out)
    assert "Group again" in pages.page("lineage", ref="shop/prices@1.0.1", out=some["listed"][0]["id"])


def test_causes_are_left_of_effects(pages):
    """Every edge of the drawing leads to the right, and no node covers another one."""
    found = pages.document("lineage", run="lab:1", hops=3)
    places = [(each["x"], each["y"]) for each in found["nodes"]]
    assert len(set(places)) == len(places)
    for source, target, _ in found["edges"]:
        assert places[source][0] < places[target][0]
    assert len(found["paths"]) == len(found["edges"])


def test_steps_and_directions_are_in_the_address(pages):
    """One step less has fewer nodes; without results the start is the last node."""
    one, two = (pages.document("lineage", ref="vision/cats@1.0.1", hops=hops) for hops in (1, 2))
    assert one["place"]["total"] < two["place"]["total"]
    origins = pages.document("lineage", ref="vision/cats@1.0.1", down=0)
    assert all(origins["nodes"][source]["id"] != origins["start"] for source, _, _ in origins["edges"])
    assert pages.ask("/-/lineage?ref=vision/cats&hops=x").status == 400
    assert pages.ask("/-/lineage?ref=none@1").status == 404


def test_impact_is_marked_with_its_reasons(pages):
    """As `lineage impact` finds it: certain, perhaps, or made again."""
    expected = pages.repo.lineage.impact("vision/cats@1.0.0")
    found = pages.document("lineage", ref="vision/cats@1.0.0", impact=1, hops=4)
    counts = found["impact"]
    runs = {mark: sum(certain == (mark == "tainted") for *_, certain in expected.runs) for mark in counts}
    assert counts["tainted"]["version"] == len(expected.versions) - len(expected.possible)
    assert counts["tainted"]["run"] == runs["tainted"] == 3
    assert counts["perhaps"] == {"version": len(expected.possible), "run": runs["perhaps"]}
    assert _nodes(found)["vision/cats@1.0.0"]["mark"] == "tainted"
    run = _nodes(found)["lab:0"]
    assert run["mark"] == "tainted"
    shown = pages.page("lineage", ref="vision/cats@1.0.0", impact=1, at=run["id"])
    assert "Affected: read vision/cats@1.0.0" in shown
    assert f"{counts['tainted']['version']} versions and 3 runs affected" in shown


def test_a_node_is_shown_in_detail(pages):
    """Files and bytes of a version, outcome and time of a run, with links."""
    nodes = _nodes(pages.document("lineage", run="lab:1"))
    version = pages.document("lineage", run="lab:1", at=nodes["vision/cats@1.0.1"]["id"])["selected"]
    assert version["values"]["files"] == pages.repo.version("vision/cats@1.0.1").file_count
    text = pages.page("lineage", run="lab:1", at=nodes["lab:1"]["id"])
    assert "finished" in text
    assert "/-/run?key=lab:1" in text


def test_where_to_start(pages):
    """The newest versions and runs, those with the words in their names, and an exact name."""
    newest = pages.document("lineage")
    assert newest["versions"][0]["ref"].startswith("models/cats@")
    assert newest["runs"][0]["run"] == "lab:9"
    found = pages.document("lineage", q="lab:3")
    assert [each["key"] for each in found["exact"]] == ["lab:3"]
    assert [each["ref"] for each in pages.document("lineage", q="price")["versions"]] == ["shop/prices@1.0.2"]
    assert "shop/prices@1.0.0" in pages.page("lineage", q="shop/prices@1.0.0")


def test_all_of_it_is_listed_and_drawn_by_the_script(pages):
    """Every version and run, in pages of a list that can be searched."""
    found = pages.document("lineage", all=1)
    assert found["large"]
    assert len(found["nodes"]) == found["place"]["total"]
    assert {"odd/names@1.0.0", "lab:0"} <= _nodes(found).keys()
    assert "canvas" in pages.page("lineage", all=1)
    assert [each["key"] for each in pages.document("lineage", all=1, q="odd")["listed"]] == [
        "odd/names@1.0.0"
    ]


@pytest.mark.parametrize("query", [{"run": "lab:1"}, {"ref": "shop/prices@1.0.1", "impact": 1}])
def test_every_link_of_a_drawing_leads_somewhere(pages, query):
    """Nodes, their centres and the switches."""
    text = pages.page("lineage", **query)
    links = {part.split('"')[0].replace("&amp;", "&") for part in text.split('href="/-/lineage?')[1:]}
    links |= {part.split('"')[0].replace("&amp;", "&") for part in text.split('data-centre="/-/lineage?')[1:]}
    assert len(links) > 12
    for link in links:
        assert pages.document("lineage", **{name: value[0] for name, value in parse_qs(link).items()})["here"]


def test_impact_of_one_file(pages):
    """As `lineage impact --include` finds it: less than of the whole version."""
    expected = pages.repo.lineage.impact("vision/cats@1.0.0", ["train/0007.jpg"])
    found = pages.document("lineage", ref="vision/cats@1.0.0", path="train/0007.jpg", impact=1)["impact"]
    assert sum(found["tainted"].values()) + sum(found["perhaps"].values()) == len(expected.versions) + len(
        expected.runs
    )
    text = pages.page("lineage", ref="vision/cats@1.0.0", path="train/0007.jpg", impact=1)
    assert "If <b>train/0007.jpg</b> in this version is wrong" in text
    assert pages.ask("/-/lineage?ref=vision/cats@1.0.0&path=none&impact=1").status == 404
