"""What a person does on the lists of datasets and versions."""

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


def test_pages_of_versions_turn_by_keys_and_links(open_page):
    """Arrow keys do what the links do."""
    page = open_page("dataset?name=log/events")
    expect(page.locator("tbody tr")).to_have_count(30)
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**page=2")
    page.get_by_text("← Previous").click()
    page.wait_for_url("**page=1")
