"""What is untrusted: contents of datasets, addresses, and other sites.

Every page of the registry is tried, so a new one is as well.
"""

from html.parser import HTMLParser
from urllib.parse import quote, urlencode

import pytest

from dataver.ui.site import PAGES

from .conftest import Pages, Reply

GOOD = {
    "ref": "odd/names@1.0.0",
    "name": "odd/names",
    "path": "page.html",
    "old": "shop/prices@1.0.0",
    "new": "shop/prices@1.0.2",
    "version": "shop/prices@1.0.1",
    "run": "lab:1",
    "key": "lab:1",
    "first": "lab:1",
    "second": "lab:2",
    "digest": "0" * 64,
    "q": "prices",
    "page": "1",
    "from": "0",
    "begins": "a",
}
"""A value that makes sense for what pages are asked for."""

PARTS = ("../../../../etc/passwd", "\0x", "9" * 400)
HOSTILE = (
    *PARTS, "<script>alert(1)</script>", "'\"><img src=x onerror=alert(1)>", "javascript:alert(1)", "-1",
    "1e9", "NaN", "\u202egpj.exe", "a\r\nSet-Cookie: x=1", "%00", "..%2f..%2f", "//evil.example/", "dv1:",
    "@", "a@b@c", "odd/names@1.0.0/../../x", "x" * 30_000, "\u0661\u0662", "[" * 5_000, "{{7*7}}{% raw %}",
)  # fmt: skip


class Checked(HTMLParser):
    """Reads a page and fails at what could run or load something of others."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Check an element."""
        given = dict(attrs)
        assert tag not in ("iframe", "object", "embed", "base", "style", "template", "math"), tag
        assert not [name for name in given if name.startswith("on") or name in ("style", "srcdoc")], attrs
        if tag == "script" and given.get("type") != "application/json":
            assert (given.get("src") or "").startswith("/-/static/"), attrs
        for name in ("src", "action", "formaction", "data-image", "poster"):
            if (value := given.get(name)) is not None:
                own = value.startswith("/") and not value.startswith(("//", "/\\"))
                assert own or value.startswith("data:image/") or not value, attrs
        where = given.get("href") or "/"
        assert where.startswith(("/", "#", "?", "https://", "http://", "mailto:")), attrs
        assert not where.startswith(("//", "/\\")), attrs


def check(reply: Reply, pages: Pages) -> None:
    """Fail if a reply is an error of this side, lacks its policy, or shows what it must not."""
    assert reply.status < 500, reply.text
    assert pages.reports == []
    policy = reply.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy
    assert "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert "Set-Cookie" not in reply.headers
    assert "root:x:" not in reply.text
    if reply.headers["Content-Type"].startswith("text/html"):
        Checked(reply.text)
        assert not [sign for sign in reply.text if sign in "\0\u202e\x1b"]


@pytest.mark.parametrize("name", [*PAGES, "none"])
def test_a_page_stands_any_query(pages: Pages, name: str) -> None:
    """All values hostile at once, each in turn beside good ones, and as a document."""
    check(pages.ask(f"/-/{name}"), pages)
    check(pages.ask(f"/-/{name}?{urlencode(GOOD)}"), pages)
    for value in HOSTILE:
        check(pages.ask(f"/-/{name}?{urlencode(dict.fromkeys(GOOD, value[:1_000]))}"), pages)
    for number, part in enumerate(GOOD):
        for value in {*PARTS, HOSTILE[number % len(HOSTILE)], HOSTILE[-number]}:
            query = urlencode({**GOOD, part: value})
            check(pages.ask(f"/-/{name}?{query}"), pages)
        check(pages.ask(f"/-/{name}.json?{query}"), pages)
    for query in (
        "ref=%ff%fe&name=%ed%a0%80",
        "&" * 3_000,
        "ref[]=x&ref=&ref=a&=&a",
        "q=" + "%F0%9F" * 2_000,
    ):
        check(pages.ask(f"/-/{name}?{query}"), pages)


def test_every_file_of_hostile_datasets_is_shown_safely(pages: Pages) -> None:
    """The page of each file, and of the folders, of `odd/names` and `vision/cats`."""
    for ref in ("odd/names@1.0.0", "vision/cats@1.0.1", "shop/prices@1.0.2"):
        paths = [each.path for each in pages.repo.version(ref).entries()]
        for path in ["", "strange", "train", *(path for path in paths if not path.startswith("many/0"))]:
            check(pages.ask(f"/-/version?{urlencode({'ref': ref, 'path': path})}"), pages)
            check(pages.ask(f"/-/version.json?{urlencode({'ref': ref, 'path': path})}"), pages)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("odd/names@1.0.0/page.html", "text/html"),
        ("odd/names@1.0.0/notes.md", "text/markdown"),
        ("vision/cats@1.0.0/drawing.svg", "image/svg+xml"),
        ("odd/names@1.0.0/book.ipynb", "application/octet-stream"),
        ("odd/names@1.0.0/strange/javascript%3Aalert%281%29", "application/octet-stream"),
    ],
)
def test_a_file_itself_is_sandboxed(pages: Pages, path: str, kind: str) -> None:
    """Whole and in ranges: in an origin of its own, without scripts, and no browser guesses its type."""
    for headers in ({}, {"Range": "bytes=0-5"}, {"Accept": "text/html"}):
        reply = pages.ask(f"/{path}", **headers)
        assert reply.headers["Content-Type"].partition(";")[0] == kind
        assert reply.headers["Content-Security-Policy"] == "sandbox"
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_no_address_leaves_a_version(pages: Pages) -> None:
    """Dots and slashes, plain and encoded, in addresses of files, of the package's files, and in queries."""
    up = ("../", "..%2f", "%2e%2e/", "%2e%2e%2f", "..%5c", "..\\", ".%2e/", "....//", "%252e%252e/")
    for step in up:
        for base in ("/odd/names@1.0.0/", "/-/static/", "/-/static/vendor/", "/-/", "/"):
            reply = pages.ask(f"{base}{step * 8}etc/passwd")
            assert reply.status in (400, 404), (base, step)
            assert "root:" not in reply.text
    for path in ("site.py", "..%2fsite.py", "%2e%2e/site.py", "style.css%00.py", "%00", ".", "", "vendor"):
        assert pages.ask(f"/-/static/{path}").status in (404, 405, 307), path
    for path in ("..", ".", "a/../page.html", "/etc/passwd", "strange/../page.html", "page.html/"):
        query = urlencode({"ref": "odd/names@1.0.0", "path": path})
        assert "root:" not in pages.ask(f"/-/version?{query}").text


def test_a_query_of_megabytes_is_refused(pages: Pages) -> None:
    """By its length, before anything is made of it, and without repeating it; the next one is answered."""
    for size in (20_000, 60_000, 200_000, 5_000_000):
        try:
            reply = pages.ask(f"/-/datasets?q={'x' * size}")
        except OSError:  # closed while it was being sent
            assert size > 65_536
        else:
            assert (reply.status, len(reply.text) < 5_000) == (400, True)
    assert pages.ask("/-/datasets").status == 200
    assert pages.reports == []


def test_pages_are_for_this_host(pages: Pages) -> None:
    """A foreign name in Host (DNS rebinding) gets neither page nor document nor script."""
    for path in ("/-/", "/-/datasets.json", "/-/version?ref=odd/names@1.0.0", "/-/static/page.js", "/-/none"):
        for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "evil.example:80"):
            assert pages.ask(path, Host=host).status == 421
        for host in ("localhost:1", "127.0.0.1", "[::1]:80"):
            assert pages.ask(path, Host=host).status in (200, 404)


def test_errors_are_short_and_printable(pages: Pages) -> None:
    """However long the address is, and whatever is in it."""
    for name in ("x" * 40_000, quote("\u202e\x1b[2J" * 3_000), quote("\u202e\x1b[2J")):
        for path in (f"/-/{name}", f"/-/version?ref={name}", f"/{name}", f"/-/dataset?name={name}"):
            reply = pages.ask(path)
            assert reply.status in (400, 404)
            assert not {"\u202e", "\x1b"} & set(reply.text)
            assert len(reply.text) < 100_000
