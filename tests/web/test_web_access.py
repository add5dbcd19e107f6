"""A server with a token."""

import socket

import pytest

from dataver.errors import InvalidInput
from dataver.web import serve

from .conftest import World

TOKEN = "a-token-of-the-tests"
FILE = "/words@1.0.0/a/deep.txt"
BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"


@pytest.fixture
def locked(world: World):
    """The same repository behind a token."""
    with serve(world.repo, port=0, token=TOKEN, report=world.reports.append) as server:
        yield World(world.repo, world.source, server, world.reports)


def test_nothing_is_answered_without_the_token(locked: World) -> None:
    """Neither files nor listings nor pages, by no method; a sentence says what is missing."""
    for path in (FILE, "/", "/words/", "/words@1.0.0/", "/-/", "/-/datasets.json", "/-/none", "/none", "//"):
        for method in ("GET", "HEAD", "OPTIONS", "POST"):
            for accept in ("*/*", "application/json", BROWSER):
                got = locked.ask(path, method, Accept=accept)
                assert (got.status, got.headers["WWW-Authenticate"]) == (401, "Bearer")
                assert b"words" not in got.body and str(locked.repo.url).encode() not in got.body
    assert b"Authorization: Bearer" in locked.ask(FILE).body
    page = locked.ask("/-/version?ref=<b>&token=wrong", Accept=BROWSER)
    assert b'name="ref" value="&lt;b&gt;"' in page.body
    assert b"wrong" not in page.body
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert locked.ask("/-/static/style.css").status == 200  # of the package, for that page
    assert locked.ask("/-/static/../datasets").status == 404
    assert locked.reports == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"Authorization": "Bearer \u00e4\u00f6\u00fc"},
        {"Cookie": f"dataver={TOKEN}"},
        {"Cookie": "dataver-PORT="},
        {"Cookie": "dataver-PORT=" + "x" * 30_000},
    ],
)
def test_what_is_not_the_token_opens_nothing(locked: World, wrong: dict[str, str]) -> None:
    """Parts of it, other schemes, other cookies."""
    given = {name: value.replace("PORT", str(locked.server.port)) for name, value in wrong.items()}
    assert locked.ask(FILE, **given).status == 401
    assert locked.ask(f"{FILE}?token={TOKEN[:-1]}").status == 401
    assert locked.ask(f"{FILE}?token=").status == 401


def test_a_program_sends_a_header_or_the_token(locked: World) -> None:
    """The token is in no answer, also where the query is."""
    for given in ({"Authorization": f"Bearer {TOKEN}"}, {"Authorization": f"bearer  {TOKEN}"}):
        assert locked.ask(FILE, **given).body == b"deep"
    assert locked.ask(f"{FILE}?token={TOKEN}").body == b"deep"
    assert locked.ask(f"{FILE}?token=wrong&token={TOKEN}").body == b"deep"
    for path in ("/-/datasets.json?q=x&token=", "/-/datasets?q=x&%74oken=", "/words?a=b&token="):
        got = locked.ask(path + TOKEN)
        assert got.status in (200, 301)
        assert TOKEN not in got.body.decode() + str(got.headers)


def test_a_browser_gets_a_cookie_and_the_address_without_the_token(locked: World) -> None:
    """From then on the cookie suffices; the redirect leads to this host whatever the path looks like."""
    got = locked.ask(f"/-/datasets?token={TOKEN}&q=a%20b", Accept=BROWSER)
    assert (got.status, got.headers["Location"]) == (303, "/-/datasets?q=a%20b")
    assert got.headers["Cache-Control"] == "no-store"
    cookie, *how = got.headers["Set-Cookie"].split("; ")
    assert cookie == f"dataver-{locked.server.port}={TOKEN}"
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(how)
    assert locked.ask(FILE, Cookie=f"other=1; {cookie}").body == b"deep"
    assert locked.ask("/-/datasets?q=a%20b", Cookie=cookie, Accept=BROWSER).status == 200
    for path in ("//evil.example/", "/\\evil.example/", "///evil.example"):
        where = locked.ask(f"{path}?token={TOKEN}", Accept=BROWSER).headers["Location"]
        assert where.startswith("/") and not where.startswith(("//", "/\\"))


def test_a_code_is_accepted_once(locked: World) -> None:
    """The address that a browser is started with, which other users of the machine may see."""
    address = locked.server.page("/-/datasets?q=x", once=True)
    assert TOKEN not in address
    path = address.removeprefix(locked.server.url)
    first = locked.ask(path, Accept=BROWSER)
    assert (first.status, first.headers["Location"]) == (303, "/-/datasets?q=x")
    assert TOKEN in first.headers["Set-Cookie"]
    assert locked.ask(path, Accept=BROWSER).status == 401
    assert locked.server.page() == f"{locked.server.url}/-/?token={TOKEN}"


def test_the_host_is_checked_before_the_token(locked: World) -> None:
    """A page of another site that points its name to this machine gets nothing, with the token either."""
    for path in (FILE, "/-/", "/-/datasets.json", "/-/static/page.js", f"/-/?token={TOKEN}"):
        got = locked.ask(path, Host="evil.example", Authorization=f"Bearer {TOKEN}")
        assert got.status == 421
        assert "Set-Cookie" not in got.headers


def test_who_needs_a_token(world: World) -> None:
    """Servers for other machines, and those that edit; each makes its own; short ones are refused."""
    assert world.server.token is None
    assert world.server.page() == f"{world.server.url}/-/"
    with serve(world.repo, "0.0.0.0", 0) as first, serve(world.repo, port=0, editing=True) as second:
        assert first.token and second.token and first.token != second.token
        assert len(first.token) > 40
        assert first.url == f"http://{socket.gethostname()}:{first.port}"
        for server in (first, second):
            other = World(world.repo, world.source, server)
            assert other.ask(FILE).status == 401
            assert other.ask(FILE, Authorization=f"Bearer {server.token}").body == b"deep"
    for token in ("", "short", "with a space in it", "naïve-naïve-naïve", "x" * 300, "a;b;c;d;e;f;g;h;i;j"):
        with pytest.raises(InvalidInput, match="the token"):
            serve(world.repo, port=0, token=token)
