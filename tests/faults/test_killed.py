"""Processes killed with -9 at random moments of a command: nothing is harmed, a repeat ends it.

Each process is let go and killed within the time that the whole command took; those that ended before count
as not hit. Kills of mirrors are in `tests/transfer/test_transfer_faults.py`.
"""

import hashlib
import json
import random
import secrets
import shutil
import subprocess
import sys
import time
from datetime import timedelta

import pytest

import dataver
from servers.proxy import FaultyNetwork
from waiting import until

from .conftest import FULL, sums_of, write_kills

KILLS = 100 if FULL else 4  # of each kind, in each place
NOW = timedelta(0)

_CHILD = """
import json, sys
from datetime import timedelta
import dataver
from dataver.repository import holds
holds._ON_ITS_WAY = timedelta(seconds=1)  # what a killed process sent to this server is there by then
url, options, what, workspace, draft, dest = json.loads(sys.argv[1])
repo = dataver.open(url, storage_options=options)
print("ready", flush=True)
sys.stdin.readline()
if what == "upload":
    repo.draft(draft, workspace=workspace).upload()
elif what == "fetch":
    repo.fetch("d", dest=dest)
elif what == "gc":
    repo.gc(grace=timedelta(0), delete_most=True)
else:
    repo.repack(dead=0.2)
"""


class World:
    """A repository, and processes that work on it."""

    def __init__(self, url, options, root):
        self.url, self.options, self.root = url, options, root
        self.repo = dataver.init(url, storage_options=options)
        self.where = "folder" if options is None else "SeaweedFS"
        self.noise = random.Random(f"killed in {self.where}")
        self.network = None
        self.whole = 0.0  # seconds that the command to be killed takes
        self.source = root / "source"
        (self.source / "few").mkdir(parents=True)
        for number in range(300):
            (self.source / "few" / f"{number:03}").write_bytes(self.noise.randbytes(500))
        self.change()

    def change(self):
        """Make the data another's: new bytes in a large file and in some small ones."""
        (self.source / "large").write_bytes(self.noise.randbytes(5_000_000))
        for number in self.noise.sample(range(300), 20):
            (self.source / "few" / f"{number:03}").write_bytes(self.noise.randbytes(500))

    def litter(self):
        """Publish versions and delete some, so that packs are dead in part, others wholly."""
        for number in range(60):
            (self.source / "few" / f"{number:03}").write_bytes(self.noise.randbytes(20_000))
        self.publish("d")
        self.publish("e")
        for number in range(0, 60, 2):
            (self.source / "few" / f"{number:03}").write_bytes(self.noise.randbytes(300))
        (self.source / "large").write_bytes(self.noise.randbytes(300_000))
        newest = self.publish("d")
        for label in self.repo._core.records.labels("d"):
            if label != newest:
                self.repo.delete(f"d@{label}")
        for label in self.repo._core.records.labels("e"):
            self.repo.delete(f"e@{label}")
        return sums_of(self.source)

    def publish(self, name):
        """Publish the data as it is; return the label."""
        return self.repo.sync(self.source, name, workspace=self.root / "work").version.label

    def check(self, sums):
        """Verify all versions with a fresh eye; the newest has the right bytes, and all of them."""
        repo = dataver.open(self.url, storage_options=self.options)
        versions = repo.versions("d")
        for version in versions:
            assert repo.verify(version.ref).findings == []
        newest = versions[-1]
        assert {entry.path for entry in newest.entries() if entry.size} == set(sums)
        for path in self.noise.sample(sorted(sums), 5):
            assert hashlib.sha256(newest.read(path)).hexdigest() == sums[path]

    def sealed(self):
        """Return the id of a new sealed draft of the data as it is."""
        draft = self.repo.create("d", workspace=self.root / "work")
        draft.add(self.source)
        draft.finalize()
        return draft.id

    def kill(self, what, **given):
        """Kill a process at a random moment of its command; return whether it was at work then."""
        moment = self.noise.uniform(0, self.whole)
        hit = self.run(what, kill_after=moment, **given) is None
        if not hit:
            self.whole = moment  # the machine is faster now
        return hit

    def settle(self):
        """Wait until what a killed process sent has arrived, and is older than its hold has to be."""
        if self.network:
            until(lambda: not self.network.under_way)
            time.sleep(2)

    def run(self, what, *, draft=None, dest=None, kill_after=None):
        """Let a process do it; return the seconds it took, or None where it was killed before its end."""
        options = json.dumps(
            [self.url, self.options, what, str(self.root / "work"), draft, dest and str(dest)]
        )
        command = [sys.executable, "-c", _CHILD, options]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as child:
            assert child.stdout.readline() == "ready\n", child.stderr.read()
            began = time.monotonic()
            child.stdin.write("go\n")
            child.stdin.flush()
            if kill_after is not None:
                time.sleep(kill_after)
                child.kill()
            _, errors = child.communicate(timeout=120)
        if kill_after is not None and child.returncode == -9:
            return None
        assert child.returncode == 0, errors
        return time.monotonic() - began


@pytest.fixture(params=["folder", "seaweedfs"])
def world(request, tmp_path, monkeypatch):
    """A repository in a folder, or on a server behind 20 MB/s: transfers last long enough to be hit."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    if request.param == "folder":
        yield World(str(tmp_path / "repository"), None, tmp_path)
        return
    server = request.getfixturevalue("seaweedfs_server")
    with FaultyNetwork(server.endpoint, lambda _seen: None, bandwidth=20e6) as network:
        options = server.options | {"endpoint_url": network.endpoint}
        world = World(server.url(f"killed/{secrets.token_hex(6)}"), options, tmp_path)
        world.network = network
        yield world


def test_an_upload_killed_anywhere(world):
    """After each kill all that is published verifies; the same upload again publishes exactly one version."""
    whole = world.whole = world.run("upload", draft=world.sealed())
    hits = number = 0
    while number < KILLS or (not hits and number < 10 * KILLS):
        number += 1
        world.change()
        draft = world.sealed()
        hits += world.kill("upload", draft=draft)
        for version in world.repo.versions("d")[-2:]:
            assert world.repo.verify(version.ref).findings == []
        world.run("upload", draft=draft)
        versions = world.repo.versions("d")
        assert sorted(version.label for version in versions) == sorted(f"1.0.{n}" for n in range(number + 1))
        assert world.repo.verify(f"d@1.0.{number}").findings == []
        assert world.repo.version(f"d@1.0.{number}").read("large") == (world.source / "large").read_bytes()
    assert hits, "no process was hit while it ran: the test showed nothing"
    write_kills("upload", world.where, number, hits, f"{whole:.2f}", "each version once, all verified")


@pytest.mark.parametrize("own", [False, True], ids=["cached", "own"])
def test_a_fetch_killed_anywhere(world, own):
    """After each kill the same fetch again gives every file as it was published, and only those."""
    world.run("upload", draft=world.sealed())
    expected = sums_of(world.source)
    dest = world.root / "dest" if own else None
    whole = world.whole = world.run("fetch", dest=dest)
    hits = tries = 0
    while tries < KILLS // 2 or (not hits and tries < 10 * KILLS):  # a fetch takes hundredths of a second
        tries += 1
        _forget(world.root / "cache")
        _forget(world.root / "dest")
        hits += world.kill("fetch", dest=dest)
        report = world.repo.fetch("d", dest=dest)
        assert sums_of(report.path) == expected
    assert hits, "no process was hit while it ran: the test showed nothing"
    kind = "fetch --dest" if own else "fetch"
    write_kills(kind, world.where, tries, hits, f"{whole:.2f}", "every file right")


@pytest.mark.parametrize("what", ["gc", "repack"])
def test_a_sweep_killed_anywhere(world, what):
    """After each kill every version verifies; the same again ends it; at last nothing unneeded is left."""
    world.litter()
    whole = world.whole = world.run(what)
    hits = tries = 0
    while tries < KILLS or (not hits and tries < 10 * KILLS):  # a sweep takes some hundredths of a second
        tries += 1
        sums = world.litter()
        hits += world.kill(what)
        world.check(sums)
        world.settle()
        world.run(what)
        world.check(sums)
        if what == "gc":
            assert world.repo.du().unneeded == 0
    world.repo.gc(grace=NOW, delete_most=True)
    world.check(sums)
    assert world.repo.du().unneeded == 0
    left = [info.key for info in world.repo._core.store.list("keeping/")]
    assert len(left) <= 1, left  # the count of sweeps
    assert hits, "no process was hit while it ran: the test showed nothing"
    write_kills(what, world.where, tries, hits, f"{whole:.2f}", "all verified, nothing left behind")


def _forget(folder):
    if folder.exists():
        for path in [folder, *(each for each in folder.rglob("*") if each.is_dir())]:
            path.chmod(0o755)
        shutil.rmtree(folder)
