"""What a person does on the lists of datasets and versions."""

import re

from playwright.sync_api import expect


def test_the_list_follows_while_typing(open_page):
    """The rows change without a click, and the address keeps the words."""
    page = open_page("datasets")
    page.get_by_label("Filter datasets by name").press_sequentially("cats")
    expect(page.locator("tbody tr")).to_have_count(2)
    expect(page.get_by_role("heading", name="Datasets 2 of ")).to_be_visible()
    page.wait_for_url("**/datasets?q=cats")
    page.reload()
    expect(page.locator("tbody tr")).to_have_count(2)


def test_search_by_keyboard(open_page):
    """`/` focuses the search; Enter finds a file and its link leads to it."""
    page = open_page("datasets")
    page.keyboard.press("/")
    page.keyboard.type("0007.jpg")
    page.keyboard.press("Enter")
    expect(page.get_by_text("0007.jpg").first).to_be_visible()


def test_two_versions_are_compared(open_page):
    """Those that are chosen."""
    page = open_page("dataset?name=log/events")
    label = page.locator("tbody tr").nth(9).locator("th a").inner_text()
    page.get_by_label(f"from {label}", exact=True).check()
    page.get_by_role("button", name="Compare").click()
    page.wait_for_url(f"**/diff?new=*&old=*{label}")


def test_new_bytes_of_versions_come_later(open_page):
    """Each shown version has them after a request that the page does not wait for; a choice stays."""
    page = open_page("dataset?name=log/events&page=2")
    page.get_by_label("from").nth(20).check()
    expect(page.locator("[data-late]")).to_have_count(0)
    texts = page.locator("tbody td[id^=added-]").all_inner_texts()
    assert len(texts) == 30
    assert all(each.endswith((" B", " kB")) for each in texts)
    expect(page.get_by_label("from").nth(20)).to_be_checked()


def test_new_bytes_that_cannot_be_measured_are_a_dash(open_page, said):
    """The page says nothing wrong, and the rest of it stays."""
    page = open_page("datasets")
    page.route(re.compile("added=1"), lambda route: route.fulfill(status=502, body="no"))
    page.goto("/-/dataset?name=log/events")
    expect(page.locator("tbody td[id^=added-]").first).to_have_text("\u2013")
    said[:] = [each for each in said if "502" not in each]


def test_pages_of_versions_turn_by_keys_and_links(open_page):
    """Arrow keys do what the links do."""
    page = open_page("dataset?name=log/events")
    expect(page.locator("tbody tr")).to_have_count(30)
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**page=2")
    page.get_by_text("← Previous").click()
    page.wait_for_url("**page=1")
