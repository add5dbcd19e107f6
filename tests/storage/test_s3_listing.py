"""Listings of a bucket that are none: absence is believed only of a reply with the form of a listing."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from dataver.errors import StoreError
from dataver.storage import open_store

_TOP = '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name>'
_ONE = "<Contents><Key>r/datasets/a</Key><Size>3</Size></Contents>"
_GOOD = f"{_TOP}<IsTruncated>false</IsTruncated>{_ONE}</ListBucketResult>"
_NONE = {
    "an empty body": "",
    "a web page": "<html><body><p>Please sign in.</p></body></html>",
    "no word about more": f"{_TOP}{_ONE}</ListBucketResult>",
    "more without a token": f"{_TOP}<IsTruncated>true</IsTruncated>{_ONE}</ListBucketResult>",
    "keys of elsewhere": _GOOD.replace("r/datasets/a", "other/a"),
    "the same page again": f"{_TOP}<IsTruncated>true</IsTruncated><NextContinuationToken>t"
    f"</NextContinuationToken>{_ONE}</ListBucketResult>",
}


@contextmanager
def _answering(*bodies: str) -> Iterator[str]:
    """A server that gives these bodies with status 200, the last of them for ever; its address."""
    left = list(bodies)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = (left.pop(0) if len(left) > 1 else left[0]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def _keys(address: str) -> list[str]:
    options = {"endpoint_url": address, "key": "k", "secret": "s", "region": "us-east-1"}
    return [info.key for info in open_store("s3://bucket/r", options).list("datasets/")]


@pytest.mark.parametrize("name", _NONE)
def test_a_reply_that_is_no_listing_is_asked_for_again(name: str) -> None:
    """And the listing that comes then counts."""
    bodies = [_NONE[name]] * (2 if name == "the same page again" else 1)
    with _answering(*bodies, _GOOD) as address:
        assert set(_keys(address)) == {"datasets/a"}


def test_a_store_that_never_lists_is_an_error() -> None:
    """It is not an empty repository."""
    with _answering(_NONE["a web page"]) as address, pytest.raises(StoreError, match="not a listing"):
        _keys(address)
