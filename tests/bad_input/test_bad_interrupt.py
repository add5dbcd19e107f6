"""Ctrl-C: a real SIGINT to a real process; it ends soon, shows nothing half done, and is resumed."""

import os
import signal
import subprocess
import sys

import pytest

import dataver
from waiting import until

from .conftest import contents

SCRIPT = """
import os, signal, dataver
from dataver.progress import Counters

class Interrupts(Counters):
    def advance(self, files, size, /, new=0):
        super().advance(files, size, new=new)
        if self.files >= {after} and not self.sent:
            self.sent = True
            os.kill(os.getpid(), signal.SIGINT)
    sent = False

signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the suite runs with it ignored
repo = dataver.open({repo!r})
progress = Interrupts()
{call}
print("not interrupted")
"""


def run(tmp_path, call, after=1):
    """Run a library call in a process of its own that gets SIGINT when so many files are done."""
    script = SCRIPT.format(after=after, repo=str(tmp_path / "repo"), call=call)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path / "work",
        env=environment,
    )


def assert_interrupted(done):
    assert done.returncode == -signal.SIGINT, done.stderr
    assert done.stdout == ""
    assert done.stderr.rstrip().endswith("KeyboardInterrupt")
    assert "Exception ignored" not in done.stderr


def test_an_interrupted_add_leaves_the_draft_as_it_was(repo, source, tmp_path):
    """No lock and no half file stays; the same call then adds everything."""
    draft = repo.create("d")
    assert_interrupted(run(tmp_path, f"repo.draft().add({str(source)!r}, progress=progress)"))
    again = repo.draft()
    assert again.id == draft.id
    assert list(again.tree.iterate()) == []
    assert again.add(source).files == 30
    again.finalize()
    assert again.upload().version.file_count == 30
    assert repo.verify("d").ok


def test_an_interrupted_sync_publishes_nothing_and_leaves_no_draft(repo, source, tmp_path):
    """The one-step command cleans up after itself."""
    assert_interrupted(run(tmp_path, f"repo.sync({str(source)!r}, 'd', progress=progress)"))
    assert repo.datasets() == [] and repo.drafts() == []
    assert repo.sync(source, "d").version.ref == "d@1.0.0"
    assert contents(repo.fetch("d").path) == contents(source)


def test_an_interrupted_upload_goes_on(repo, source, tmp_path):
    """Nothing is visible, the draft is sealed as before, and the same call publishes it."""
    draft = repo.create("d")
    draft.add(source)
    sealed = draft.finalize()
    assert_interrupted(run(tmp_path, "repo.draft().upload(progress=progress)"))
    assert repo.datasets() == []
    assert repo.draft().upload().version.digest == sealed.digest
    assert repo.verify("d").ok


@pytest.mark.parametrize("dest", [None, "own"])
def test_an_interrupted_fetch_shows_no_folder_and_goes_on(repo, source, tmp_path, dest):
    """What was whole is taken over by the next fetch, and no trace stays beside the result."""
    repo.sync(source, "d")
    target = None if dest is None else tmp_path / "work" / dest
    place = None if target is None else str(target)
    assert_interrupted(run(tmp_path, f"repo.fetch('d', dest={place!r}, progress=progress)", after=3))
    if target is not None:
        assert not target.exists()
    report = repo.fetch("d", dest=target)
    assert contents(report.path) == contents(source)
    made = {path.name for path in (tmp_path / "work").iterdir()}
    assert made == {".dataver"} | ({dest} if dest else set())
    assert repo.fetch("d", dest=target).transferred == 0


def test_an_interrupted_merge_into_a_folder_keeps_the_users_files(repo, source, tmp_path):
    """An existing folder holds what it held, or whole files of the version; the next fetch completes it."""
    repo.sync(source, "d")
    own = tmp_path / "work" / "own"
    own.mkdir()
    (own / "mine").write_text("mine")
    assert_interrupted(run(tmp_path, f"repo.fetch('d', dest={str(own)!r}, progress=progress)", after=3))
    expected = contents(source) | {"mine": b"mine"}
    left = {path.name: path.read_bytes() for path in own.iterdir() if path.is_file()}
    assert left["mine"] == b"mine" and left.items() <= expected.items()
    repo.fetch("d", dest=own)
    assert contents(own) == expected
    assert sorted(path.name for path in own.iterdir()) == sorted(expected)


def test_an_interrupted_verify_ends(repo, source, tmp_path):
    """Checking can be stopped, too."""
    repo.sync(source, "d")
    assert_interrupted(run(tmp_path, "repo.verify('d', progress=progress)", after=0))


def command(*words):
    code = """if True:
        import signal, sys
        signal.signal(signal.SIGINT, signal.default_int_handler)
        from dataver_cli.main import main
        sys.exit(main())
    """
    return [sys.executable, "-c", code, *words]


def start(tmp_path, *words):
    return subprocess.Popen(
        command(*words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path / "work",
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "DATAVER_REPO": str(tmp_path / "repo")},
    )


def interrupt(process, began):
    """Send SIGINT as soon as `began` says that the work is under way; return exit code and streams."""
    until(lambda: began() or process.poll() is not None)
    assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.fixture
def huge(tmp_path):
    """A sparse file that takes seconds to read, in a folder of its own."""
    folder = tmp_path / "huge"
    folder.mkdir()
    with (folder / "file").open("wb") as file:
        file.truncate(16 * 1024**3)
    return folder


@pytest.mark.parametrize("step", ["add", "sync"])
def test_the_command_line_says_so_in_a_sentence_and_the_same_command_completes(repo, tmp_path, huge, step):
    """Exit code 130, no traceback; afterwards the same words do the whole job."""
    work = tmp_path / "work"
    if step == "add":
        words = ["add", str(huge)]
        repo.create("d")
    else:
        words = ["sync", str(huge), "--name", "d", "-m", "x"]
    code, out, err = interrupt(
        start(tmp_path, *words), lambda: any((work / ".dataver").glob("drafts/*/lock"))
    )
    assert (code, out) == (130, "")
    assert err.strip() == "dataver: Interrupted. Finished work is kept; the same command continues."
    assert repo.datasets() == []
    os.truncate(huge / "file", 5)
    again = start(tmp_path, *words)
    _, err = again.communicate()
    assert again.returncode == 0, err
    if step == "add":
        repo.draft(workspace=work).finalize()
        repo.draft(workspace=work).upload()
    assert repo.version("d").read("file") == bytes(5)
    assert [draft.id for draft in repo.drafts(work)] == []


@pytest.mark.slow
def test_a_process_that_is_killed_holds_no_lock(repo, tmp_path, huge):
    """SIGKILL in the middle of an add: the next command neither waits nor finds half a file."""
    draft = repo.create("d")
    process = start(tmp_path, "add", str(huge))
    lock = tmp_path / "work" / ".dataver" / "drafts" / draft.id / "lock"
    until(lambda: lock.exists() or process.poll() is not None)
    assert process.poll() is None
    process.kill()
    process.communicate()
    os.truncate(huge / "file", 5)
    again = dataver.open(tmp_path / "repo").draft()
    assert again.add(huge).files == 1
    again.finalize()
    assert again.upload().version.read("file") == bytes(5)
