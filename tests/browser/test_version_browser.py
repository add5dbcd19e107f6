"""What a person does on the page of a version."""

from playwright.sync_api import expect

CATS = "version?ref=vision/cats@1.0.1&path=train"
MANY = "version?ref=odd/names@1.0.0&path=many"


def test_names_turn_and_filter(open_page):
    """Arrow keys turn pages; what is typed leaves the names that begin with it."""
    page = open_page(MANY)
    expect(page.get_by_role("link", name="00099.txt")).to_be_visible()
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**from=100")
    expect(page.get_by_role("link", name="00100.txt")).to_be_visible()
    page.get_by_role("link", name="Last »").click()
    expect(page.get_by_role("link", name="01199.txt")).to_be_visible()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("link", name="01000.txt")).to_be_visible()
    page.get_by_label("Names that begin with").press_sequentially("0042")
    expect(page.locator("#names tbody tr")).to_have_count(10)
    page.get_by_role("link", name="00427.txt").click()
    expect(page.get_by_role("heading", name="00427.txt")).to_be_visible()
    expect(page.locator(".lines li")).to_have_text(["427"])


def test_a_turned_page_replaces_the_list_alone(open_page):
    """The rest of the page stays; the focus is on the same link, and the browser's buttons go back and on."""
    page = open_page(MANY)
    page.evaluate("document.querySelector('main').dataset.before = 'yes'")
    following = page.get_by_role("link", name="Next")
    for first in ("00100.txt", "00200.txt"):
        following.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("link", name=first)).to_be_visible()
        expect(following).to_be_focused()
    expect(page.locator("main[data-before]")).to_have_count(1)
    assert (
        page.locator("#names").bounding_box()["y"] > -1
    )  # not above the window, whose bottom was seen before
    page.go_back()
    page.wait_for_url("**from=100")
    expect(page.get_by_role("link", name="00100.txt")).to_be_visible()
    page.go_forward()
    expect(page.get_by_role("link", name="00200.txt")).to_be_visible()


def test_a_page_that_cannot_be_had_says_so(open_page, said):
    """The list does not stay silently as it is."""
    page = open_page(MANY)
    page.locator("[rel=next]").evaluate("link => link.href = link.href.replace('from=100', 'from=9999')")
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_text("there is no entry 9,999")).to_be_visible()
    said[:] = [each for each in said if "404" not in each]


def test_pictures_open_in_a_lightbox(open_page):
    """Arrow keys go on, Escape closes, and the focus is back on the picture that was shown last."""
    page = open_page(CATS)
    links = page.locator("[data-lightbox]")
    first, second = links.nth(0), links.nth(1)
    first.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("img")).to_have_attribute("alt", "0001.jpg")
    page.keyboard.press("ArrowRight")
    expect(dialog.get_by_role("img")).to_have_attribute("alt", "0002.jpg")
    assert dialog.get_by_role("img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 160
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(second).to_be_focused()
    assert page.url.endswith(CATS)
    second.click()
    dialog.get_by_role("button", name="Next picture").click()
    dialog.get_by_role("link", name="0003.jpg").click()
    expect(page.get_by_role("heading", name="0003.jpg")).to_be_visible()


def test_pictures_are_loaded_when_they_are_seen(open_page):
    """The attributes of the grid, and the switch to a list."""
    page = open_page(CATS)
    assert set(page.locator(".grid img").evaluate_all("all => all.map((each) => each.loading)")) == {"lazy"}
    page.get_by_role("link", name="List", exact=True).click()
    expect(page.locator("#names tbody tr")).to_have_count(48)


def test_a_broken_picture_leaves_its_note_alone(open_page):
    """Without an icon of the browser."""
    page = open_page("version?ref=vision/cats@1.0.1&path=broken.jpg")
    expect(page.locator(".note")).to_be_visible()
    expect(page.locator(".picture")).to_have_count(0)


def test_commands_are_copied(open_page):
    """As they are shown."""
    page = open_page("version?ref=shop/prices@1.0.2&path=prices.parquet", permissions=["clipboard-write"])
    page.get_by_text("Use it").click()
    page.get_by_role("button", name="Copy: pandas").click()
    expect(page.get_by_role("button", name="Copy: pandas")).to_have_text("Copied")


def test_a_table_turns_its_rows(open_page):
    """By the key, past the rows of the profile."""
    page = open_page("version?ref=shop/prices@1.0.2&path=prices.parquet")
    expect(page.locator(".sample .bars")).to_have_count(6)
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**row=50")
    expect(page.locator(".sample tbody th").first).to_have_text("50")


def test_sound_plays(open_page):
    """The sandboxed file is one that the element accepts."""
    page = open_page("version?ref=vision/cats@1.0.1&path=audio/tone0.wav")
    ready = "audio => audio.readyState || new Promise(done => audio.onloadedmetadata = () => done(1))"
    assert page.locator("audio").evaluate(ready)
    assert page.locator("audio").evaluate("audio => audio.duration") == 2


def test_a_notebook_shows_pictures_and_runs_nothing(open_page, said):
    """What it holds of HTML is text or left out."""
    page = open_page("version?ref=odd/names@1.0.0&path=book.ipynb")
    assert (
        page.locator(".notebook img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 4
    )
    assert said == []
