"""`add` with several processes gives what one gives; a process that dies changes nothing."""

import os
import random
import signal
import subprocess
import sys
import threading
from contextlib import suppress

import pytest

import dataver
from dataver.errors import InvalidInput, StoreError
from dataver.ingest import add_processes, process_count
from dataver.ingest.add_processes import AddProcesses
from dataver.ingest.process_count import processes_for
from dataver.ingest.scan import Scan, SourceScan, scan


@pytest.fixture
def repo(tmp_path):
    return dataver.init(tmp_path / "repo")


@pytest.fixture
def source(tmp_path):
    """A folder of files that are equal, large, empty, executable, links and hidden by an ignore file."""
    noise = random.Random(4)
    folder = tmp_path / "source"
    for number in range(60):
        path = folder / f"{number % 7}" / f"{number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise.randbytes(noise.choice([0, 10, 4000, 70_000])))
    (folder / "large").write_bytes(noise.randbytes(5_000_000))
    (folder / "0" / "same").write_bytes(b"same" * 500)  # one chunk
    (folder / "1" / "same").write_bytes(b"same" * 500)
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("run.sh")
    (folder / "empty").mkdir()
    (folder / "2" / ".dataverignore").write_text("*.tmp\n")
    (folder / "2" / "x.tmp").write_text("no")
    os.mkfifo(folder / "pipe")
    old = 1_700_000_000
    for path in folder.rglob("*"):
        os.utime(path, (old, old), follow_symlinks=False)
    return folder


def values(report):
    cost = ("seconds", "stored", "new_chunks", "new_size")
    return {name: value for name, value in vars(report).items() if name not in cost}


@pytest.mark.parametrize("stream", [False, True])
def test_two_processes_add_what_one_adds(repo, source, tmp_path, monkeypatch, stream):
    """The same entries, counts and problems; unchanged files are recognised the next time."""
    monkeypatch.setattr(add_processes, "_BATCH_FILES", 9)
    one = repo.create("one", workspace=tmp_path / "one")
    alone = one.add(source, source / "run.sh", dest="d")
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "another"))
    two = repo.create("two", workspace=tmp_path / "two", stream=stream)
    together = two.add(source, source / "run.sh", dest="d", workers=2)
    assert two.tree.digest == one.tree.digest
    assert values(together) | {"sent_packs": 0, "sent_size": 0} == values(alone)
    # `same` and `run.sh`, if both processes read them at once
    assert 0 <= together.new_chunks - alone.new_chunks <= 2
    assert together.problems and together.ignored == 1
    assert bool(together.sent_packs) == stream
    again = two.add(source, dest="d", workers=2)
    assert (again.unchanged, again.new_size, again.stored) == (again.files, 0, 0)
    (source / "large").write_bytes(b"replaced")
    two.add(source, dest="d", workers=2)
    two.finalize("x")
    version = two.upload().version
    assert version.read("d/large") == b"replaced"
    assert repo.verify("two").ok
    assert not list((tmp_path / "two/.dataver/drafts").glob("*/writing/*"))


def test_a_process_that_dies_changes_nothing(repo, source, tmp_path, monkeypatch):
    """The message says how it ended; the command can be repeated."""
    draft = repo.create("d", workspace=tmp_path)
    before = draft.tree.digest
    begin = AddProcesses.__init__

    def lose_one(self, *arguments):
        begin(self, *arguments)
        os.kill(self._processes[0].pid, signal.SIGKILL)

    monkeypatch.setattr(AddProcesses, "__init__", lose_one)
    with pytest.raises(StoreError, match=r"ended \(exit code -9\); nothing was added"):
        draft.add(source, workers=2)
    assert draft.tree.digest == before
    monkeypatch.undo()
    assert draft.add(source).files == 67
    for wrong in (0, 65):
        with pytest.raises(InvalidInput, match="workers"):
            draft.add(source, workers=wrong)


def test_the_error_of_a_process_that_ended_is_raised(repo, source, tmp_path, monkeypatch):
    """Also if it has closed its pipe when it is given more; the draft is unchanged."""
    draft = repo.create("d", workspace=tmp_path)
    begin = AddProcesses.__init__

    def fail_at_once(self, *arguments):
        begin(self, *arguments)
        for folder, pipe, process in zip(self._folders, self._pipes, self._processes, strict=True):
            folder.write_bytes(b"")  # in place of its folder
            pipe.send([])
            process.join()

    monkeypatch.setattr(AddProcesses, "__init__", fail_at_once)
    with pytest.raises(StoreError, match=r"the draft in .* cannot be written: Not a directory"):
        draft.add(source, workers=2)
    monkeypatch.undo()
    assert draft.tree.summary().entries == 0
    assert draft.add(source, workers=2).files == 67


def test_an_interruption_does_not_wait_for_the_processes(repo, source, tmp_path, monkeypatch):
    """Those that do not end within a second are killed, and what they wrote is removed."""
    draft = repo.create("d", workspace=tmp_path)
    begin, started = AddProcesses.__init__, []

    def stop(self, *arguments):
        begin(self, *arguments)
        started.extend(self._processes)
        for process in started:  # a process that reads for long
            os.kill(process.pid, signal.SIGSTOP)

    def interrupt(*_):
        raise KeyboardInterrupt

    def proceed():
        for process in started:
            os.kill(process.pid, signal.SIGCONT)

    monkeypatch.setattr(AddProcesses, "__init__", stop)
    monkeypatch.setattr(AddProcesses, "give", interrupt)
    too_late = threading.Timer(20, proceed)
    too_late.start()
    with pytest.raises(KeyboardInterrupt):
        draft.add(source, workers=2)
    too_late.cancel()
    assert [process.exitcode for process in started] == [-signal.SIGKILL] * 2
    assert not list((tmp_path / ".dataver/drafts").glob("*/writing/*"))
    monkeypatch.undo()
    assert draft.add(source).files == 67


def test_threads_of_libraries_count(repo, tmp_path):
    """BLAKE3 has threads that Python does not know; a child that is forked would wait for them for ever."""
    source = tmp_path / "source"
    source.mkdir()
    for name in "ab":
        with (source / name).open("wb") as file:  # sparse: it is hashed with several threads
            file.write(b"x" * (2 << 20))
            file.truncate(20 << 20)
    program = (
        "import sys, dataver\n"
        "draft = dataver.open(sys.argv[1]).create('d', workspace=sys.argv[2])\n"
        "draft.add(sys.argv[2] + '/source/a')\n"
        "print(draft.add(sys.argv[2] + '/source', dest='x', workers=2).files)\n"
    )
    command = [sys.executable, "-c", program, repo.url, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.communicate(timeout=30) == ("2\n", None)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def test_processes_pay_for_large_sources_only(repo, source, tmp_path, monkeypatch):
    """And if this process can be forked, on a machine of several cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    monkeypatch.setattr(process_count, "is_alone", lambda: True)
    draft = repo.create("d", workspace=tmp_path)
    every = list(scan(source, Scan()))
    scans = [SourceScan(source, Scan())]
    assert processes_for(scans, draft.tree) == 1
    assert list(scans[0]) == every  # nothing is found twice, and nothing is missing
    monkeypatch.setattr(process_count, "_PAYS_FILES", 60)
    monkeypatch.setattr(process_count, "_PAYS_SIZE", 4_000_000)
    scans = [SourceScan(source, Scan())]
    assert processes_for(scans, draft.tree) == 3
    assert list(scans[0]) == every
    monkeypatch.setattr(process_count, "_LOOKED_AT", 50)
    scans = [SourceScan(source, Scan())]
    assert processes_for(scans, draft.tree) == 1
    assert list(scans[0]) == every
    monkeypatch.setattr(process_count, "is_alone", lambda: False)
    assert processes_for([SourceScan(source, Scan())], draft.tree) == 1


def test_processes_do_not_pay_for_files_that_are_there(repo, source, tmp_path, monkeypatch):
    """A mirror that is repeated starts none; new files beside the old ones count."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    monkeypatch.setattr(process_count, "is_alone", lambda: True)
    monkeypatch.setattr(process_count, "_PAYS_FILES", 40)
    monkeypatch.setattr(process_count, "_PAYS_SIZE", 1_000_000)
    draft = repo.create("d", workspace=tmp_path)
    draft.add(source)
    assert processes_for([SourceScan(source, Scan())], draft.tree) == 1
    (source / "z").mkdir()
    for number in range(40):
        (source / f"z/{number}").write_bytes(random.Random(number).randbytes(30_000))
    assert processes_for([SourceScan(source, Scan())], draft.tree) == 3
    monkeypatch.setattr(process_count, "_KNOWN", 10)
    assert processes_for([SourceScan(source, Scan())], draft.tree) == 1


def test_two_processes_mirror_what_one_mirrors(repo, source, tmp_path, monkeypatch):
    """In a draft and in one step: the same tree, also after changes and removals."""
    monkeypatch.setattr(add_processes, "_BATCH_FILES", 9)
    for number in (1, 2):
        repo.sync(source, f"d{number}", workspace=tmp_path / str(number), workers=number)
    (source / "3/3.bin").unlink()
    (source / "4/4.bin").write_bytes(b"changed")
    (source / "new").write_bytes(b"new")
    reports = [
        repo.sync(source, f"d{number}", workspace=tmp_path / str(number), workers=number) for number in (1, 2)
    ]
    assert values(reports[0].add) == values(reports[1].add)
    assert (reports[1].add.removed, reports[1].add.unchanged > 50) == (1, True)
    assert repo.version("d1").digest == repo.version("d2").digest
    assert repo.verify("d2").ok


def test_the_command_forks(repo, source, tmp_path):
    """Without a thread in the way, and with the digest of one process."""
    base = [sys.executable, "-m", "dataver_cli", "--repo", repo.url]
    for number in ("1", "2"):
        home = tmp_path / number
        home.mkdir()
        for arguments in (["create", "d"], ["add", source, "--workers", number], ["finalize", "-m", "x"]):
            done = subprocess.run([*base, *arguments], cwd=home, capture_output=True, text=True)
            assert done.returncode == (3 if "add" in arguments else 0), done.stderr
    drafts = [repo.draft(workspace=tmp_path / number) for number in ("1", "2")]
    assert drafts[0].tree.digest == drafts[1].tree.digest
