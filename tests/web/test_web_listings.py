"""Listings over HTTP, what is refused, and what is said when something is not as it should be."""

import json
import re
import shutil
import socket
import subprocess
import sys
import time
from contextlib import closing, suppress
from html.parser import HTMLParser
from http.client import HTTPException
from urllib.parse import urljoin

import pytest

from dataver.errors import Conflict, InvalidInput
from dataver.web import serve, server
from waiting import until

from .conftest import NOISE, STRANGE, World, exchange


class Links(HTMLParser):
    """The links of a page, and its tags."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.feed(page.decode())

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "a":
            self.links.append(dict(attrs)["href"])


def entries(world: World, path: str) -> dict[str, dict]:
    got = world.ask(path, Accept="application/json")
    assert (got.status, got.headers["Content-Type"]) == (200, "application/json")
    return {entry["name"]: entry for entry in json.loads(got.body)["entries"]}


def test_from_the_top_to_a_file_by_the_links_of_the_pages(world: World) -> None:
    """Whoever follows every link from / comes to every file of every version, and to nothing else."""
    seen, left = {}, ["/"]
    connection = world.connect()
    while left:
        at = left.pop()
        if at in seen:
            continue
        got = seen[at] = exchange(connection, at)
        assert got.status == 200, at
        if at.endswith("/"):
            for link in Links(got.body).links:
                assert not link.startswith(("http:", "//", "javascript:"))
                left.append(urljoin(at, link))
    connection.close()
    files = {at: got.body for at, got in seen.items() if not at.endswith("/")}
    assert files["/vision/cats@1.0.0/large.bin"] == NOISE
    assert files["/words@1.0.0/a/deep.txt"] == b"deep"
    strange = [body.decode() for at, body in files.items() if "1.0.0/strange/" in at]
    assert sorted(strange) == sorted(STRANGE)


def test_a_browser_is_led_to_the_pages(world: World) -> None:
    """From / by a redirect, from a listing by a link; listings for programs have no such link."""
    browser = {"Accept": "text/html,*/*"}
    first = world.ask("/", **browser)
    assert (first.status, first.headers["Location"]) == (303, "/-/")
    assert world.ask("/?format=html", **browser).status == 200
    for at, page in (
        ("/vision/cats@1.0.0/strange/", "/-/version?ref=vision/cats@1.0.0&path=strange"),
        ("/vision/cats/", "/-/dataset?name=vision/cats"),
        ("/vision/", "/-/datasets?q=vision/"),
    ):
        shown, plain = world.ask(at, **browser), world.ask(at)
        assert page in Links(shown.body).links
        assert page not in Links(plain.body).links
        assert shown.headers["ETag"] != plain.headers["ETag"] or shown.headers["ETag"] is None


def test_names_are_shown_and_never_obeyed(world: World) -> None:
    """A name that looks like markup is text in the page."""
    page = world.ask("/vision/cats@1.0.0/strange/").body
    assert "img" not in Links(page).tags
    assert b"&lt;img src=x" in page
    assert b"<b>first" not in world.ask("/vision/cats/").body


def test_listings_for_programs(world: World) -> None:
    """Datasets, versions with tags, and files with sizes and digests, as JSON by Accept or ?format=json."""
    assert entries(world, "/")["vision/cats"]["versions"] == 2
    assert set(entries(world, "/vision/")) == {"vision/cats"}
    versions = entries(world, "/vision/cats/")
    assert list(versions) == ["vision/cats@1.1.0", "vision/cats@1.0.0"]
    assert versions["vision/cats@1.1.0"]["tags"] == ["production"]
    top = entries(world, "/vision/cats@1.0.0/")
    entry = world.repo.version("vision/cats@1.0.0").entry("large.bin")
    assert top["large.bin"] == {
        "name": "large.bin",
        "type": "file",
        "size": len(NOISE),
        "digest": entry.digest.hex(),
        "executable": False,
    }
    assert top["train"] == {"name": "train", "type": "directory"}
    assert top["link"]["target"] == "large.bin"
    assert entries(world, "/vision/cats@1.0.0/empty/") == {}
    asked = world.ask("/vision/cats@1.0.0/?format=json").body
    assert json.loads(asked)["digest"] == world.repo.version("vision/cats@1.0.0").digest
    assert world.ask("/vision/cats@1.0.0/", Accept="text/html,application/json").body[:9] == b"<!doctype"


def test_a_long_listing_is_whole(world: World, tmp_path) -> None:
    """A folder of 3,000 files, as a page and as JSON, to clients that speak 1.1 and 1.0."""
    many = tmp_path / "many"
    many.mkdir()
    for number in range(3_000):
        (many / f"{number:04}.txt").write_bytes(b"x" * (number % 7))
    world.repo.sync(many, "many", workspace=tmp_path / "work")
    assert len(entries(world, "/many@1.0.0/")) == 3_000
    assert len(Links(world.ask("/many@1.0.0/").body).links) == 3_000 + 2  # and the way up
    old = world.raw(b"GET /many@1.0.0/?format=json HTTP/1.0\r\n\r\n")
    assert len(json.loads(old.partition(b"\r\n\r\n")[2])["entries"]) == 3_000


def test_a_folder_without_its_slash_leads_there(world: World) -> None:
    """A folder's own address ends in a slash; a file's does not; no address leads to another site."""
    for path in ("/vision", "/vision/cats", "/vision/cats@1.0.0", "/vision/cats@1.0.0/train/a"):
        got = world.ask(path)
        assert (got.status, got.headers["Location"]) == (301, f"{path}/")
    assert world.ask("/vision?format=json&x=%22%0a").headers["Location"] == "/vision/?format=json&x=%22%0a"
    assert world.ask("/vision/cats@1.0.0/large.bin/").status == 404
    for path in ("//evil.example/", "//evil.example", "/%2Fevil.example"):
        assert world.ask(path).status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/vision/cats@1.0.0/../../../etc/passwd",
        "/vision/cats@1.0.0/%2e%2e/%2e%2e/etc/passwd",
        "/vision/cats@1.0.0/train/..%2f..%2flarge.bin",
        "/vision/cats@1.0.0//large.bin",
        "/vision/cats@1.0.0/./large.bin",
        "/vision/cats@1.0.0/large.bin%00.txt",
        "/vision/cats@1.0.0/%ff%fe",
        "/vision/cats@1.0.0/large.bin/x",
        "/vision/cats@1.0.0/gone",
        "/vision/cats@9.9.9/large.bin",
        "/vision/cats@/large.bin",
        "/@/x",
        "/vision/dogs@1.0.0/x",
        "/vision/dogs/",
        "/dv1:zzzz/x",
        "/dv1:0123456789/x",
        "/" + "a" * 5000,
        "/" + "a/" * 500 + "b",
    ],
)
def test_what_is_not_there_is_not_found(world: World, path: str) -> None:
    """Paths that lead out, are malformed or name nothing: 404 (400 of a malformed name), and one sentence."""
    world.repo.fetch("vision/cats@1.0.0")  # with its folder on the disk, names could reach the disk
    got = world.ask(path)
    assert got.status in (404, 400)
    assert b"root:" not in got.body
    assert world.reports == []


def test_a_path_without_a_version_is_told_what_to_write(world: World) -> None:
    """Whoever leaves the version out learns how the address would be."""
    got = world.ask("/vision/cats/large.bin")
    assert got.status == 404
    assert b"vision/cats@1.1.0/large.bin" in got.body


def test_errors_for_programs(world: World) -> None:
    """With Accept: application/json the sentence and the hint are JSON."""
    got = world.ask("/vision/dog@1.0.0/x", Accept="application/json")
    error = json.loads(got.body)["error"]
    assert "vision/dog" in error["message"]
    assert error["message"].endswith("did you mean vision/cats?")
    assert error["hint"] is None  # it stands in the message already


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "PROPFIND", "LOCK"])
def test_nothing_can_be_changed(world: World, method: str) -> None:
    """Every method but those that read is refused, and its body is no request."""
    got = world.ask("/vision/cats@1.0.0/large.bin", method)
    assert (got.status, got.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
    body = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    smuggled = b"%b /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (
        method.encode(),
        len(body),
    )
    assert world.raw(smuggled + body).count(b"HTTP/1.1 ") == 1
    assert world.ask("/", "OPTIONS").headers["Allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:1234", 200),
        ("127.0.0.1:8765", 200),
        ("[::1]:8765", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example:8765", 421),
        ("", 421),
        ("localhost@evil.example", 421),
    ],
)
def test_a_foreign_name_is_not_answered(world: World, host: str, status: int) -> None:
    """A page of another site that points its own name at this machine (DNS rebinding) reads nothing."""
    answer = world.raw(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert (b"vision" in answer) == (status == 200)


def test_a_request_says_once_whom_it_is_for(world: World) -> None:
    """No Host header or two: 400. A whole address in the request line wins over the header."""
    for headers in (b"", b"Host: localhost\r\nHost: evil.example\r\n"):
        assert world.raw(b"GET / HTTP/1.1\r\n%b\r\n" % headers).startswith(b"HTTP/1.1 400 ")
    for target, status in ((b"http://localhost/", b"200"), (b"http://evil.example/", b"421")):
        answer = world.raw(b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % target)
        assert answer.startswith(b"HTTP/1.1 " + status)


def test_names_that_are_allowed(world: World) -> None:
    """A name that was given to the server is answered to."""
    with serve(world.repo, port=0, names=["data.example"]) as other:
        named = World(world.repo, world.source, other)
        assert named.ask("/", Host="data.example").status == 200
        assert named.ask("/", Host="other.example").status == 421


def test_requests_that_are_none(world: World) -> None:
    """Rubbish, endless lines and half requests are answered or dropped; the next client is served."""
    for data in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 20_000,
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: loc",
        b"",
    ):
        answer = b""
        with suppress(ConnectionError):  # closed before all was sent
            answer = world.raw(data)
        assert b" 200 " not in answer[:20]
    assert world.ask("/vision/cats@1.0.0/large.bin").body == NOISE


def test_more_connections_than_there_is_room_for(world: World, monkeypatch) -> None:
    """The one too many is told to come back, and can when another is gone."""
    monkeypatch.setattr(server, "CONNECTIONS", 3)  # the third is refused
    with serve(world.repo, port=0) as small:
        here = World(world.repo, world.source, small)
        with closing(here.connect()) as first, closing(here.connect()) as second:
            for connection in (first, second):
                assert exchange(connection, "/vision/cats@1.0.0/train/a/deep.txt").body == b"deep"
            assert here.ask("/").status == 503
            first.close()
            until(lambda: here.ask("/").status == 200)  # when the server has seen that it is closed


@pytest.mark.parametrize("asked", [False, True])
def test_a_request_that_comes_byte_by_byte_is_not_waited_for(world: World, monkeypatch, asked: bool) -> None:
    """Whoever sends just enough to look alive loses the connection, also after an answer."""
    monkeypatch.setattr(server, "IDLE", 0.6)
    with socket.create_connection(("127.0.0.1", world.server.port), timeout=20) as slow:
        if asked:
            slow.sendall(b"GET /words@1.0.0/a/deep.txt HTTP/1.1\r\nHost: localhost\r\n\r\n")
            while not slow.recv(65536).endswith(b"deep"):
                pass
        sent = 0
        with suppress(BrokenPipeError, ConnectionResetError):
            while sent < 1000:
                slow.sendall(b"X")
                sent += 1
                time.sleep(0.1)
        assert sent < 1000


@pytest.mark.parametrize("fetched", [False, True])
def test_a_client_that_does_not_read_is_not_waited_for(world: World, monkeypatch, fetched: bool) -> None:
    """Its connection ends in the middle of the body."""
    if fetched:
        world.repo.fetch("vision/cats@1.0.0")
    monkeypatch.setattr(server, "IDLE", 0.6)
    world.server._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)  # less than the file
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.settimeout(20)
        client.connect(("127.0.0.1", world.server.port))
        client.sendall(b"GET /vision/cats@1.0.0/large.bin HTTP/1.0\r\n\r\n")
        assert client.recv(9) == b"HTTP/1.1 "
        until(lambda: not world.server._uvicorn.server_state.connections)
        received = b""
        with suppress(ConnectionResetError):
            while part := client.recv(65536):
                received += part
    assert len(received) < len(NOISE)


def test_closing_ends_connections(world: World) -> None:
    """After `close` no connection that was kept is answered any more."""
    with serve(world.repo, port=0) as other:
        here = World(world.repo, world.source, other)
        connection = here.connect()
        assert exchange(connection, "/").status == 200
    with pytest.raises((OSError, HTTPException)):
        exchange(connection, "/")
    connection.close()


def test_a_version_that_is_deleted(world: World, tmp_path, monkeypatch) -> None:
    """Some seconds after it was deleted a version is not found, and the answer says who deleted it."""
    from dataver.web import catalogue

    monkeypatch.setattr(catalogue, "_FRESH", 0.0)
    assert world.ask("/vision/cats@1.0.0/train/a/deep.txt").status == 200
    world.repo.delete("vision/cats@1.0.0")
    gone = world.ask("/vision/cats@1.0.0/train/a/deep.txt")
    assert gone.status == 404
    assert b"was deleted on" in gone.body
    assert world.ask("/vision/cats@1.1.0/train/a/deep.txt").status == 200


def damage(world: World, tmp_path, at: int) -> None:
    for path in (tmp_path / "repo" / "packs").rglob("*"):
        if path.is_file():
            path.chmod(0o644)
            with path.open("r+b") as file:
                file.seek(at)
                file.write(bytes(100))


def test_a_file_that_is_damaged_where_it_begins(world: World, tmp_path) -> None:
    """The status says so, and the server's report names the file (invariant 1)."""
    for at in range(0, 3_000_000, 100_000):
        damage(world, tmp_path, at)
    got = world.ask("/vision/cats@1.0.0/large.bin")
    assert got.status == 500
    assert b"large.bin" in got.body
    assert any("large.bin" in report for report in world.reports)


def test_a_file_that_is_damaged_further_on_is_broken_off(world: World, tmp_path) -> None:
    """No wrong byte is sent: the body is shorter than the header said, which clients take for an error."""
    from http.client import IncompleteRead

    damage(world, tmp_path, 2_500_000)
    with closing(world.connect()) as connection:
        connection.request("GET", "/vision/cats@1.0.0/large.bin")
        with closing(connection.getresponse()) as response:
            assert response.status == 200
            with pytest.raises((IncompleteRead, ConnectionResetError)) as caught:
                response.read()
            if isinstance(caught.value, IncompleteRead):
                assert NOISE.startswith(caught.value.partial)
    assert world.ask("/vision/cats@1.0.0/train/a/deep.txt").status in (200, 500)


def test_a_repository_that_is_away(world: World, tmp_path) -> None:
    """502 or 404 with a sentence while it is away; afterwards all is as before."""
    (tmp_path / "repo").rename(tmp_path / "away")
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    assert world.ask("/vision/cats@1.0.0/large.bin").status in (404, 500, 502)
    (tmp_path / "away").rename(tmp_path / "repo")
    assert world.ask("/vision/cats@1.0.0/large.bin").body == NOISE


def test_addresses_that_cannot_be_listened_on(world: World) -> None:
    """A port in use, a foreign address, no port at all: each by its own sentence."""
    with pytest.raises(Conflict, match="in use") as caught:
        serve(world.repo, port=world.server.port)
    assert "--port 0" in (caught.value.hint or "")
    with pytest.raises(InvalidInput, match=r"192\.0\.2\.1"):
        serve(world.repo, "192.0.2.1", 0)
    with pytest.raises(InvalidInput, match="not an address"):
        serve(world.repo, "no such host.invalid", 0)
    with pytest.raises(InvalidInput, match="`port` is"):
        serve(world.repo, port=70_000)


def test_ipv6(world: World) -> None:
    """The other loopback works too, and its URL is written with brackets."""
    if not socket.has_ipv6:
        pytest.skip("this Python has no IPv6")
    try:
        other = serve(world.repo, "::1", 0)
    except InvalidInput as error:
        pytest.skip(f"this machine has no IPv6: {error}")
    with other:
        assert other.local
        assert other.url == f"http://[::1]:{other.port}"


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM"])
def test_the_command_says_its_url_and_ends_politely(world: World, tmp_path, how: str) -> None:
    """`dataver serve --json` prints one line when it is ready; Ctrl-C and SIGTERM end it with code 0."""
    import signal

    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from dataver_cli.main import main; sys.exit(main())"
    )
    words = [sys.executable, "-c", code, "serve", "--repo", str(tmp_path / "repo"), "--port", "0", "--json"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        told = json.loads(process.stdout.readline())
        assert told["url"] == f"http://localhost:{told['port']}"
        client = World(world.repo, world.source, type("Told", (), {"port": told["port"]})())
        assert client.ask("/vision/cats@1.0.0/large.bin").body == NOISE
        again = [*words[:-3], "--port", str(told["port"])]
        taken = subprocess.run(again, capture_output=True, text=True, timeout=120)
        assert taken.returncode == 5
        process.send_signal(getattr(signal, how))
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert (process.returncode, out, err) == (0, "", "")


def test_other_machines_are_let_in_with_a_token(world: World, tmp_path) -> None:
    """`--host 0.0.0.0` says what it means, and prints the address with the token."""
    import signal

    words = [sys.executable, "-m", "dataver_cli", "serve", "--repo", str(tmp_path / "repo")]
    process = subprocess.Popen(
        [*words, "--port", "0", "--host", "0.0.0.0"], stderr=subprocess.PIPE, text=True
    )
    try:
        assert "not encrypted" in process.stderr.readline()
        told = process.stderr.readline()
        assert "until Ctrl-C" in told
        port, token = re.search(r":(\d+)/-/\?token=(\S+)", told).groups()
        client = World(world.repo, world.source, type("Told", (), {"port": int(port)})())
        assert client.ask("/words@1.0.0/a/deep.txt").status == 401
        assert client.ask("/words@1.0.0/a/deep.txt", Authorization=f"Bearer {token}").body == b"deep"
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0
