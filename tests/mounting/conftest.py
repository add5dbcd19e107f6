"""Versions mounted by a process of their own, as `dataver mount` does it.

Where this machine does not let anybody mount, these tests are skipped, and say what the system answered.
"""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import dataver
from dataver.errors import DataverError
from dataver.mounting.device import attach, detach

NOISE = random.Random(11).randbytes(5_000_000)


@pytest.fixture(scope="session")
def fuse(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A machine that lets this user mount."""
    folder = tmp_path_factory.mktemp("trial")
    try:
        device = attach(folder, "trial")
    except DataverError as error:
        pytest.skip(f"FUSE cannot be used here: {error}")
    detach(folder, lazy=True)
    os.close(device)


class Mounted:
    """`dataver mount` in a process of its own.

    Attributes:
        folder: where it mounts.
        told: what it said when the folder was ready.
        process: the process.
    """

    def __init__(self, folder: Path, process: "subprocess.Popen[str]") -> None:
        self.folder, self.process = folder, process
        assert process.stdout is not None
        self.told = json.loads(process.stdout.readline() or "null")

    def end(self, with_signal: int | None = signal.SIGINT) -> tuple[int, str]:
        """Send a signal; return the exit code and what stood on stderr."""
        if with_signal is not None:
            self.process.send_signal(with_signal)
        _, said = self.process.communicate(timeout=120)
        return self.process.returncode, said


Mounting = Callable[..., Mounted]


def command(*words: str) -> list[str]:
    """Return the words of a command line of dataver that obeys signals wherever the suite runs."""
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL);"  # under `nohup` it is ignored
        "from dataver_cli.main import main; sys.exit(main())"
    )
    return [sys.executable, "-c", code, *words]


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the version `some/data@1.0.0` was made from, in the repository of this machine."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DATAVER_REPO", str(tmp_path / "repo"))
    folder = tmp_path / "source"
    for name, content, mode in (
        ("large.bin", NOISE, 0o644),
        ("table.csv", b"".join(b"%d,%d\n" % (n, n * n) for n in range(200_000)), 0o644),
        ("run.sh", b"#!/bin/sh\necho ran\n", 0o755),
        ("a/b/c/grüße.txt", b"deep", 0o644),
        ("a-b", b"sorts before what is in a", 0o644),
        ("nothing", b"", 0o644),
        (f"{'n' * 250}.txt", b"a long name", 0o644),
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode)
    (folder / "empty").mkdir()
    (folder / "links").mkdir()
    (folder / "links" / "file").symlink_to("../large.bin")
    (folder / "links" / "folder").symlink_to("../a/b")
    (folder / "links" / "nowhere").symlink_to("gone")
    repository = dataver.init(tmp_path / "repo")
    repository.sync(folder, "some/data", workspace=tmp_path / "work")
    return folder


@pytest.fixture
def mounting(fuse: None, source: Path, tmp_path: Path) -> Iterator[Mounting]:
    """Mount a version on `mnt`, in a process that ends with the test."""
    started: list[Mounted] = []

    def begin(ref: str = "some/data@1.0.0", *options: str) -> Mounted:
        folder = tmp_path / "mnt"
        folder.mkdir(exist_ok=True)
        process = subprocess.Popen(
            command("mount", ref, str(folder), "--json", *options),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        mounted = Mounted(folder, process)
        started.append(mounted)
        if mounted.told is None:
            pytest.fail(mounted.end(None)[1])
        return mounted

    yield begin
    for one in started:
        one.process.kill()
        one.process.wait()
        for pipe in (one.process.stdout, one.process.stderr):
            assert pipe is not None
            pipe.close()  # also where the test itself ended the process
        detach(one.folder, lazy=True)
