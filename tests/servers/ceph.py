"""Ceph with its S3 gateway, the smallest that answers: a monitor, one object store in memory, a gateway.

One idea: the gateway is what many teams call "our S3", and it differs from AWS where it hurts: it honours
`If-None-Match` on a PUT, ignores it when a multipart upload is completed, ignores `If-Match` on DELETE, and
compares a body's MD5 but neither its SHA-256 nor newer checksums (measured with 16.2.15). So the store
contract and the story of the main job run against it, too.

All of it listens on 127.0.0.1, keeps its keys and its data in one folder, and ends with the test. Debian and
Ubuntu have the programs: radosgw, ceph-mon, ceph-osd, ceph-common. No manager is needed.
"""

import contextlib
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from .process import KEY, SECRET, Server, find_program, free_ports, ready, running, wait_for

__all__ = ["ceph"]

_MEMORY = 6 << 30  # bytes that may be stored; taken as they come
_CAPS = {
    "mon.": ("mon",),
    "client.admin": ("mon", "osd"),
    "client.rgw": ("mon", "osd"),
    "osd.0": ("mon", "osd"),
}
"""Who may do everything where; `auth = none` does not work for the gateway."""


@contextlib.contextmanager
def ceph(folder: Path) -> Iterator[Server]:
    """Run a monitor, an object store and a gateway with their state in `folder`."""
    v2, v1, s3 = free_ports(3)
    cluster = _Cluster(folder, str(uuid.uuid4()), f"[v2:127.0.0.1:{v2},v1:127.0.0.1:{v1}]", s3)
    cluster.prepare()
    with contextlib.ExitStack() as stack:
        monitor = stack.enter_context(cluster.daemon("mon", "ceph-mon", "-i", "a"))
        wait_for(lambda: cluster.answers("ceph", "osd", "stat"), monitor, folder / "mon.log")
        cluster.prepare_osd()
        osd = stack.enter_context(cluster.daemon("osd", "ceph-osd", "-i", "0"))
        wait_for(lambda: "1 up" in cluster.ask("ceph", "osd", "stat"), osd, folder / "osd.log")
        words = ("user", "create", "--uid=t", "--display-name=t")
        cluster.ask(
            "radosgw-admin", "-n", "client.rgw", *words, f"--access-key={KEY}", f"--secret-key={SECRET}"
        )
        gateway = stack.enter_context(cluster.daemon("rgw", "radosgw", "-n", "client.rgw"))
        yield ready("ceph", gateway, folder / "rgw.log", s3, "/", exclusive=True)


class _Cluster:
    """The files of a cluster, and its programs."""

    def __init__(self, folder: Path, fsid: str, monitor: str, port: int) -> None:
        self._folder, self._fsid, self._monitor, self._port = folder, fsid, monitor, port
        self._conf = folder / "ceph.conf"
        self._keyring = folder / "keyring"

    def prepare(self) -> None:
        """Write the configuration, the keys and the monitor's store."""
        for name in ("mon", "osd", "rgw"):
            (self._folder / name).mkdir()
        self._conf.write_text(self._configuration(), "utf-8")
        for name, rooms in _CAPS.items():
            words = [word for room in rooms for word in ("--cap", room, "allow *")]
            make = () if self._keyring.exists() else ("-C",)
            self.ask("ceph-authtool", *make, str(self._keyring), "--gen-key", "-n", name, *words)
        found = str(self._folder / "monmap")
        self.ask("monmaptool", "--create", "--addv", "a", self._monitor, "--fsid", self._fsid, found)
        where = ("--monmap", found, "--keyring", str(self._keyring))
        self.ask("ceph-mon", "-i", "a", "--mkfs", *where)

    def prepare_osd(self) -> None:
        """Make the monitor know the object store, and its empty store."""
        name = str(uuid.uuid4())
        self.ask("ceph", "osd", "new", name)
        self.ask("ceph", "auth", "import", "-i", str(self._keyring))
        self.ask("ceph", "osd", "crush", "add", "osd.0", "1.0", "root=default", "host=localhost")
        self.ask("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", name)

    def daemon(
        self, name: str, program: str, *words: str
    ) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
        """Run a program in the foreground, its log beside its data."""
        return running(self._command(program, ("-f", *words)), self._folder / f"{name}.log")

    def ask(self, program: str, *words: str) -> str:
        """Run a program to its end; return what it said.

        Raises:
            RuntimeError: it failed; the message is what it said.
        """
        command = self._command(program, words)
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed: {done.stderr[-2000:]}")
        return done.stdout

    def answers(self, program: str, *words: str) -> bool:
        """Tell whether a program succeeds."""
        with contextlib.suppress(RuntimeError):
            self.ask(program, *words)
            return True
        return False

    def _command(self, program: str, words: Sequence[str]) -> list[str]:
        return [find_program(program), "-c", str(self._conf), *words]

    def _configuration(self) -> str:
        folder = self._folder
        return f"""[global]
fsid = {self._fsid}
mon host = {self._monitor}
public network = 127.0.0.0/8
keyring = {self._keyring}
auth allow insecure global id reclaim = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 1000
mon data avail crit = 1
client mount timeout = 30
log to stderr = true
log file = /dev/null
admin socket =
run dir = {folder}
crash dir = {folder}
mon cluster log file = {folder}/cluster.log
[mon]
mon data = {folder}/mon
[osd]
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = {_MEMORY}
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{self._port}
rgw data = {folder}/rgw
rgw run sync thread = false
rgw thread pool size = 32
rgw override bucket index max shards = 1
"""
