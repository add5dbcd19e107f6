"""Every store keeps the contract: one suite, run against all of them."""

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from dataver.repository.create_once import probe_exclusive_create
from dataver.storage import LocalStore, MemoryStore, Store, open_store
from dataver.storage.fsspec_store import FsspecStore
from dataver.storage.s3 import S3Store
from dataver.storage.s3_transport import ByLoop
from dataver.testing.faulty import FaultyStore
from dataver.testing.store_contract import CONTRACT
from servers import CLOUDS, Server, chosen

_STORES = ["local", "memory", "faulty", "fsspec-memory", "fsspec-file"]
_SERVED = [*chosen(), *(f"{name}-s3fs" for name in chosen() if name not in CLOUDS)]


@pytest.fixture(params=[*_STORES, *(pytest.param(name, marks=pytest.mark.servers) for name in _SERVED)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind."""
    name = request.param
    if name in _SERVED:
        server: Server = request.getfixturevalue(f"{name.removesuffix('-s3fs')}_server")
        place, by_loop = f"contract/{secrets.token_hex(8)}", name.endswith("-s3fs")
        found = open_store(server.url(place), server.options)
        if by_loop:
            found = S3Store(f"{server.bucket}/{place}", server.options, connecting=ByLoop)
        found.exclusive_create = server.exclusive  # what the probe finds out at `init`
        return found
    if name == "local":
        return LocalStore(tmp_path / "repository")
    if name == "fsspec-memory":
        return open_store(f"memory://{secrets.token_hex(8)}/repository")
    if name == "fsspec-file":
        return FsspecStore(f"file://{tmp_path}/repository")
    return MemoryStore() if name == "memory" else FaultyStore(MemoryStore())


@pytest.mark.parametrize("clause", CONTRACT, ids=lambda clause: clause.__name__)
def test_store_keeps_the_contract(store: Store, clause: Callable[[Store], None]) -> None:
    """The store keeps this clause of the contract."""
    clause(store)


@pytest.mark.servers
def test_probe_tells_which_servers_honour_conditions(s3_server: Server) -> None:
    """SeaweedFS, moto and Ceph refuse the second create; rclone ignores the condition and is found out."""
    store = open_store(s3_server.url(f"probe/{secrets.token_hex(8)}"), s3_server.options)
    assert probe_exclusive_create(store) is s3_server.exclusive
    assert store.exclusive_create is s3_server.exclusive
    assert list(store.list()) == []
