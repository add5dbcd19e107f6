"""What a person does on the page of a difference."""

from playwright.sync_api import expect


def test_from_a_version_to_a_changed_image(open_page):
    """The numbers lead to the paths, a path to the images."""
    page = open_page("dataset?name=vision/cats")
    page.locator(".changes").first.click()
    page.get_by_role("link", name="modified 3").click()
    page.get_by_role("link", name="0001.jpg").click()
    expect(page.locator(".pair img")).to_have_count(2)
    wide = page.evaluate("[...document.querySelectorAll('.pair img')].map((each) => each.naturalWidth)")
    assert wide == [160, 160]


def test_modes_of_images_by_click_and_key(open_page):
    """Difference lays one image over the other; blinking by hand if motion is reduced."""
    page = open_page("diff?new=vision/cats&path=train/0001.jpg", reduced_motion="reduce")
    pair, second = page.locator(".pair"), page.get_by_role("img", name="the new image")
    page.get_by_role("button", name="Difference").click()
    expect(page.get_by_role("button", name="Difference")).to_have_attribute("aria-pressed", "true")
    blend = page.locator(".pair figure").nth(1).evaluate("(each) => getComputedStyle(each).mixBlendMode")
    assert blend == "difference"
    page.keyboard.press("4")
    expect(page.locator(".images.bright")).to_have_count(1)
    page.keyboard.press("2")
    expect(second).to_be_hidden()
    page.keyboard.press("2")
    expect(second).to_be_visible()
    page.keyboard.press("1")
    expect(pair.get_by_role("img")).to_have_count(2)


def test_images_blink(open_page):
    """The second image comes and goes."""
    page = open_page("diff?new=vision/cats&path=train/0001.jpg")
    page.get_by_role("button", name="Blink").click()
    expect(page.locator(".pair.second")).to_have_count(1)
    expect(page.locator(".pair:not(.second)")).to_have_count(1)


def test_without_script_both_images_are_there(open_page):
    """Without buttons that do nothing."""
    page = open_page("diff?new=vision/cats&path=train/0001.jpg", java_script_enabled=False)
    expect(page.locator(".pair img")).to_have_count(2)
    expect(page.get_by_role("button", name="Blink")).to_be_hidden()


def test_another_version_is_chosen(open_page):
    """The form and the link to swap both versions."""
    page = open_page("diff?new=shop/prices")
    page.get_by_label("Old version").fill("shop/prices@1.0.0")
    page.get_by_role("button", name="Compare").click()
    page.wait_for_url("**old=shop%2Fprices%401.0.0**")
    expect(page.get_by_role("link", name="config.json")).to_be_visible()
    page.get_by_role("link", name="Swap").click()
    page.wait_for_url("**new=shop/prices@1.0.0")
    expect(page.locator("td.removed")).to_have_count(1)


def test_a_key_is_chosen(open_page):
    """Rows are matched by another column."""
    page = open_page("diff?new=lab/mixed&path=table.parquet")
    page.get_by_label("key").select_option("count")
    page.get_by_role("button", name="Match").click()
    expect(page.locator("b", has_text="count").first).to_be_visible()


def test_numbers_are_not_broken(open_page):
    """On a phone every key and number is on one line; the table scrolls."""
    page = open_page("diff?new=lab/mixed&path=table.parquet", viewport={"width": 360, "height": 800})
    heights = page.locator(".rows .whole").evaluate_all("(all) => all.map((each) => each.offsetHeight)")
    assert len(heights) > 10
    assert max(heights) < 30


def test_an_added_image_is_shown(open_page):
    """Without a click."""
    page = open_page("diff?new=vision/cats@1.0.0&path=train/0001.jpg")
    page.wait_for_load_state()
    assert page.locator(".preview img").evaluate("(each) => each.naturalWidth") == 160
