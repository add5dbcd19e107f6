"""What a person does on the pages of storage and of a file."""

from playwright.sync_api import expect


def test_from_the_repository_to_a_folder(open_page):
    """A dataset, a box of its map, a file in the folder."""
    page = open_page("storage")
    page.get_by_role("link", name="vision/cats").click()
    page.locator(".treemap a[aria-label^='train/']").click(position={"x": 20, "y": 8})
    page.wait_for_url("**path=train")
    page.get_by_role("link", name="0001.jpg").last.click()
    expect(page.get_by_text("is shared with vision/cats@1.0.0")).to_be_visible()
    page.get_by_role("link", name="Where used").click()
    expect(page.get_by_text("This content is in 1 place")).to_be_visible()


def test_parts_of_a_file_have_two_colours(open_page):
    """What is new differs from what is shared."""
    page = open_page("storage?ref=lab/mixed&path=large.bin")
    fills = page.evaluate(
        "[...document.querySelectorAll('.strip rect')].map((each) => getComputedStyle(each).fill)"
    )
    assert len(set(fills)) == 2


def test_a_map_without_script(open_page):
    """It is drawn on the server."""
    page = open_page("storage?ref=vision/cats", java_script_enabled=False)
    assert page.locator(".treemap rect").count() > 20


def test_the_impact_of_a_file(open_page):
    """From where a file is used to what is wrong if it is."""
    page = open_page("file?path=train/0007.jpg")
    page.get_by_role("link", name="Impact of this file").click()
    expect(page.locator(".legend")).to_contain_text("If train/0007.jpg in this version is wrong")
    expect(page.locator("a.node.tainted").first).to_be_visible()
