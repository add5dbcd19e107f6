"""A repository behind SSH: the store contract and a whole story, against a real SFTP server."""

import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import dataver
from dataver.errors import StoreError
from dataver.repository.create_once import probe_exclusive_create
from dataver.storage import Store, open_store
from dataver.testing.store_contract import CONTRACT

pytest.importorskip("asyncssh")
pytest.importorskip("paramiko")
pytestmark = pytest.mark.servers


_SERVER = """
import asyncio, sys, asyncssh

class Login(asyncssh.SSHServer):
    def password_auth_supported(self):
        return True

    def validate_password(self, username, password):
        return (username, password) == ("me", "hunter2")

class Files(asyncssh.SFTPServer):
    def scandir(self, path):
        if path.endswith(b"refused"):
            raise asyncssh.SFTPPermissionDenied("refused")
        return super().scandir(path)

async def serve():
    server = await asyncssh.create_server(
        Login, "127.0.0.1", 0, server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
        sftp_factory=lambda channel: Files(channel, chroot=sys.argv[1]))
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.wait_closed()

asyncio.run(serve())
"""


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """An SFTP server on this machine; the options that reach it."""
    command = [sys.executable, "-c", _SERVER, str(tmp_path_factory.mktemp("sftp"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        login = {"username": "me", "password": "hunter2", "look_for_keys": False, "allow_agent": False}
        yield {"port": port, **login}
        process.kill()


@pytest.fixture
def store(options: dict[str, Any]) -> Store:
    """An empty folder on it."""
    return open_store(f"sftp://127.0.0.1/{secrets.token_hex(8)}", options)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("clause", CONTRACT, ids=lambda clause: clause.__name__)
def test_sftp_keeps_the_contract(store: Store, clause: Callable[[Store], None]) -> None:
    """The store keeps this clause of the contract, from many threads too."""
    clause(store)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_folder_that_cannot_be_listed_is_not_empty(store: Store) -> None:
    """An error below the listed folder is raised: objects that are not listed would count as missing."""
    store.put("a/refused/key", b"value")
    store.put("a/other/key", b"value")
    with pytest.raises(StoreError, match="permission"):
        list(store.list("a/"))
    assert [info.key for info in store.list("a/other/")] == ["a/other/key"]
    assert list(store.list("a/other/key/")) == []


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_repository_behind_ssh(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made, filled, fetched and verified; that two writers can both win is known; a wrong login is said."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.bin").write_bytes(secrets.token_bytes(100_000))
    url = f"sftp://127.0.0.1/{secrets.token_hex(8)}"
    repo = dataver.init(url, storage_options=options)
    assert not repo._core.config.create_if_absent
    repo.sync(tmp_path / "photos", "vision/cats")
    assert repo.fetch("vision/cats", dest=tmp_path / "out").files == 1
    assert repo.verify("vision/cats").ok
    assert not probe_exclusive_create(open_store(url, options))
    with pytest.raises(StoreError, match="login") as caught:
        dataver.open(url, storage_options=options | {"password": "wrong"})
    assert "username" in str(caught.value.hint)
