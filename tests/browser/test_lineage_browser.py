"""What a person does on the lineage and on runs."""

import re

from playwright.sync_api import expect


def test_a_click_previews_and_a_double_click_centres(open_page):
    """The address keeps both."""
    page = open_page("lineage?ref=shop/prices@1.0.1")
    page.locator("a.node", has_text="shop/prices@1.0.2").click()
    expect(page.locator("#panel")).to_contain_text("June mended".lower())
    assert re.search(r"ref=shop/prices@1\.0\.1&at=v\d+$", page.url)
    page.locator("a.node", has_text="train 1").dblclick()
    page.wait_for_url("**/lineage?run=lab:1")
    expect(page.locator("h1")).to_have_text("train 1 lab:1")


def test_a_member_is_found_and_taken_out_of_a_group(open_page):
    """Search while typing, in the panel that a click brought."""
    page = open_page("lineage?ref=shop/prices@1.0.1")
    page.locator("a.node", has_text="7 runs").click()
    expect(page.locator("#panel h2")).to_have_text("7 runs")
    page.get_by_label("Search in the list").press_sequentially("sweep 6")
    expect(page.locator("#rows li")).to_have_count(1)
    page.locator("#rows a").click()
    expect(page.locator("a.node", has_text="6 runs")).to_be_visible()
    expect(page.locator("a.node", has_text="sweep 6")).to_be_visible()
    page.get_by_text("Group again").click()
    expect(page.locator("a.node", has_text="7 runs")).to_be_visible()


def test_nodes_are_reached_by_keyboard(open_page):
    """Tab goes from node to node; Enter previews one."""
    page = open_page("lineage?ref=vision/cats@1.0.0&hops=1")
    page.locator("a.node").first.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#panel h2")).to_be_visible()


def test_the_whole_lineage_is_moved_and_clicked(open_page):
    """On the canvas: keys move it, a click previews a node, a double click centres it."""
    page = open_page("lineage?all=1")
    canvas = page.locator(".graph canvas")
    expect(canvas).to_be_visible()
    page.wait_for_timeout(300)
    before = canvas.screenshot()
    canvas.focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    assert canvas.screenshot() != before
    page.keyboard.press("0")
    node = page.evaluate("""async () => {
      const graph = await (await fetch("/-/lineage.json?all=1")).json();
      const canvas = document.querySelector(".graph canvas");
      const scale = Math.min(canvas.width / (graph.width + 80), canvas.height / (graph.height + 80), 1);
      const found = graph.nodes.find((each) => each.key === "vision/cats@1.0.1");
      return {x: (found.x + graph.node[0] / 2 - graph.width / 2) * scale + canvas.width / 2,
              y: (found.y + graph.node[1] / 2 - graph.height / 2) * scale + canvas.height / 2};
    }""")
    canvas.click(position=node)
    expect(page.locator("#panel h2")).to_have_text("vision/cats@1.0.1")
    canvas.dblclick(position=node)
    page.wait_for_url("**/lineage?ref=vision*")


def test_runs_are_filtered_while_typing_and_two_are_compared(open_page):
    """Two choices and a button; the comparison leads to the runs."""
    page = open_page("runs")
    page.get_by_label("Name").press_sequentially("train")
    expect(page.locator("tbody tr")).to_have_count(3)
    page.get_by_label("first: train 0").check()
    page.get_by_label("second: train 2").check()
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("h1")).to_contain_text("train 0 and train 2")
    page.get_by_role("link", name="train 2").first.click()
    expect(page.locator("h1")).to_have_text("train 2")


def test_a_drawing_fits_or_says_that_there_is_more(open_page):
    """At 1,280 pixels five columns fit; on a phone the page says so."""
    page = open_page("lineage?ref=vision/cats@1.0.0&impact=1")
    wide = page.locator(".graph .wide").evaluate("(each) => each.scrollWidth <= each.clientWidth")
    assert wide
    expect(page.locator(".hint")).to_be_hidden()
    page.set_viewport_size({"width": 360, "height": 800})
    expect(page.locator(".hint")).to_be_visible()


def test_affected_nodes_are_red_in_the_list(open_page):
    """Versions and runs alike."""
    page = open_page("lineage?ref=vision/cats@1.0.0&impact=1")
    page.get_by_text("List of all").click()
    colours = "(all) => all.map((each) => getComputedStyle(each).backgroundColor)"
    legend = page.locator(".legend .tainted").evaluate_all(colours)
    found = page.locator("#rows .tainted").evaluate_all(colours)
    assert len(found) > 5
    assert set(found) == set(legend)
