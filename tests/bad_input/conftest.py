"""A repository in a folder, ways to be another user or to have little room, and what a folder holds."""

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

import dataver


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """A cache and a working folder of the test's own."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def repo(tmp_path):
    return dataver.init(tmp_path / "repo")


@pytest.fixture
def source(tmp_path):
    """Thirty files, large and small."""
    noise = random.Random(5)
    folder = tmp_path / "source"
    folder.mkdir()
    for number in range(30):
        (folder / f"{number:02d}").write_bytes(noise.randbytes(1 + number * 7000))
    return folder


@pytest.fixture
def small_disk(tmp_path):
    """A file system of two megabytes; `grow` gives it room."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    path = tmp_path / "small"
    path.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", path], capture_output=True
    ).returncode:
        pytest.skip("this machine does not let us mount a tmpfs")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def grow(path):
    """Give a small disk room."""
    subprocess.run(["mount", "-o", "remount,size=64m", path], check=True)


def fill(path):
    """Write a file that takes all room its disk has."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 12))
        except OSError:
            return


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


@pytest.fixture(autouse=True)
def removable(tmp_path):
    """Give back the permission to remove what was fetched read-only."""
    yield
    for folder in (tmp_path / "cache",):
        for path, _, _ in os.walk(folder):
            os.chmod(path, 0o755)
        shutil.rmtree(folder, ignore_errors=True)
