"""What hostile contents, other sites and a server with a token do in a real browser."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import quote, unquote, urlencode

import pytest
from playwright.sync_api import expect

import dataver
from dataver.serving import Server, serve

TOKEN = "a-token-of-the-tests"


@pytest.mark.parametrize(
    "path", ["odd/names@1.0.0/page.html", "vision/cats@1.0.0/drawing.svg", "odd/names@1.0.0/notes.md"]
)
def test_a_file_itself_runs_nothing(open_page, said, path):
    """Opened at its own address: no script, and an origin that may read nothing."""
    page = open_page("datasets")
    page.on("dialog", lambda _: pytest.fail("a script ran"))
    page.goto(f"/{path}", wait_until="commit") if path.endswith("md") else page.goto(f"/{path}")
    assert page.title() != "owned"
    blocked = [each for each in said if "Blocked script execution" in each]
    assert blocked or path.endswith("md")
    page.goto("/-/datasets")
    page.wait_for_load_state("networkidle")
    own = ("Blocked script execution", "NotSameOrigin")  # the icon of the site is for its own pages
    said[:] = [each for each in said if not any(part in each for part in own)]


@pytest.mark.parametrize(
    ("ref", "path"),
    [
        ("odd/names@1.0.0", "page.html"),
        ("odd/names@1.0.0", "notes.md"),
        ("odd/names@1.0.0", "book.ipynb"),
        ("odd/names@1.0.0", "deep.json"),
        ("odd/names@1.0.0", "strange"),
        ("odd/names@1.0.0", "strange/<img src=x onerror=alert(1)>.txt"),
        ("odd/names@1.0.0", "strange/javascript:alert(1)"),
        ("vision/cats@1.0.1", "drawing.svg"),
        ("vision/cats@1.0.1", "broken.jpg"),
        ("shop/prices@1.0.2", "README.md"),
    ],
)
def test_a_page_of_hostile_content_runs_nothing(open_page, said, ref, path):
    """The page shows it as text or as a picture; its policy has nothing to refuse."""
    page = open_page("datasets")
    page.on("dialog", lambda _: pytest.fail("a script ran"))
    page.goto(f"/-/version?{urlencode({'ref': ref, 'path': path})}")
    page.wait_for_load_state("networkidle")
    assert "owned" not in page.title()
    assert page.locator("main script, main iframe, main [onerror], main a[href^=javascript]").count() == 0


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that edits a dataset of one version."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DATAVER_STATE", str(tmp_path / "state"))
    (tmp_path / "words").mkdir()
    (tmp_path / "words/a.txt").write_text("a\n")
    repo = dataver.init(tmp_path / "repo")
    repo.sync(tmp_path / "words", "words", workspace=tmp_path / "work")
    with serve(repo, port=0, token=TOKEN, editing=True) as server:
        yield server


@pytest.fixture
def other_site() -> Iterator[ThreadingHTTPServer]:
    """Another server, whose pages have a form or a link for the address in their query."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, _, target = self.path.lstrip("/").partition("?")
            fields = '<input name="ref" value="words@1.0.0"><input name="tag" value="stolen">'
            body = {
                "form": f'<form method="post" action="{target}">{fields}<button>go</button></form>',
                "link": f'<a href="{target}">go</a>',
            }.get(kind, "")
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f"<!doctype html><link rel=icon href=data:,>{body}".encode())

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_printed_address_opens_the_pages(open_page, said, editor):
    """The token leaves the address at once; without it there is a page that asks for it."""
    page = open_page("datasets")
    page.goto(f"{editor.url}/-/version?ref=words@1.0.0")
    expect(page.get_by_role("heading")).to_have_text("This server answers only with its token")
    page.get_by_label("Token").fill("wrong-wrong-wrong-wrong")
    page.get_by_role("button", name="Continue").click()
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("heading", name="words@1.0.0")).to_be_visible()
    assert unquote(page.url) == f"{editor.url}/-/version?ref=words@1.0.0"
    page.goto(editor.page("/-/datasets?q=w"))
    assert page.url == f"{editor.url}/-/datasets?q=w"
    assert TOKEN not in page.evaluate("document.cookie + document.referrer + location")
    page.goto("about:blank")
    page.goto(editor.page("/-/datasets", once=True))
    assert page.url == f"{editor.url}/-/datasets"
    said[:] = [each for each in said if "401" not in each]


def test_a_link_from_another_site_needs_one_click_more(open_page, said, editor, other_site):
    """Browsers do not send the cookie with it; the page that comes instead leads on."""
    page = open_page("datasets")
    page.goto(editor.page())
    target = f"{editor.url}/-/version?ref=words@1.0.0"
    page.goto(f"http://127.0.0.1:{other_site.server_port}/link?{target}")
    page.get_by_text("go").click()
    page.get_by_text("go on to the page").click()
    expect(page.get_by_role("heading", name="words@1.0.0")).to_be_visible()
    assert unquote(page.url) == target
    said[:] = [each for each in said if "401" not in each]


def test_descriptions_and_tags_are_edited(open_page, said, editor):
    """As a person does it: fill in, save, see it; an error says what to do and keeps the text."""
    page = open_page("datasets")
    page.goto(editor.page("/-/version?ref=words@1.0.0"))
    page.get_by_text("Edit", exact=True).click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    page.get_by_label("Description").fill("Words\n\nof a kind")
    page.get_by_label("Key").fill("lux")
    page.get_by_label("Value").fill("410")
    page.get_by_label("Licence").fill("no such")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("is not an SPDX license")
    expect(page.get_by_role("alert")).to_be_in_viewport()
    expect(page.get_by_label("Description")).to_have_value("Words\n\nof a kind")
    page.get_by_label("Licence").fill("CC-BY-4.0")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("Saved.")
    expect(page.locator(".pairs").get_by_text("CC-BY-4.0")).to_be_visible()
    expect(page.get_by_label("lux")).to_have_value("410")
    page.get_by_label("Tag", exact=True).fill("best")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("The tag best is on this version now.")
    page.get_by_text("Remove …").click()
    page.get_by_role("button", name="Remove the tag best").click()
    expect(page.get_by_role("status")).to_contain_text("The tag best is removed.")
    page.goto(f"{editor.url}/-/version?ref=words@1.0.0")
    expect(page.get_by_label("Description")).to_be_hidden()
    page.get_by_text("Edit", exact=True).click()
    expect(page.get_by_label("Description")).to_have_value("Words\n\nof a kind")
    said[:] = [each for each in said if "400 (Bad Request)" not in each]


@pytest.mark.parametrize(("host", "status"), [("127.0.0.1", 401), ("localhost", 403)])
def test_another_site_changes_nothing(open_page, said, editor, other_site, host, status):
    """Neither one of another name, nor one on another port of this host, whose requests have the cookie."""
    page = open_page("datasets")
    page.goto(editor.page())
    page.goto(f"http://{host}:{other_site.server_port}/form?{editor.url}/-/edit")
    with page.expect_response(f"{editor.url}/-/edit") as answer:
        page.get_by_role("button").click()
    assert answer.value.status == status
    page.goto(f"http://{host}:{other_site.server_port}/link?x")
    for path in ("/-/datasets.json", "/words@1.0.0/a.txt"):
        read = f"fetch('{editor.url}{path}', {{credentials: 'include'}}).then(() => 'read', () => 'refused')"
        assert page.evaluate(read) == "refused"
    page.goto(f"{editor.url}/-/datasets")
    expect(page.get_by_text("stolen")).to_have_count(0)
    said.clear()  # the browser says what it refused


def test_nothing_of_this_server_is_shown_in_a_frame(open_page, said, site):
    """Neither a page nor a file: no other site lays something over them."""
    page = open_page("datasets")
    for path in ("/-/datasets", f"/{quote('odd/names@1.0.0')}/page.html"):
        page.goto("about:blank")
        page.set_content(f'<iframe src="{site.url}{path}"></iframe>')
        page.wait_for_timeout(300)
        assert "dataver" not in "".join(frame.title() for frame in page.frames[1:])
    said.clear()
