"""The S3 store behind a network that fails: right bytes, or a typed error in time (invariants 1, 2 and 4)."""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from dataver.errors import AlreadyExists, StoreError
from dataver.storage import Store, open_store
from dataver.storage.s3 import S3Store
from dataver.storage.s3_transport import ByLoop, Transport, connect
from dataver.testing.proxy import Break, FaultyNetwork, Seen
from dataver.testing.servers import Server

pytestmark = pytest.mark.servers

_ONCE = [
    Break.RESET_BEFORE,
    Break.LOSE_REPLY,
    Break.CUT_BODY,
    Break.SHORT_BODY,
    Break.INTERNAL,
    Break.SLOW_DOWN,
]


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


@pytest.mark.parametrize("what", _ONCE, ids=lambda what: what.name.lower())
def test_a_write_survives_one_failure(connecting: Connecting, moto_server: Server, what: Break) -> None:
    """A put is repeated until it is known to be done."""
    with _broken(connecting, moto_server, _first("PUT", what)) as (store, whole, _network):
        store.put("key", b"value" * 1000)
        assert whole.get("key") == b"value" * 1000


@pytest.mark.parametrize("what", [Break.RESET_BEFORE, Break.LOSE_REPLY, Break.INTERNAL, Break.CUT_BODY])
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
        assert time.monotonic() - began < 30
        assert len(network.seen) <= 20
