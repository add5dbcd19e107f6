"""Google Cloud Storage and Azure Blob Storage, by their emulators: `make clouds`."""

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from dataver.errors import AlreadyExists, DataverError, NotFound
from dataver.repository.create_once import probe_exclusive_create
from dataver.storage import open_store
from servers import CLOUDS, Server, chosen

pytestmark = pytest.mark.servers


@pytest.fixture(params=[name for name in CLOUDS if name in chosen()])
def cloud(request: pytest.FixtureRequest) -> Server:
    """Each emulator that this run is to use."""
    found: Server = request.getfixturevalue(f"{request.param}_server")
    return found


def test_azure_creates_once(cloud: Server) -> None:
    """Of eight threads that create the same key, one wins on Azure, and its bytes stay; the probe says so."""
    store = open_store(cloud.url(f"clouds/{secrets.token_hex(8)}"), cloud.options)
    assert probe_exclusive_create(store) is cloud.exclusive
    if not cloud.exclusive:
        return
    gate = Barrier(8)

    def race(me: int) -> list[int]:
        won = []
        for number in range(10):
            gate.wait()
            try:
                store.create(f"refs/{number}", f"{me}".encode())
                won.append(number)
            except AlreadyExists:
                continue
        return won

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(race, range(8)))
    for number in range(10):
        assert [me for me, numbers in enumerate(won) if number in numbers] == [
            int(store.get(f"refs/{number}"))
        ]


def test_nothing_is_asked_but_objects(cloud: Server, capfd: pytest.CaptureFixture[str]) -> None:
    """A store answers at once, without a look at the bucket's kind, and its client prints nothing."""
    began = time.monotonic()
    store = open_store(cloud.url(f"clouds/{secrets.token_hex(8)}"), cloud.options)
    store.put("key", b"value")
    assert store.get("key") == b"value"
    assert time.monotonic() - began < 50  # gcsfs's own look takes 60 s where gRPC is not answered
    assert capfd.readouterr() == ("", "")


def test_a_missing_bucket_is_an_error(cloud: Server) -> None:
    """A bucket that does not exist is refused when written, and has no objects when read."""
    store = open_store(f"{cloud.scheme}://no-such-bucket-here/x", cloud.options)
    with pytest.raises(NotFound):
        store.get("key")
    with pytest.raises(DataverError):
        store.put("key", b"value")
