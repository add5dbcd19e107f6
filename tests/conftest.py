"""Fixtures for all tests: a machine of its own for each run, and real object-store servers.

The servers start when the first test asks for one and end with the run (with pytest-xdist: one set a worker).
They are never left out silently: where a program is missing the tests fail, unless DATAVER_TEST_SERVERS=0;
DATAVER_TEST_SERVERS=ceph runs what runs against every server against that one.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec

import pytest

from copies import copy_of  # noqa: F401
from dataver.storage.retry import retry
from first_hour.playing import bucket, play, programs  # noqa: F401
from properties import examples
from servers import SERVERS, Server, chosen

collect_ignore = [] if find_spec("playwright") else ["browser"]  # `make browser` installs it

if find_spec("hypothesis"):  # the trackers' environments have none
    from hypothesis import settings

    # how long an example takes is the machine's business
    settings.register_profile("unhurried", deadline=None, max_examples=examples(100))
    settings.load_profile("unhurried")


def pytest_configure() -> None:
    """A suite in the background of a shell inherits that Ctrl-C is ignored; its processes are to obey it."""
    if (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    ):
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def own_machine(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep every test away from the user's settings, cache and cloud accounts."""
    for name in os.environ:
        if name.startswith(("AWS_", "DATAVER_", "FSSPEC_")) and name != "DATAVER_TEST_SERVERS":
            monkeypatch.delenv(name)
    monkeypatch.setenv("DATAVER_LINEAGE", "off")  # tests of lineage run processes of their own, with it on
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    for variable in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def pytest_sessionstart() -> None:
    """Leave out flushes in this process, where no test loses power, and shorten the delays of retries.

    Child processes flush and wait as long as users' do, and the tests of power cuts flush.
    """
    os.fsync = os.fstat  # type: ignore[assignment]  # which refuses a descriptor that is not open, too
    sys.modules[retry.__module__].FIRST_PAUSE = 0.002  # type: ignore[attr-defined]
    if find_spec("botocore"):  # each client reads its descriptions of S3 anew, which takes 80 ms
        from botocore.loaders import JSONFileLoader

        JSONFileLoader.load_file = staticmethod(lru_cache(JSONFileLoader().load_file))


def _server(name: str, folders: pytest.TempPathFactory) -> Iterator[Server]:
    if os.environ.get("DATAVER_TEST_SERVERS") == "0":
        pytest.skip("DATAVER_TEST_SERVERS=0 leaves the servers out")
    folder = folders.mktemp(name)
    with SERVERS[name](folder) as server:
        yield server


@pytest.fixture(scope="session")
def seaweedfs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """SeaweedFS: a real S3 server with conditional writes."""
    yield from _server("seaweedfs", tmp_path_factory)


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """moto: S3 in memory, quick to start."""
    yield from _server("moto", tmp_path_factory)


@pytest.fixture(scope="session")
def rclone_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`rclone serve s3`: a server that accepts conditions and ignores them."""
    yield from _server("rclone", tmp_path_factory)


@pytest.fixture(scope="session")
def ceph_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Ceph's gateway: honours conditions, but not on multipart uploads."""
    if "ceph" not in chosen():
        pytest.skip("Ceph's programs come from the system's packages: `make test-ceph`")
    yield from _server("ceph", tmp_path_factory)


@pytest.fixture(scope="session")
def gcs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An emulator of Google Cloud Storage, which ignores conditions."""
    yield from _server("gcs", tmp_path_factory)


@pytest.fixture(scope="session")
def azure_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An emulator of Azure Blob Storage, which honours conditions."""
    yield from _server("azure", tmp_path_factory)


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.servers) for name in chosen()])
def s3_server(request: pytest.FixtureRequest) -> Server:
    """Each of the servers in turn."""
    server: Server = request.getfixturevalue(f"{request.param}_server")
    return server
