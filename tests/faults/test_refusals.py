"""What will not pass is told at once; what will is waited for as long as the store asks."""

import secrets
import time

import pytest

import dataver
from dataver.errors import IntegrityError, StoreError
from dataver.storage import open_store
from servers.fault_schedule import FaultSchedule
from servers.proxy import Break, FaultyNetwork


def _store(server, network, prefix=None):
    options = server.options | {"endpoint_url": network.endpoint}
    return open_store(server.url(prefix or f"refusals/{secrets.token_hex(6)}"), options)


@pytest.mark.parametrize(
    ("what", "sentence", "hint"),
    [
        (Break.DENIED, r"the store refuses permission \(AccessDenied\)", "s3:GetObject"),
        (Break.NO_BUCKET, r"the bucket does not exist \(NoSuchBucket\)", "make the bucket"),
    ],
)
@pytest.mark.parametrize("doing", ["get", "put", "create", "list"])
def test_a_permanent_refusal_costs_one_request(moto_server, what, sentence, hint, doing):
    """No permission, no bucket: one request, one sentence, one next step."""
    with FaultyNetwork(moto_server.endpoint, lambda _seen: what) as network:
        store = _store(moto_server, network)
        calls = {
            "get": lambda: store.get("key"),
            "put": lambda: store.put("key", b"x"),
            "create": lambda: store.create("key", b"x"),
            "list": lambda: list(store.list()),
        }
        with pytest.raises(StoreError, match=sentence) as caught:
            calls[doing]()
        assert not caught.value.transient
        assert hint in str(caught.value.hint)
        assert len(network.seen) == 1


def test_retry_after_is_heeded(moto_server):
    """A store that asks for two seconds gets them, and is then asked once more."""
    left = [1]

    def rule(_seen):
        left[0] -= 1
        return Break.SLOW_DOWN if left[0] >= 0 else None

    with FaultyNetwork(moto_server.endpoint, rule, retry_after=2) as network:
        began = time.monotonic()
        _store(moto_server, network).put("key", b"x")
        assert time.monotonic() - began >= 2
        assert len(network.seen) == 2


def test_a_store_that_is_down_is_not_stormed(moto_server):
    """A hundred objects in threads at a store that only fails: a bounded number of requests, one error."""
    with FaultyNetwork(moto_server.endpoint, lambda _seen: Break.INTERNAL) as network:
        with pytest.raises(StoreError) as caught:
            _store(moto_server, network).put_many_new((f"{number}", b"x") for number in range(100))
        assert caught.value.transient
        assert len(network.seen) <= 64 + 100


@pytest.mark.parametrize("what", [Break.LOSE_REPLY, Break.RESET_BEFORE, Break.INTERNAL])
def test_a_lost_reply_to_the_record_publishes_one_version(moto_server, what, tmp_path, monkeypatch):
    """The conditional PUT of the record goes wrong twice: read back, it is ours; one version, one label."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_text("content")
    url = moto_server.url(f"records/{secrets.token_hex(6)}")
    whole = dataver.init(url, storage_options=moto_server.options)
    left = [2]

    def rule(seen):
        if seen.method != "PUT" or "/versions/" not in seen.path or not left[0]:
            return None
        left[0] -= 1
        return what

    with FaultyNetwork(moto_server.endpoint, rule) as network:
        options = moto_server.options | {"endpoint_url": network.endpoint}
        sent = dataver.open(url, storage_options=options).sync(tmp_path / "data", "d").upload
        assert network.broken[what] == 2 - left[0] > 0
    assert sent.version.ref == "d@1.0.0"
    assert [version.label for version in whole.versions("d")] == ["1.0.0"]
    assert whole.verify("d").findings == []


def test_a_record_that_is_damaged_in_the_store_is_named(moto_server):
    """Bytes that never fit what the store says of them are an error, once the store is known to tell MD5s."""
    rule = FaultSchedule({Break.FLIP: 1.0}, in_a_row=99)
    with FaultyNetwork(
        moto_server.endpoint, lambda seen: rule(seen) if "damaged" in seen.path else None
    ) as network:
        store = _store(moto_server, network)
        for key in ("sound", "damaged"):
            store.put(key, b"content")
        assert store.get("sound") == b"content"
        with pytest.raises(IntegrityError, match="damaged"):
            store.get("damaged")
