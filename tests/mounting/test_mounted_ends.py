"""How a mount begins and ends, and what happens when something is not as it should be."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import dataver
from dataver.errors import Conflict, InvalidInput, PathNotFound
from dataver.mounting import device
from dataver.mounting.device import check_folder, detach
from servers import Server
from servers.proxy import Break, FaultyNetwork, Seen
from waiting import until

from .conftest import NOISE, Mounted, Mounting, command


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_and_term_unmount(mounting: Mounting, how: signal.Signals) -> None:
    """Each of them ends it with code 0, nothing on stderr, and leave the empty folder."""
    mounted = mounting()
    assert (mounted.folder / "a-b").exists()
    assert mounted.end(how) == (0, "")
    assert list(mounted.folder.iterdir()) == []
    assert not mounted.folder.is_mount()


def test_unmounting_it_ends_the_process(mounting: Mounting) -> None:
    """Whoever unmounts the folder by the system's own means ends `dataver mount`, with code 0."""
    mounted = mounting()
    assert detach(mounted.folder)
    assert mounted.end(None) == (0, "")


def test_a_mount_in_use_is_not_taken_off_by_the_system(mounting: Mounting) -> None:
    """With a file open the system refuses to unmount, and the file is read on."""
    mounted = mounting()
    with (mounted.folder / "large.bin").open("rb") as file:
        assert not detach(mounted.folder)
        assert file.read() == NOISE
    assert detach(mounted.folder)
    assert mounted.end(None)[0] == 0


def test_ctrl_c_lets_programs_read_their_files_to_the_end(mounting: Mounting) -> None:
    """With a file open, the folder is empty at once, the open file goes on, and closing it ends all."""
    mounted = mounting()
    with (mounted.folder / "large.bin").open("rb") as file:
        assert file.read(10) == NOISE[:10]
        mounted.process.send_signal(signal.SIGINT)
        assert mounted.process.stderr is not None
        assert "Ctrl-C again" in mounted.process.stderr.readline()
        assert list(mounted.folder.iterdir()) == []
        assert file.read() == NOISE[10:]
    assert mounted.end(None)[0] == 0


def test_a_second_ctrl_c_ends_it_whoever_reads(mounting: Mounting) -> None:
    """Programs that still have files open get errors, and do not hang."""
    mounted = mounting()
    file = os.open(mounted.folder / "large.bin", os.O_RDONLY)
    mounted.process.send_signal(signal.SIGINT)
    assert mounted.process.stderr is not None
    assert "Ctrl-C again" in mounted.process.stderr.readline()
    assert mounted.end(signal.SIGINT)[0] == 0
    with pytest.raises(OSError, match=r"not connected|Input/output|aborted"):
        os.pread(file, 100, 4_000_000)
    with suppress(OSError):  # the system asks the file system for leave to close, and nobody answers
        os.close(file)


def test_what_is_left_of_a_killed_mount_is_named(mounting: Mounting) -> None:
    """After SIGKILL the folder is of no use; the next mount says why, and how to free it."""
    mounted = mounting()
    mounted.end(signal.SIGKILL)
    with pytest.raises(Conflict) as caught:
        check_folder(mounted.folder)
    assert "fusermount3 -u" in (caught.value.hint or "")
    assert detach(mounted.folder)
    assert (mounting().folder / "a-b").exists()


def test_a_folder_that_cannot_be_mounted_on_is_refused(tmp_path: Path) -> None:
    """Not there, no folder, not empty: each by its own sentence, before anything is mounted."""
    with pytest.raises(PathNotFound, match="there is no folder"):
        check_folder(tmp_path / "gone")
    (tmp_path / "file").write_text("x")
    with pytest.raises(Conflict, match="is a file"):
        check_folder(tmp_path / "file")
    with pytest.raises(Conflict, match="not empty"):
        check_folder(tmp_path)
    with pytest.raises(Conflict, match="mounted on /proc already"):
        check_folder(Path("/proc"))


def test_a_folder_is_mounted_on_once(mounting: Mounting) -> None:
    """A second mount on the same folder is a conflict, and the first goes on."""
    mounted = mounting()
    words = command("mount", "some/data", str(mounted.folder))
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 5
    assert "mounted on" in done.stderr
    assert (mounted.folder / "a-b").exists()


def test_a_version_that_is_not_there_is_not_mounted(source: Path, tmp_path: Path) -> None:
    """A wrong name ends the command before it touches the folder."""
    (tmp_path / "mnt").mkdir()
    words = command("mount", "some/dato", str(tmp_path / "mnt"))
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 4
    assert "did you mean some/data" in done.stderr


def test_a_machine_without_fuse_is_told_what_else_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the device, or without the program that mounts for ordinary users, the error says so."""
    monkeypatch.setenv("PATH", str(tmp_path))
    if Path("/dev/fuse").exists():
        with pytest.raises(InvalidInput, match="fusermount3"):
            device.attach(tmp_path, "x", helper=True)
    monkeypatch.setattr(device, "_DEVICE", tmp_path / "no such device")
    with pytest.raises(InvalidInput, match="no FUSE") as caught:
        device.attach(tmp_path, "x")
    assert "dataver serve" in (caught.value.hint or "")


def test_what_the_helper_refuses_is_said(fuse: None, tmp_path: Path) -> None:
    """The sentence of fusermount3 reaches the user."""
    if shutil.which("fusermount3") is None:
        pytest.skip("fusermount3 is not installed")
    with pytest.raises(InvalidInput, match="No such file"):
        device.attach(tmp_path / "gone", "x", helper=True)


def test_a_version_deleted_while_it_is_mounted(mounting: Mounting, source: Path, tmp_path: Path) -> None:
    """What the kernel has stays readable; the rest is an error, and stderr says who deleted it."""
    mounted = mounting()
    assert (mounted.folder / "a-b").read_bytes() == b"sorts before what is in a"
    repository = dataver.open()
    repository.delete("some/data@1.0.0")
    shutil.rmtree(tmp_path / "repo" / "packs")  # what `gc` does when the grace period is over
    assert (mounted.folder / "a-b").read_bytes() == b"sorts before what is in a"
    with pytest.raises(OSError, match=r"Stale|Input/output"):
        (mounted.folder / "large.bin").read_bytes()
    code, said = mounted.end()
    assert code == 0
    assert "large.bin" in said and "was deleted on" in said


def test_a_repository_that_comes_back(mounting: Mounting, tmp_path: Path) -> None:
    """While the repository is away, reads are errors that name the file; then the same read succeeds."""
    mounted = mounting()
    (mounted.folder / "large.bin").stat()
    (tmp_path / "repo").rename(tmp_path / "away")
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    with pytest.raises(OSError, match="Input/output"):
        (mounted.folder / "large.bin").read_bytes()
    (tmp_path / "away").rename(tmp_path / "repo")
    assert (mounted.folder / "large.bin").read_bytes() == NOISE
    assert "large.bin" in mounted.end()[1]


def test_the_cache_is_deleted_while_it_is_read(mounting: Mounting, tmp_path: Path) -> None:
    """The cache is only a hint (invariant 5): reading goes on from the repository."""
    mounted = mounting()
    with (mounted.folder / "large.bin").open("rb") as file:
        assert file.read(2_000_000) == NOISE[:2_000_000]
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        assert file.read() == NOISE[2_000_000:]
    assert (mounted.folder / "a" / "b" / "c" / "grüße.txt").read_bytes() == b"deep"


def test_damaged_bytes_never_reach_a_program(mounting: Mounting, tmp_path: Path) -> None:
    """A byte changed in a pack is an error for the reader (invariant 1), and is named on stderr."""
    mounted = mounting()
    for pack in (tmp_path / "repo" / "packs").rglob("*"):
        if pack.is_file():
            pack.chmod(0o644)
            with pack.open("r+b") as file:
                file.seek(1_000_000)
                file.write(bytes(64))
    with pytest.raises(OSError, match="Input/output"):
        (mounted.folder / "large.bin").read_bytes()
    assert "large.bin" in mounted.end()[1]


def _is_blocked(process: int) -> bool:
    """Return whether a process waits in the kernel."""
    state = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0]
    return state in "SD"


@pytest.mark.slow
@pytest.mark.servers
@pytest.mark.parametrize(("program", "where"), [("cat", "/packs/"), ("ls", "/trees/")])
def test_a_program_can_be_killed_while_the_network_hangs(
    fuse: None, moto_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, where: str
) -> None:
    """Whoever waits for a file or a folder that does not come can be killed; others get theirs later.

    That holds for a program, too, that got a signal before, and went on waiting.
    """
    for name, value in moto_server.environment.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "large.bin").write_bytes(NOISE)
    url = moto_server.url(f"hanging-{program}")
    dataver.init(url).sync(tmp_path / "source", "some/data", workspace=tmp_path / "work")
    folder = tmp_path / "mnt"
    folder.mkdir()
    hangs = threading.Event()

    def rule(seen: Seen) -> Break | None:
        return Break.HANG if hangs.is_set() and where in seen.path else None

    with FaultyNetwork(moto_server.endpoint, rule) as network:
        monkeypatch.setenv("AWS_ENDPOINT_URL", network.endpoint)
        monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "empty cache"))
        words = command("mount", "some/data", str(folder), "--json", "--repo", url)
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        waiting: list[subprocess.Popen[Any]] = []
        try:
            mounted = Mounted(folder, process)
            hangs.set()
            waiting.extend(
                subprocess.Popen([program, folder / "large.bin"], stdout=subprocess.DEVNULL)
                for _ in range(20)
            )
            code = (
                "import os, signal, sys; signal.signal(signal.SIGUSR1, print);"
                "print('ready', flush=True);"
                "[print(open(path, 'rb').read()) for path in sys.argv[1:] if os.path.exists(path)]"
            )  # of a name of its own, for of one name the kernel asks for one program only
            patient = subprocess.Popen(
                [sys.executable, "-c", code, folder / "gone", folder / "large.bin"],
                stdout=subprocess.PIPE,
                text=True,
            )
            waiting.append(patient)
            until(lambda: network.broken[Break.HANG])
            assert patient.stdout is not None and patient.stdout.readline() == "ready\n"
            until(lambda: _is_blocked(patient.pid))
            patient.send_signal(signal.SIGUSR1)
            time.sleep(0.5)  # no event says that it waits on
            assert patient.poll() is None
            for reader in waiting:
                reader.kill()
            assert {reader.wait(120) for reader in waiting} == {-signal.SIGKILL}
            hangs.clear()
            network.closing.set()
            assert (folder / "large.bin").read_bytes() == NOISE
            mounted.process.send_signal(signal.SIGTERM)
            assert mounted.process.wait(120) == 0
        finally:
            for each in (process, *waiting):
                each.kill()
                each.communicate()
            detach(folder, lazy=True)
