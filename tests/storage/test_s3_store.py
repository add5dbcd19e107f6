"""S3 beyond the contract: credentials, buckets, one PUT an object, forks, pickles; no secret shown."""

import logging
import multiprocessing
import pickle
import secrets
import traceback
from typing import Any

import pytest

from dataver.errors import AlreadyExists, DataverError, InvalidInput, NotFound, StoreError
from dataver.repository.create_once import probe_exclusive_create
from dataver.storage import Store, open_store
from servers import Server
from servers.proxy import FaultyNetwork

pytestmark = pytest.mark.servers

_CANARY = "canary0secret0canary0secret0canary0secret"


def _fresh(server: Server, **options: Any) -> Store:
    return open_store(server.url(f"s3/{secrets.token_hex(8)}"), server.options | options)


def _everything_shown(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error) + str(getattr(error, "hint", ""))


def test_wrong_credentials_are_a_sentence_without_them(
    seaweedfs_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong secret gives a hint about credentials; the secret is in no message, traceback, log or repr."""
    store = _fresh(seaweedfs_server, secret=_CANARY)
    with caplog.at_level(logging.DEBUG), pytest.raises(StoreError) as caught:
        store.put("key", b"x")
    assert not caught.value.transient
    assert "credentials" in str(caught.value)
    assert "AWS_PROFILE" in str(caught.value.hint)
    shown = _everything_shown(caught.value) + repr(store) + store.url + caplog.text
    assert _CANARY not in shown


def test_missing_credentials_are_a_sentence(moto_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any credentials the hint says where they are looked for."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_server.endpoint)
    store = open_store(moto_server.url("x"))
    with pytest.raises(StoreError, match="no credentials were found") as caught:
        store.get("key")
    assert not caught.value.transient


def test_the_environment_is_enough(s3_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS_ENDPOINT_URL and the usual AWS variables open a store without any option."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    store = open_store(s3_server.url(f"s3/{secrets.token_hex(8)}"))
    store.put("key", b"x")
    assert store.get("key") == b"x"


def test_a_profile_can_be_named(
    moto_server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The option `profile` takes credentials and endpoint from the user's AWS files."""
    folder = tmp_path_factory.mktemp("aws")
    (folder / "config").write_text(
        f"[profile lab]\nregion = us-east-1\nendpoint_url = {moto_server.endpoint}\n"
        "aws_access_key_id = ACCESSKEYID\naws_secret_access_key = SECRETKEY123\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
    store = open_store(moto_server.url(f"s3/{secrets.token_hex(8)}"), {"profile": "lab"})
    store.put("key", b"x")
    assert store.get("key") == b"x"
    with pytest.raises(StoreError, match="profile"):
        open_store(moto_server.url("x"), {"profile": "nobody"}).get("key")


def test_a_public_bucket_is_read_without_credentials(moto_server: Server) -> None:
    """`anon` reads without signing."""
    whole = _fresh(moto_server, s3_additional_kwargs={"ACL": "public-read"})
    whole.put("key", b"x")
    anonymous = open_store(whole.url, {"anon": True, "endpoint_url": moto_server.endpoint})
    assert anonymous.get("key") == b"x"


def test_a_missing_bucket_is_not_a_missing_object(s3_server: Server) -> None:
    """A bucket that does not exist is named as the problem, when reading and when probing."""
    store = open_store("s3://no-such-bucket-here/x", s3_server.options)
    with pytest.raises(StoreError, match="bucket does not exist") as caught:
        store.get("key")
    assert not caught.value.transient
    with pytest.raises(StoreError, match="bucket does not exist"):
        list(store.list())
    if s3_server.name != "seaweedfs":  # makes missing buckets when an administrator writes
        with pytest.raises(StoreError, match="bucket does not exist"):
            probe_exclusive_create(store)


def test_an_unreachable_server_is_told_soon() -> None:
    """Nobody listening at the endpoint is a temporary error with a hint about it."""
    options = {"key": "k", "secret": _CANARY, "endpoint_url": "http://127.0.0.1:9"}
    with pytest.raises(StoreError, match="cannot be reached") as caught:
        open_store("s3://bucket/x", options).get("key")
    assert caught.value.transient
    assert "AWS_ENDPOINT_URL" in str(caught.value.hint)
    assert _CANARY not in _everything_shown(caught.value)


def test_an_unknown_option_is_told() -> None:
    """An option that s3fs does not take is a matter of settings, not a defect."""
    with pytest.raises(StoreError, match="settings"):
        open_store("s3://bucket/x", {"key": "k", "secret": "s", "no_such_option": 1}).get("key")


def test_an_object_is_one_put_with_its_checksum(moto_server: Server) -> None:
    """120 MB go as one PUT that carries its MD5; never multipart, where some servers ignore conditions."""
    with FaultyNetwork(moto_server.endpoint, lambda _seen: None) as network:
        store = _fresh(moto_server, endpoint_url=network.endpoint)
        store.create("packs/1", bytes(120 << 20))
        (request,) = network.seen
    assert request.method == "PUT"
    assert request.headers["If-None-Match"] == "*"
    assert request.headers["Content-MD5"]
    assert "?" not in request.path
    assert _fresh(moto_server).exists("packs/1") is False


def test_reading_costs_one_request(moto_server: Server) -> None:
    """A range, a tail, a whole object, a listing: one request each; nothing is asked beforehand."""
    with FaultyNetwork(moto_server.endpoint, lambda _seen: None) as network:
        store = _fresh(moto_server, endpoint_url=network.endpoint)
        store.put("key", b"0123456789")
        for use in (
            lambda: store.get("key"),
            lambda: store.get("key", 3, 4),
            lambda: store.get_tail("key", 3),
            lambda: store.stat("key"),
            lambda: list(store.list()),
            lambda: store.delete("key"),
        ):
            before = len(network.seen)
            use()
            assert len(network.seen) == before + 1


@pytest.mark.slow
def test_a_listing_of_many_pages_is_whole(moto_server: Server) -> None:
    """More keys than a page holds (1,000) are all listed."""
    store = _fresh(moto_server)
    store.put_many_new((f"many/{number:04}", b"") for number in range(1100))
    assert [info.key for info in store.list("many/")] == [f"many/{number:04}" for number in range(1100)]


def test_without_conditions_create_looks_first(rclone_server: Server) -> None:
    """On a server that ignores conditions, create still refuses a key that is there."""
    store = _fresh(rclone_server)
    assert probe_exclusive_create(store) is False
    store.create("refs/1", b"first")
    with pytest.raises(AlreadyExists):
        store.create("refs/1", b"second")
    assert store.get("refs/1") == b"first"


def _use_in_child(store: Store, results: "multiprocessing.SimpleQueue[bytes]") -> None:
    try:
        store.put("child", b"from the child")
        results.put(store.get("key", 0, 5))
    except BaseException as error:  # noqa: BLE001 - carried to the parent
        results.put(repr(error).encode())


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings(
    "ignore:This process:DeprecationWarning"
)  # forking with threads is what is tested
def test_it_works_in_children(moto_server: Server, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """A store that was used is used again in a forked and in a spawned child, and then in the parent."""
    for name, value in moto_server.environment.items():
        monkeypatch.setenv(name, value)
    store = open_store(moto_server.url(f"s3/{secrets.token_hex(8)}"))
    store.put("key", b"0123456789")
    context = multiprocessing.get_context(method)
    results = context.SimpleQueue()
    child = context.Process(target=_use_in_child, args=(store, results))
    child.start()
    child.join(120)
    assert child.exitcode == 0
    assert results.get() == b"01234"
    assert store.get("child") == b"from the child"


def test_literal_secrets_are_not_pickled(moto_server: Server) -> None:
    """A store that holds a secret refuses to be pickled; one from the environment has none to show."""
    with pytest.raises(InvalidInput, match="secret"):
        pickle.dumps(_fresh(moto_server))
    with pytest.raises(InvalidInput, match="aws_secret_access_key"):
        pickle.dumps(open_store("s3://bucket/x", {"client_kwargs": {"aws_secret_access_key": _CANARY}}))
    copy = pickle.loads(pickle.dumps(open_store("s3://bucket/x", {"endpoint_url": "http://127.0.0.1:9"})))
    assert copy.url == "s3://bucket/x"


def test_prefixes_do_not_see_each_other(moto_server: Server) -> None:
    """Two repositories in one bucket, one name beginning like the other, are apart."""
    name = secrets.token_hex(8)
    one = open_store(moto_server.url(name), moto_server.options)
    other = open_store(moto_server.url(f"{name}-2"), moto_server.options)
    other.put("key", b"x")
    assert list(one.list()) == []
    with pytest.raises(NotFound):
        one.get("key")


def test_every_error_here_is_ours(moto_server: Server) -> None:
    """What a server refuses without our knowing why still comes as one of our errors."""
    store = _fresh(moto_server, s3_additional_kwargs={"StorageClass": "NO_SUCH_CLASS"})
    with pytest.raises(DataverError):
        store.put("key", b"x")


def test_many_objects_are_deleted_with_one_request(s3_server: Server) -> None:
    """And another request than the listing and the writes is not made."""
    with FaultyNetwork(s3_server.endpoint, lambda _seen: None) as network:
        store = _fresh(s3_server, endpoint_url=network.endpoint)
        keys = [f"k/{number} é" for number in range(20)]
        for key in keys:
            store.put(key, b"x")
        before = len(network.seen)
        assert store.delete_many(keys[2:]) == {}
        assert len(network.seen) - before == 1
        assert [info.key for info in store.list()] == sorted(keys[:2])


def test_objects_that_a_reply_does_not_name_are_deleted_one_by_one(moto_server: Server) -> None:
    """Whatever a proxy or a server without this request answers, nothing is taken for deleted."""
    store = _fresh(moto_server)
    for key in ("a", "b", "c"):
        store.put(key, b"x")
    transport, _ = store._client()  # type: ignore[attr-defined]
    call = transport.call

    def silent(method: str, request: Any, seconds: float) -> Any:
        return {"Deleted": []} if method == "delete_objects" else call(method, request, seconds)

    transport.call = silent
    assert store.delete_many(["a", "b"]) == {}
    assert [info.key for info in store.list()] == ["c"]
