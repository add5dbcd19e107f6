"""How requests to S3 are sent: the transport that fits the options, the checksums that fit the server."""

import base64
import hashlib
import secrets
import threading
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from dataver.errors import NotFound, StoreError
from dataver.storage.body import Body
from dataver.storage.s3 import S3Store
from dataver.storage.s3_transport import ByLoop, ByThread, connect
from servers import Server
from servers.proxy import FaultyNetwork, Seen

_OPTIONS = {"key": "k", "secret": "s", "client_kwargs": {"region_name": "us-east-1"}}
_BODY = secrets.token_bytes(1 << 20)


def _checksums(seen: list[Seen]) -> list[set[str]]:
    wanted = {"content-md5", "x-amz-checksum-crc32"}
    return [wanted & {name.lower() for name in one.headers} for one in seen if one.method == "PUT"]


@contextmanager
def _answering(
    status: int, unless: str, value: str | None = None
) -> Iterator[tuple[S3Store, list[set[str]]]]:
    """Give a store on a server that answers `status` to a PUT with the header `unless` (of that value)."""
    seen: list[set[str]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the parent's name
            """Say nothing."""

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append({name.lower() for name in self.headers})
            bad = unless in self.headers and value in (None, self.headers[unless])
            self.send_response_only(status if bad else 200)
            if not bad:
                self.send_header("ETag", f'"{hashlib.md5(body).hexdigest()}"')
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield S3Store("bucket/x", _OPTIONS | {"endpoint_url": f"http://127.0.0.1:{server.server_port}"}), seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_second_client_of_a_process_reads_no_descriptions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers of a loader are forked from a process that has read them; reading them takes 80 ms and more."""
    assert ByThread.of(_OPTIONS) is not None

    def read(_self: object, path: str) -> None:
        raise AssertionError(f"{path} was read again")

    monkeypatch.setattr("botocore.loaders.JSONFileLoader.load_file", read)
    assert ByThread.of(_OPTIONS) is not None


def test_what_only_s3fs_knows_goes_through_s3fs() -> None:
    """Threads are the rule; an option or a setting of s3fs's own leads to s3fs."""
    assert isinstance(connect(_OPTIONS | {"endpoint_url": "http://127.0.0.1:9"}), ByThread)
    assert isinstance(connect(_OPTIONS | {"max_concurrency": 3, "requester_pays": True}), ByThread)
    assert isinstance(connect(_OPTIONS | {"cache_regions": True}), ByLoop)
    assert isinstance(connect(_OPTIONS | {"config_kwargs": {"connector_args": {}}}), ByLoop)


@pytest.mark.servers
@pytest.mark.parametrize("connecting", [connect, ByLoop], ids=["by-thread", "by-loop"])
def test_a_server_that_compares_the_crc_is_sent_no_md5(seaweedfs_server: Server, connecting: Any) -> None:
    """SeaweedFS answers with the CRC32 of the first pack, so the next packs carry that alone."""
    with FaultyNetwork(seaweedfs_server.endpoint, lambda _seen: None) as network:
        options = seaweedfs_server.options | {"endpoint_url": network.endpoint}
        place = f"{seaweedfs_server.bucket}/{secrets.token_hex(8)}"
        store = S3Store(place, options, connecting=connecting)
        for number in range(3):
            store.put(f"packs/{number}", _BODY)
        store.put("small", b"x")
        store.create("record", _BODY)
        both, crc, md5 = {"content-md5", "x-amz-checksum-crc32"}, {"x-amz-checksum-crc32"}, {"content-md5"}
        assert _checksums(network.seen) == [both, crc, crc, md5, md5]
    assert store.get("packs/2") == _BODY


@pytest.mark.servers
def test_a_server_that_compares_the_crc_refuses_a_wrong_one(seaweedfs_server: Server) -> None:
    """The CRC32 that is answered was compared: with a wrong one a pack is not stored."""
    transport = connect(seaweedfs_server.options)
    wrong = base64.b64encode((zlib.crc32(_BODY) ^ 1).to_bytes(4, "big")).decode()
    request = {"Bucket": seaweedfs_server.bucket, "Key": "damaged", "Body": Body(_BODY)} | {
        "ChecksumCRC32": wrong
    }
    with pytest.raises(Exception, match="BadDigest"):
        transport.call("put_object", request, 60)


@pytest.mark.servers
@pytest.mark.parametrize("name", ["moto", "rclone"])
def test_a_server_that_does_not_is_sent_the_md5(request: pytest.FixtureRequest, name: str) -> None:
    """Neither answers with a CRC32, so after the first pack they get the MD5 alone."""
    server: Server = request.getfixturevalue(f"{name}_server")
    with FaultyNetwork(server.endpoint, lambda _seen: None) as network:
        options = server.options | {"endpoint_url": network.endpoint}
        store = S3Store(f"{server.bucket}/{secrets.token_hex(8)}", options)
        for number in range(3):
            store.put(f"packs/{number}", _BODY)
        both = {"content-md5", "x-amz-checksum-crc32"}
        assert _checksums(network.seen) == [both, {"content-md5"}, {"content-md5"}]


@pytest.mark.parametrize("status", [400, 501])
def test_a_server_that_refuses_the_crc_is_sent_the_md5(status: int) -> None:
    """Where the unknown header is an error, the pack is sent once more without it, and so are the next."""
    with _answering(status, "x-amz-checksum-crc32") as (store, seen):
        store.put("packs/1", _BODY)
        store.put("packs/2", _BODY)
        assert ["x-amz-checksum-crc32" in headers for headers in seen] == [True, False, False]
        assert all("content-md5" in headers for headers in seen)


def test_what_is_refused_without_the_crc_too_is_an_error() -> None:
    """A pack that the server wants in no way is refused after the second try."""
    with _answering(400, "content-md5") as (store, seen):
        with pytest.raises(StoreError) as caught:
            store.put("packs/1", _BODY)
        assert not caught.value.transient
        assert len(seen) == 2


def test_tls_and_a_checksum_spare_the_hash_of_the_body() -> None:
    """Over https a pack is not hashed for its signature; over plain http, or without a checksum, it is."""
    found = []

    def note(request: Any, **_: Any) -> None:
        found.append(request.headers["X-Amz-Content-SHA256"] == b"UNSIGNED-PAYLOAD")
        raise InterruptedError

    for scheme in ("https", "http"):
        transport = ByThread.of(_OPTIONS | {"endpoint_url": f"{scheme}://127.0.0.1:9"})
        assert transport is not None
        transport._client.meta.events.register("before-send.s3", note)
        for checksum in ({"ChecksumCRC32": "AAAAAA=="}, {"ContentMD5": "AAAAAA=="}, {}):
            request = {"Bucket": "bucket", "Key": "key", "Body": Body(_BODY)} | checksum
            with pytest.raises(InterruptedError):
                transport.call("put_object", request, 5)
    assert found == [True, True, False, False, False, False]


def _signed(seen: list[Seen]) -> list[bool]:
    headers = [{name.lower(): value for name, value in one.headers.items()} for one in seen]
    return [one["x-amz-content-sha256"] != "UNSIGNED-PAYLOAD" for one in headers]


@pytest.mark.servers
def test_packs_behind_the_first_are_not_hashed_for_their_signature(s3_server: Server) -> None:
    """Their checksum is signed instead; small objects and what is created are signed as a whole."""
    with FaultyNetwork(s3_server.endpoint, lambda _seen: None) as network:
        options = s3_server.options | {"endpoint_url": network.endpoint}
        store = S3Store(f"{s3_server.bucket}/{secrets.token_hex(8)}", options)
        for number in range(3):
            store.put(f"packs/{number}", _BODY)
        store.put("small", b"x")
        store.create("record", _BODY)
        put = [one for one in network.seen if one.method == "PUT"]
        assert _signed(put) == [True, False, False, True, True]
        for one in put[1:3]:
            signed = one.headers["Authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
            assert {"content-md5", "x-amz-checksum-crc32"} & set(signed)
        assert [store.get(f"packs/{number}") for number in range(3)] == [_BODY] * 3


def test_where_bodies_must_be_signed_they_are() -> None:
    """A server that refuses an unsigned body gets the same signed, and so are the next."""
    with _answering(403, "x-amz-content-sha256", "UNSIGNED-PAYLOAD") as (store, seen):
        for number in range(3):
            store.put(f"packs/{number}", _BODY)
        assert len(seen) == 4


def test_a_refusal_of_what_was_accepted_before_is_not_tried_otherwise() -> None:
    """Once unsigned bodies are known to be taken, a 403 is about something else: one request, one error."""
    with _answering(403, "content-md5") as (store, seen):
        store._compares_crc, store._takes_unsigned = False, True
        with pytest.raises(StoreError, match="permission"):
            store.put("packs/2", _BODY)
        assert len(seen) == 1


def test_who_wants_bodies_signed_gets_that() -> None:
    """`payload_signing_enabled` of botocore's settings is heeded."""
    with _answering(501, "x-amz-content-sha256", "UNSIGNED-PAYLOAD") as (plain, seen):
        signing = {"s3": {"payload_signing_enabled": True}}
        store = S3Store("bucket/x", plain._options | {"config_kwargs": signing})
        for number in range(3):
            store.put(f"packs/{number}", _BODY)
        assert len(seen) == 3


@pytest.mark.servers
def test_a_file_is_sent_in_parts(s3_server: Server, tmp_path: Path) -> None:
    """A pack of the spool arrives as it is, and is not read into memory as a whole."""
    body = secrets.token_bytes(24 << 20)
    (tmp_path / "pack").write_bytes(body)
    store = S3Store(f"{s3_server.bucket}/{secrets.token_hex(8)}", s3_server.options)
    store.put_file_new("packs/1", tmp_path / "pack")
    tracemalloc.start()
    store.put_file_new("packs/2", tmp_path / "pack")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 4 << 20
    assert store.get("packs/1") == store.get("packs/2") == body


def test_a_file_that_cannot_be_read_is_no_matter_of_the_network(tmp_path: Path) -> None:
    """A pack that is gone, or becomes shorter while it is sent, is said to be so; nothing is repeated."""
    with _answering(400, "x-amz-meta-never") as (store, seen):
        with pytest.raises(NotFound, match="gone"):
            store._put("packs/0", tmp_path / "gone")
        (tmp_path / "pack").write_bytes(_BODY)
        body = Body(tmp_path / "pack")
        (tmp_path / "pack").write_bytes(_BODY[:500_000])
        transport = connect(store._options)
        with pytest.raises(StoreError, match="became shorter") as caught:
            transport.call("put_object", {"Bucket": "bucket", "Key": "k", "Body": body}, 20)
        assert not caught.value.transient
        assert len(seen) <= 1


@pytest.mark.servers
def test_sending_ends_in_time(moto_server: Server) -> None:
    """A body that is not sent within its time is given up, by the clock and not by the part."""
    transport = connect(moto_server.options)
    request = {"Bucket": moto_server.bucket, "Key": "late", "Body": Body(bytes(8 << 20))}
    with pytest.raises(TimeoutError):
        transport.call("put_object", request, 0.0)
