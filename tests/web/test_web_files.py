"""Files over HTTP: whole, in ranges, under conditions, to many at once."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from .conftest import NOISE, World, exchange

LARGE = "/vision/cats@1.0.0/large.bin"


def test_every_file_comes_as_it_is(world: World) -> None:
    """Body, length, entity tag (the file's BLAKE3), and the same header from HEAD, on one connection."""
    connection = world.connect()
    version = world.repo.version("vision/cats@1.0.0")
    for name in ("large.bin", "labels.csv", "train/a/deep.txt", "nothing"):
        got = exchange(connection, f"/vision/cats@1.0.0/{name}")
        assert (got.status, got.body) == (200, (world.source / name).read_bytes())
        assert got.headers["ETag"] == f'"{version.entry(name).digest.hex()}"'
        assert got.headers["Accept-Ranges"] == "bytes"
        asked = exchange(connection, f"/vision/cats@1.0.0/{name}", "HEAD")
        assert (asked.status, asked.body) == (200, b"")
        assert asked.headers["Content-Length"] == str(len(got.body))
        assert asked.headers["ETag"] == got.headers["ETag"]
    connection.close()
    assert world.ask("/vision/cats@1.0.0/link").body == NOISE
    assert world.ask("/vision%2Fcats%401.0.0/train/a/deep.txt").body == b"deep"
    assert world.ask(f"/{version.digest[:20]}/train/a/deep.txt").body == b"deep"


def test_a_fetched_version_is_served_from_its_folder(world: World, tmp_path) -> None:
    """Once this machine has fetched it, the repository's packs may be gone."""
    world.repo.fetch("vision/cats@1.0.0")
    for path in (tmp_path / "repo" / "packs").rglob("*"):
        if path.is_file():
            path.unlink()
    assert world.ask(LARGE).body == NOISE
    assert world.ask(LARGE, Range="bytes=1000000-1999999").body == NOISE[1_000_000:2_000_000]


def test_any_range_is_that_range(world: World) -> None:
    """200 ranges of all kinds, by four clients that keep their connections."""
    size = len(NOISE)

    def client(seed: int) -> bool:
        chance, connection = random.Random(seed), world.connect()
        for _ in range(50):
            start = chance.randrange(size)
            stop = start + chance.choice((1, 100, 70_000, 2_000_000))
            header, expected = chance.choice(
                (
                    (f"bytes={start}-{stop - 1}", NOISE[start:stop]),
                    (f"bytes={start}-", NOISE[start:]),
                    (f"bytes=-{size - start}", NOISE[start:]),
                )
            )
            got = exchange(connection, LARGE, Range=header)
            whole = f"bytes {start}-{start + len(expected) - 1}/{size}"
            assert (got.status, got.headers["Content-Range"]) == (206, whole)
            assert got.body == expected
        connection.close()
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(client, range(4)))


@pytest.mark.parametrize(
    "header",
    [
        "bytes=5-2",
        "bytes=a-b",
        "lines=1-2",
        "bytes=",
        "bytes=-",
        "0-5",
        "bytes=0-0,2-3",
        "bytes=" + "1-1," * 99,
    ],
)
def test_ranges_that_mean_nothing_are_as_good_as_none(world: World, header: str) -> None:
    """The whole file comes where a range is malformed, of another unit, or one of several."""
    got = world.ask("/vision/cats@1.0.0/train/a/deep.txt", Range=header)
    assert (got.status, got.body) == (200, b"deep")


def test_a_range_behind_the_end(world: World) -> None:
    """416 with the size; a range that ends there is cut."""
    behind = world.ask(LARGE, Range=f"bytes={len(NOISE)}-")
    assert (behind.status, behind.headers["Content-Range"]) == (416, f"bytes */{len(NOISE)}")
    assert world.ask(LARGE, Range="bytes=-0").status == 416
    assert world.ask("/vision/cats@1.0.0/nothing", Range="bytes=0-0").status == 416
    assert world.ask(LARGE, Range=f"bytes={len(NOISE) - 2}-99999999999").body == NOISE[-2:]


def test_what_a_client_has_is_not_sent_again(world: World) -> None:
    """304 by tag or time; a tag that differs brings the file; If-Match refuses what is another."""
    first = world.ask(LARGE)
    tag, made = first.headers["ETag"], first.headers["Last-Modified"]
    for headers in ({"If_None_Match": tag}, {"If_None_Match": f'"x", W/{tag}'}, {"If_Modified_Since": made}):
        again = world.ask(LARGE, **headers)
        assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
    assert world.ask(LARGE, If_None_Match='"x"', If_Modified_Since=made).status == 200
    assert world.ask(LARGE, If_Match='"x"').status == 412
    assert world.ask(LARGE, If_Match=tag).status == 200


def test_a_range_of_something_else_is_answered_with_the_whole(world: World) -> None:
    """A client that goes on with a download (If-Range) gets the rest of the same file, or all of another."""
    tag = world.ask(LARGE, "HEAD").headers["ETag"]
    made = world.ask(LARGE, "HEAD").headers["Last-Modified"]
    for condition in (tag, made):
        assert world.ask(LARGE, Range="bytes=10-", If_Range=condition).status == 206
    for condition in ('"other"', "Mon, 01 Jan 2001 00:00:00 GMT", f"W/{tag}", "nonsense"):
        got = world.ask(LARGE, Range="bytes=10-", If_Range=condition)
        assert (got.status, got.body) == (200, NOISE)


def test_only_a_digest_may_be_kept_for_ever(world: World, monkeypatch) -> None:
    """A tag that moves is another file with the next question; caches are told which address is which.

    A label means another file when another repository is served here: caches ask again, too.
    """
    from dataver.web import catalogue

    monkeypatch.setattr(catalogue, "_FRESH", 0.0)
    fixed = world.ask("/vision/cats@1.1.0/labels.csv")
    moving = world.ask("/vision/cats@production/labels.csv")
    assert fixed.body == moving.body == b"0,dog\n"
    digest = world.repo.version("vision/cats@1.1.0").digest
    for address in (f"/{digest}/labels.csv", f"/vision/cats@{digest}/labels.csv"):
        assert "immutable" in world.ask(address).headers["Cache-Control"]
    for again in (fixed, world.ask(f"/{digest[:30]}/labels.csv")):
        assert "no-cache" in again.headers["Cache-Control"]
    assert "Last-Modified" in fixed.headers
    assert "no-cache" in moving.headers["Cache-Control"]
    assert "Last-Modified" not in moving.headers  # it may go back
    world.repo.tag("vision/cats@1.0.0", "production")
    moved = world.ask("/vision/cats@production/labels.csv", If_None_Match=moving.headers["ETag"])
    assert (moved.status, len(moved.body)) == (200, len((world.source / "labels.csv").read_bytes()))
    assert "no-cache" in world.ask("/vision/cats@latest/labels.csv").headers["Cache-Control"]


def test_types_are_said_and_not_guessed(world: World) -> None:
    """Known types are named, others are bytes; no browser guesses, no page in a dataset is active."""
    csv = world.ask("/vision/cats@1.0.0/labels.csv", "HEAD").headers
    assert csv["Content-Type"] == "text/csv; charset=utf-8"
    assert csv["X-Content-Type-Options"] == "nosniff"
    assert world.ask(LARGE, "HEAD").headers["Content-Type"] == "application/octet-stream"
    page = world.ask("/vision/cats@1.0.0/strange/%3Cimg%20src=x%20onerror=alert(1)%3E.html", "HEAD")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Content-Security-Policy"] == "sandbox"
    assert "Access-Control-Allow-Origin" not in csv


def test_many_clients_at_once(world: World) -> None:
    """48 clients read the same and different parts; each gets its own."""

    def client(number: int) -> bool:
        start = number * 50_000
        return (
            world.ask(LARGE, Range=f"bytes={start}-{start + 99_999}").body == NOISE[start : start + 100_000]
        )

    with ThreadPoolExecutor(48) as pool:
        assert all(pool.map(client, range(48)))


def test_a_body_that_nobody_reads_takes_nothing_from_the_answer(world: World) -> None:
    """A GET with a body is answered whole, and what stands in the body is no request."""
    body = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000
    length = b"Content-Length: %d\r\n" % len(body)
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    for head, sent in (
        (length, body),
        (b"Transfer-Encoding: chunked\r\n", chunked),
        (length + b"Expect: 100-continue\r\n", body),
    ):
        request = b"GET %b HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % (LARGE.encode(), head)
        answer = world.raw(request + sent).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(NOISE)
        assert answer.count(b"HTTP/1.1 ") == 1
    lengths = b"Content-Length: 0\r\nContent-Length: %d\r\n" % len(body)
    answer = world.raw(b"GET %b HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % (LARGE.encode(), lengths) + body)
    assert answer.startswith(b"HTTP/1.1 400 ")  # RFC 9112, section 6.3
    assert answer.count(b"HTTP/1.1 ") == 1


def test_clients_that_hang_up_harm_nobody(world: World, caplog) -> None:
    """Twenty clients leave in the middle of a body; nothing is reported, and the next is served."""
    for _ in range(20):
        connection = world.connect()
        connection.request("GET", LARGE)
        response = connection.getresponse()
        assert response.read(1000) == NOISE[:1000]
        response.close()
        connection.close()
    assert world.ask(LARGE).body == NOISE
    assert world.reports == []
    assert caplog.records == []
