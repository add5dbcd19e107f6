"""Real processes: sweeps beside uploads, killed ones, stopped ones; every published version is whole."""

import os
import random
import secrets
import signal
import subprocess
import sys
import time
from datetime import timedelta

import pytest

import dataver

NOW = timedelta(0)

WRITER = """
import os, random, sys, dataver
from dataver.errors import DataverError
home, number, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
names = sys.argv[4] if len(sys.argv) > 4 else "ab"
chance = random.Random(number)
contents = [random.Random(each).randbytes(40_000) for each in range(12)]  # the same for all writers
repo = dataver.open(os.environ.get("DATAVER_REPO") or os.path.join(home, "repo"))
work = os.path.join(home, f"work-{number}")
for turn in range(rounds):
    folder = os.path.join(work, f"source-{turn}")
    os.makedirs(folder)
    for each in chance.sample(range(12), 4):
        with open(os.path.join(folder, str(each)), "wb") as file:
            file.write(contents[each])
    name = chance.choice(names)
    try:
        version = repo.sync(folder, name, workspace=work).version
        if version:
            print("published", version.ref, flush=True)
    except DataverError as error:
        print("failed", type(error).__name__, error, flush=True)
    versions = repo._core.records.labels(name)
    if len(versions) > 2:
        try:
            repo.delete(f"{name}@{chance.choice(versions[:-1])}")
        except DataverError:
            pass
"""
SWEEPER = """
import os, sys, time, dataver
from datetime import timedelta
from dataver.errors import DataverError
repo = dataver.open(os.environ.get("DATAVER_REPO") or os.path.join(sys.argv[1], "repo"))
end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    for work in (lambda: repo.gc(grace=timedelta(0), delete_most=True), lambda: repo.repack(dead=0.2)):
        try:
            report = work()
            print("done", report.size, flush=True)
        except DataverError as error:
            print("stopped", type(error).__name__, error, flush=True)
"""


@pytest.fixture
def home(tmp_path):
    """A folder with a repository whose packs are small."""
    dataver.init(tmp_path / "repo")
    return tmp_path


def start(script, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "DATAVER_CACHE": f"{arguments[0]}/cache"},
    )


def check(home):
    """Verify every version, read with a fresh eye; return their names."""
    repo = dataver.open(os.environ.get("DATAVER_REPO") or home / "repo")
    refs = [f"{name}@{label}" for name, labels in repo._core.records.datasets().items() for label in labels]
    for ref in refs:
        report = repo.verify(ref)
        assert report.ok, (ref, report.findings)
    return refs


def clean(home):
    """Sweep, and check that nothing unneeded is left; unfinished files are made to look old before."""
    for path in (home / "repo").rglob(".tmp-*"):
        os.utime(path, (1e9, 1e9))
    repo = dataver.open(home / "repo")
    repo.repack(dead=0.2)
    repo.gc(grace=NOW, delete_most=True)
    assert repo.du().unneeded == 0
    notes = [path for path in (home / "repo" / "keeping").rglob("*") if path.is_file()]
    assert len(notes) <= 1
    assert not list((home / "repo").rglob(".tmp-*"))
    assert not list((home / "repo").rglob(".probe-*"))


@pytest.mark.slow
def test_sweeps_and_repacks_beside_three_writers(home):
    """Writers add what was deleted a moment ago; nobody fails, and each version is whole."""
    sweeper = start(SWEEPER, home, 12)
    writers = [start(WRITER, home, number, 8) for number in range(3)]
    told = [writer.communicate(timeout=250)[0] for writer in writers]
    swept = sweeper.communicate(timeout=250)[0]
    assert [writer.returncode for writer in writers] == [0, 0, 0], told
    assert sweeper.returncode == 0, swept
    assert "done" in swept
    assert "Integrity" not in swept
    lines = [line for text in told for line in text.splitlines()]
    assert sum(line.startswith("published") for line in lines) >= 12, lines
    assert {line.split()[1] for line in lines if line.startswith("failed")} <= {"IntegrityError", "Conflict"}
    assert len(check(home)) >= 2
    clean(home)


def test_an_upload_that_was_stopped_while_all_it_sent_was_swept_sends_it_again(home):
    """Stopped between its packs and its record; its packs are gone when it goes on."""
    (home / "source").mkdir()
    (home / "source" / "file").write_bytes(random.Random(5).randbytes(2_000_000))
    script = """
import os, signal, sys, dataver
from dataver.storage import LocalStore

def put_file_new(store, key, path, put=LocalStore.put_file_new):
    put(store, key, path)
    LocalStore.put_file_new = put
    os.kill(os.getpid(), signal.SIGSTOP)
    return True

home = sys.argv[1]
repo = dataver.open(os.path.join(home, "repo"))
draft = repo.create("d", workspace=os.path.join(home, "work"))
draft.add(os.path.join(home, "source"))
draft.finalize()
LocalStore.put_file_new = put_file_new
print(draft.upload().version.ref, flush=True)
"""
    process = start(script, home)
    try:
        stopped = os.waitpid(process.pid, os.WUNTRACED)[1]
        assert os.WIFSTOPPED(stopped), process.communicate()
        repo = dataver.open(home / "repo")
        assert not repo._core.records.labels("d")
        assert repo.gc(grace=NOW, delete_most=True).packs
        process.send_signal(signal.SIGCONT)
        said = process.communicate(timeout=120)[0]
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0, said
    assert check(home) == [said.strip()]


def killed(home, rounds):
    """Kill sweepers at random moments while versions come and go."""
    chance = random.Random(11)
    for turn in range(rounds):
        writer = start(WRITER, home, 100 + turn, 4)
        told = writer.communicate(timeout=120)[0]
        assert writer.returncode == 0, told
        sweeper = start(SWEEPER, home, 30)
        time.sleep(0.35 + chance.random() * 0.5)
        sweeper.kill()
        sweeper.communicate(timeout=120)
        check(home)
    clean(home)
    check(home)


@pytest.mark.slow
def test_a_sweep_or_repack_that_is_killed_harms_nothing_and_a_repeat_finishes(home):
    """Invariant 4, with kill -9."""
    killed(home, 2)


@pytest.mark.slow
def test_many_sweeps_and_repacks_that_are_killed(home):
    """As above, more often."""
    killed(home, 60)


@pytest.mark.slow
def test_uploads_that_are_killed_leave_what_a_sweep_finishes(home):
    """Their holds count for nothing, since their processes are known to be dead."""
    chance = random.Random(12)
    for turn in range(6):
        writer = start(WRITER, home, turn, 50)
        time.sleep(0.5 + chance.random() * 0.7)
        writer.kill()
        writer.communicate(timeout=120)
        dataver.open(home / "repo").gc(grace=NOW, delete_most=True)
        check(home)
    clean(home)


@pytest.mark.servers
@pytest.mark.slow
def test_sweeps_beside_writers_on_real_servers(tmp_path, s3_server, monkeypatch):
    """Nothing of it needs create-if-absent; where that is ignored, each writer has names of its own."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    url = s3_server.url(f"keeping/{secrets.token_hex(6)}")
    monkeypatch.setenv("DATAVER_REPO", url)
    dataver.init(url)
    sweeper = start(SWEEPER, tmp_path, 20)
    names = (lambda number: "ab"[number]) if not s3_server.exclusive else (lambda number: "ab")
    writers = [start(WRITER, tmp_path, number, 4, names(number)) for number in range(2)]
    told = [writer.communicate(timeout=250)[0] for writer in writers]
    swept = sweeper.communicate(timeout=250)[0]
    assert [writer.returncode for writer in writers] == [0, 0], told
    assert sweeper.returncode == 0, swept
    assert "done" in swept
    assert "Integrity" not in swept
    assert any("published" in text for text in told), told
    check(tmp_path)
    repo = dataver.open(url)
    repo.gc(grace=NOW, delete_most=True)
    assert repo.du().unneeded == 0
