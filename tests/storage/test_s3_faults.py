"""The S3 store behind a network that fails: right bytes, or a typed error in time (invariants 1, 2 and 4)."""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import dataver
from dataver.errors import AlreadyExists, StoreError
from dataver.repository.create_once import Outcome, create_once
from dataver.storage import Store, open_store
from dataver.storage.s3 import S3Store
from dataver.storage.s3_transport import ByLoop, Transport, connect
from servers import Server
from servers.fault_schedule import FaultSchedule
from servers.proxy import Break, FaultyNetwork, Seen
from waiting import PATIENCE

pytestmark = pytest.mark.servers

_ONCE = [
    Break.RESET_BEFORE,
    Break.LOSE_REPLY,
    Break.CUT_BODY,
    Break.SHORT_BODY,
    Break.INTERNAL,
    Break.SLOW_DOWN,
]
_FOREIGN = [Break.PAGE, Break.EMPTY]


Connecting = Callable[[Mapping[str, Any]], Transport]


@pytest.fixture(params=[connect, ByLoop], ids=["by-thread", "by-loop"])
def connecting(request: pytest.FixtureRequest) -> Connecting:
    """Each of the ways to send requests."""
    chosen: Connecting = request.param
    return chosen


@contextmanager
def _broken(
    connecting: Connecting, server: Server, rule: Callable[[Seen], Break | None], **config: float
) -> Iterator[tuple[Store, Store, FaultyNetwork]]:
    """Give a store on a broken network, one beside it on a whole one, and the network."""
    url = server.url(f"faults/{secrets.token_hex(8)}")
    with FaultyNetwork(server.endpoint, rule) as network:
        options = server.options | {"endpoint_url": network.endpoint, "config_kwargs": config}
        place = url.removeprefix("s3://")
        yield S3Store(place, options, connecting=connecting), open_store(url, server.options), network


def _first(method: str, what: Break, times: int = 1) -> Callable[[Seen], Break | None]:
    left = [times]

    def rule(seen: Seen) -> Break | None:
        if seen.method != method or left[0] == 0:
            return None
        left[0] -= 1
        return what

    return rule


def _outcome(store: Store) -> str:
    try:
        store.create("refs/1", b"ours")
    except AlreadyExists:
        return "exists"
    except StoreError as error:
        return "unclear" if error.transient else "failed"
    return "won"


@pytest.mark.parametrize("what", _ONCE, ids=lambda what: what.name.lower())
def test_a_read_survives_one_failure(connecting: Connecting, moto_server: Server, what: Break) -> None:
    """A range is read right although its first reply is lost, cut, short or an error."""
    data = secrets.token_bytes(100_000)
    with _broken(connecting, moto_server, _first("GET", what)) as (store, whole, network):
        whole.put("key", data)
        assert store.get("key", 1000, 50_000) == data[1000:51_000]
        assert len(network.seen) > 1


@pytest.mark.parametrize("what", _ONCE, ids=lambda what: what.name.lower())
def test_reading_all_survives_one_failure(connecting: Connecting, moto_server: Server, what: Break) -> None:
    """A whole object is never returned short, unless a server lies about its length, which digests find."""
    data = secrets.token_bytes(100_000)
    with _broken(connecting, moto_server, _first("GET", what)) as (store, whole, _network):
        whole.put("key", data)
        got = store.get("key")
        assert got == data or (what is Break.SHORT_BODY and len(got) == len(data) // 2)


@pytest.mark.slow
@pytest.mark.parametrize("what", [*_ONCE, *_FOREIGN], ids=lambda what: what.name.lower())
def test_a_write_survives_one_failure(connecting: Connecting, moto_server: Server, what: Break) -> None:
    """A put is repeated until it is known to be done."""
    with _broken(connecting, moto_server, _first("PUT", what)) as (store, whole, _network):
        store.put("key", b"value" * 1000)
        assert whole.get("key") == b"value" * 1000


@pytest.mark.slow
@pytest.mark.parametrize(
    "what", [Break.RESET_BEFORE, Break.LOSE_REPLY, Break.INTERNAL, Break.CUT_BODY, *_FOREIGN]
)
def test_after_an_unclear_create_the_key_tells_who_won(
    connecting: Connecting, moto_server: Server, what: Break
) -> None:
    """Whatever create says, nobody's bytes are replaced, and ours are there or can be created now."""
    with _broken(connecting, moto_server, _first("PUT", what)) as (store, whole, _network):
        outcome = _outcome(store)
        assert outcome in ("won", "exists", "unclear")
        if outcome == "unclear" and not whole.exists("refs/1"):
            assert _outcome(store) == "won"
        assert whole.get("refs/1") == b"ours"  # also where "exists" was said: our own lost request won
        with pytest.raises(AlreadyExists):
            whole.create("refs/1", b"theirs")
        assert whole.get("refs/1") == b"ours"


@pytest.fixture(params=["moto", "seaweedfs", "rclone"])
def server(request: pytest.FixtureRequest) -> Server:
    """Servers that compare the MD5 of a body (SeaweedFS, rclone), and one that stores what arrives (moto)."""
    chosen: Server = request.getfixturevalue(f"{request.param}_server")
    return chosen


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("size", [5000, 2_000_000])
@pytest.mark.parametrize("method", ["put", "create", "put_file_new"])
def test_what_is_damaged_on_the_way_there_is_sent_again(
    connecting: Connecting, server: Server, tmp_path: Path, method: str, size: int, times: int
) -> None:
    """A bit of the body flips, once or more often: the right bytes are there when the call returns."""
    data = secrets.token_bytes(size)
    (tmp_path / "file").write_bytes(data)
    with _broken(connecting, server, _first("PUT", Break.FLIP_SENT, times)) as (store, whole, network):
        if method == "create":
            assert create_once(store, "packs/1", data) is Outcome.WON
        else:
            getattr(store, method)("packs/1", tmp_path / "file" if method == "put_file_new" else data)
        assert whole.get("packs/1") == data
        assert network.broken[Break.FLIP_SENT] == times


def test_damage_that_does_not_end_is_an_error(connecting: Connecting, moto_server: Server) -> None:
    """It names the key, and may be tried again."""
    with _broken(connecting, moto_server, _first("PUT", Break.FLIP_SENT, 1000)) as (store, _whole, _network):
        with pytest.raises(StoreError, match=r"trees/1 arrived in .* with other bytes") as caught:
            store.put("trees/1", bytes(5000))
        assert caught.value.transient


def test_a_server_whose_etags_are_no_md5s_is_believed(connecting: Connecting, moto_server: Server) -> None:
    """What it stored is read back once, and its ETags mean nothing from then on."""

    def other_etags(options: Mapping[str, Any]) -> Transport:
        transport = connecting(options)
        call = transport.call

        def changed(method: str, request: Mapping[str, Any], seconds: float) -> Mapping[str, Any]:
            return dict(call(method, request, seconds)) | {"ETag": f'"{secrets.token_hex(16)}"'}

        transport.call = changed  # type: ignore[method-assign]
        return transport

    with _broken(other_etags, moto_server, lambda _seen: None) as (store, whole, network):
        for number in range(3):
            store.put(f"trees/{number}", b"%d" % number * 500)
            assert whole.get(f"trees/{number}") == b"%d" % number * 500
        assert [seen.method for seen in network.seen] == ["PUT", "GET", "PUT", "PUT"]


@pytest.mark.slow
def test_a_repository_on_a_line_that_damages_uploads_is_sound(
    moto_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every second PUT is damaged, and the server compares nothing: no object is published damaged."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "source").mkdir()
    for number in range(20):
        (tmp_path / "source" / f"{number}").write_bytes(secrets.token_bytes(100_000))
    url = moto_server.url(f"faults/{secrets.token_hex(8)}")
    schedule = FaultSchedule({Break.FLIP_SENT: 0.5})
    with FaultyNetwork(moto_server.endpoint, schedule) as network:
        options = moto_server.options | {"endpoint_url": network.endpoint}
        repo = dataver.init(url, storage_options=options)
        for _ in range(3):
            repo.sync(tmp_path / "source", "d")
            (tmp_path / "source" / "0").write_bytes(secrets.token_bytes(100_000))
        repo.tag("d@1.0.0", "prod")
        assert network.broken[Break.FLIP_SENT] > 3
    report = dataver.open(url, storage_options=moto_server.options).verify()
    assert report.findings == [] and report.versions == 3


def test_a_conflicting_write_under_way_is_waited_for(connecting: Connecting, moto_server: Server) -> None:
    """AWS answers 409 while another conditional write is undecided; create asks again."""
    with _broken(connecting, moto_server, _first("PUT", Break.CONFLICT, times=3)) as (store, whole, _network):
        store.create("refs/1", b"ours")
        assert whole.get("refs/1") == b"ours"


def test_endless_conflicts_end_in_a_transient_error(connecting: Connecting, moto_server: Server) -> None:
    """If the other write is never decided, create gives up and says that it may be tried again."""
    with (
        _broken(connecting, moto_server, _first("PUT", Break.CONFLICT, times=1000)) as (
            store,
            _whole,
            _network,
        ),
        pytest.raises(StoreError) as caught,
    ):
        store.create("refs/1", b"ours")
    assert caught.value.transient


def test_three_slow_downs_are_waited_for(connecting: Connecting, moto_server: Server) -> None:
    """A throttled store is asked again, later."""
    with _broken(connecting, moto_server, _first("GET", Break.SLOW_DOWN, times=3)) as (
        store,
        whole,
        _network,
    ):
        whole.put("key", b"value")
        assert store.get("key") == b"value"


def test_a_hanging_server_ends_in_an_error_in_time(connecting: Connecting, moto_server: Server) -> None:
    """A server that never answers makes a typed error after a bounded time, with few requests."""
    with _broken(connecting, moto_server, lambda _seen: Break.HANG, read_timeout=0.1) as (
        store,
        _whole,
        network,
    ):
        began = time.monotonic()
        with pytest.raises(StoreError, match="did not answer in time") as caught:
            store.get("key")
        assert caught.value.transient
        assert time.monotonic() - began < PATIENCE
        assert len(network.seen) <= 20
