"""Cut short anywhere, the same command goes on: real processes killed with -9, a real server, a bad line.

The line between counts what is sent: only what was on its way when a process died may be sent again.
"""

import json
import os
import random
import secrets
import signal
import subprocess
import sys
import threading
from collections import Counter

import pytest

import dataver
from servers import chosen
from servers.proxy import Break, FaultyNetwork

from .conftest import contents

pytestmark = pytest.mark.servers

_IN_FLIGHT = 4  # packs that one process sends at once
_SIZE = 24_000_000
_FETCHING = 12_000_000  # bytes that one process has asked for at once: ranges of files that are not complete


class Line:
    """A network between `dataver` commands and a server, that kills them and counts what they send."""

    def __init__(self, server, work, seed=1):
        self.server, self.work = server, work
        self.dice = random.Random(seed)
        self.url = server.url(f"resume/{secrets.token_hex(6)}")
        self.sent, self.sent_bytes = Counter(), 0
        self.process = None
        self.kill_at = None
        self.down = False
        self.requests = self.kills = 0
        self._lock = threading.Lock()
        self.network = FaultyNetwork(server.endpoint, self._judge)
        work.mkdir()

    def _judge(self, seen):
        with self._lock:
            if self.down:
                return Break.RESET_BEFORE
            self.requests += 1
            if seen.method == "PUT" and "/packs/" in seen.path:
                self.sent[seen.path[-64:]] += 1
                self.sent_bytes += int(seen.headers["Content-Length"])
            if self.requests == self.kill_at:
                os.kill(self.process.pid, signal.SIGKILL)
                self.kills += 1
                return self.dice.choice([None, Break.RESET_BEFORE])  # it may still arrive, or not
            return None

    def run(self, *words, kill_at=None):
        """Run a command; return its exit code and what it said."""
        environment = {
            **os.environ,
            **self.server.environment,
            "AWS_ENDPOINT_URL": self.network.endpoint,
            "DATAVER_REPO": self.url,
            "DATAVER_CACHE": str(self.work / "cache"),
        }
        with self._lock:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dataver_cli", *map(str, words)],
                cwd=self.work,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            self.requests, self.kill_at = 0, kill_at
        said, _ = self.process.communicate(timeout=120)
        return self.process.returncode, said

    def insist(self, *words, upto):
        """Run a command and kill it at ever later requests, some at random, until it ends well."""
        at = 0
        while True:
            at += self.dice.randint(1, upto)
            code, said = self.run(*words, kill_at=at)
            if code == 0:
                return said
            assert code == -signal.SIGKILL, said

    def again(self):
        """Return how many packs were sent more than once, each time counted."""
        return sum(self.sent.values()) - len(self.sent)

    def open(self):
        return dataver.open(self.url, storage_options=self.server.options)


@pytest.fixture(params=[name for name in ("moto", "ceph") if name in chosen()])
def line(request, tmp_path):
    """A line to a server, with a repository at its end."""
    server = request.getfixturevalue(f"{request.param}_server")
    line = Line(server, tmp_path / "work")
    with line.network:
        dataver.init(line.url, storage_options=server.options)
        yield line


@pytest.fixture
def source(tmp_path):
    """A folder of a few large files and many small ones."""
    noise = random.Random(5)
    folder = tmp_path / "src"
    folder.mkdir()
    for number in range(10):
        (folder / f"large{number}").write_bytes(noise.randbytes(2_000_000))
    for number in range(400):
        (folder / f"small{number}").write_bytes(noise.randbytes(10_000))
    return folder


@pytest.mark.slow
def test_a_sync_killed_at_many_moments_sends_only_what_was_on_its_way_again(line, source):
    """One version in the end, whole, no draft left, and hardly a byte sent twice."""
    line.insist("sync", source, "--name", "d", "--spool", "16M", "--tag", "good", upto=4)
    assert line.kills >= 4
    print(f"sync: {line.kills} kills, {line.again()} packs again, {line.sent_bytes:,} bytes")
    assert line.again() <= _IN_FLIGHT * line.kills
    packs = {info.key[-64:]: info.size for info in line.open()._core.store.list("packs/")}
    assert sum(packs.values()) < 1.02 * _SIZE
    repo = line.open()
    assert [version.ref for version in repo.versions("d")] == ["d@1.0.0"]
    assert repo.tagged("d") == {"good": "1.0.0"}
    assert repo.verify("d").ok
    assert contents(repo.fetch("d").path) == contents(source)
    assert list((line.work / ".dataver").glob("drafts/*")) == []


@pytest.mark.slow
def test_add_upload_and_upload_killed_at_many_moments(line, source):
    """The draft remembers what was sent; `upload` twice is a no-op that says so and sends nothing."""
    assert line.run("create", "d")[0] == 0
    line.insist("add", source, "--upload", "--spool", "16M", upto=4)
    kills = line.kills
    assert kills >= 3
    assert line.again() <= _IN_FLIGHT * kills
    sent = sum(line.sent.values())
    assert line.run("finalize", "-m", "x")[0] == 0
    line.insist("upload", upto=3)
    assert line.kills > kills
    assert sum(line.sent.values()) == sent  # all packs were there
    before = [seen for seen in line.network.seen if seen.method in ("PUT", "POST")]
    code, said = line.run("upload")
    assert code == 0
    assert "nothing was sent" in said
    assert [seen for seen in line.network.seen if seen.method in ("PUT", "POST")] == before
    assert line.open().verify("d").ok
    assert [version.ref for version in line.open().versions("d")] == ["d@1.0.0"]


@pytest.mark.slow  # a client waits some 20 s before it believes that
def test_a_network_that_is_gone_ends_the_sync_with_a_sentence_and_the_repeat_goes_on(line, source):
    """Nothing that arrived before is sent again; the message says what to do."""

    def cut():
        while sum(line.sent.values()) < 3:
            if line.network.closing.wait(0.01):
                return
        line.down = True

    cutter = threading.Thread(target=cut)
    cutter.start()
    code, said = line.run("sync", source, "--name", "d", "--spool", "16M")
    cutter.join()
    assert code not in (0, -signal.SIGKILL)
    assert "repeat the same command" in said
    assert "Traceback" not in said
    line.down = False
    code, said = line.run("sync", source, "--name", "d", "--spool", "16M")
    assert code == 0, said
    assert line.again() <= _IN_FLIGHT
    assert line.open().verify("d").ok
    assert list((line.work / ".dataver").glob("drafts/*")) == []


@pytest.mark.slow
def test_a_fetch_killed_at_many_moments_goes_on(line, source, tmp_path):
    """Complete files are kept, whichever process brought them; in the end every byte is right."""
    line.open().sync(source, "d", workspace=tmp_path, spool=16 << 20)
    passed = line.network.passed
    line.insist("fetch", "d", "--dest", "out", upto=3)
    assert line.kills >= 2
    assert contents(line.work / "out") == contents(source)
    moved = line.network.passed - passed
    print(f"fetch: {line.kills} kills, {moved:,} bytes")
    assert moved < 1.1 * _SIZE + line.kills * _FETCHING
    assert [path.name for path in line.work.iterdir() if path.name.startswith(".out")] == []


@pytest.mark.slow
def test_a_fetch_of_one_large_file_goes_on_inside_it(line, tmp_path):
    """What arrived of a file that is not complete is found by its chunks, and not read again."""
    noise = random.Random(6)
    folder = tmp_path / "src"
    folder.mkdir()
    (folder / "one").write_bytes(noise.randbytes(3 * _SIZE))
    line.open().sync(folder, "d", workspace=tmp_path, spool=16 << 20)
    before = line.network.passed
    code, said = line.run("fetch", "d", "--dest", "out", kill_at=22)  # some ranges have arrived by then
    assert code == -signal.SIGKILL, said
    code, said = line.run("fetch", "d", "--dest", "out", "--json")
    assert code == 0, said
    assert contents(line.work / "out") == contents(folder)
    moved, reused = line.network.passed - before, json.loads(said)["reused"]
    print(f"one large file: {moved:,} bytes, {reused:,} taken over")
    assert reused > 3_000_000
    assert moved < 3 * _SIZE + 17 * 3_600_000
