"""What the fault suite shares: how large it is, its data, and a server whose place is its own.

DATAVER_FAULTS=full makes it 1 GB a fault and 200 kills of each kind of command; else it takes some minutes.
DATAVER_FAULTS_SERVER names another server than SeaweedFS: ceph, moto or rclone.
DATAVER_FAULTS_TABLE and DATAVER_KILLS_TABLE name files that get a line for each transfer, and for each row of
kills.
"""

import hashlib
import os
import random
import shutil
from pathlib import Path

import pytest

from servers import seaweedfs

SERVER = os.environ.get("DATAVER_FAULTS_SERVER", "seaweedfs")
FULL = os.environ.get("DATAVER_FAULTS") == "full"
TABLE = os.environ.get("DATAVER_FAULTS_TABLE")
KILLS_TABLE = os.environ.get("DATAVER_KILLS_TABLE")
SIZE = 1_000_000_000 if FULL else 24_000_000

_HEAD = (
    "| fault | met | upload, s | requests | MB | fetch, s | requests | MB | right |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|---|\n"
)
_KILLS_HEAD = (
    "| command | where | processes | killed while they ran | whole run, s | afterwards |\n"
    "|---|---|---:|---:|---:|---|\n"
)


def pytest_collection_modifyitems(items):
    """Mark everything here, so that `make test` leaves it out."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.faults)
            item.add_marker(pytest.mark.servers)


@pytest.fixture(scope="session")
def source(tmp_path_factory):
    """A dataset of SIZE bytes: half of it one file, the rest in files of all sizes; it does not compress."""
    folder, noise = tmp_path_factory.mktemp("source") / "data", random.Random(5)
    (folder / "tiny").mkdir(parents=True)
    sizes = {f"tiny/{number:04}": 200 + number for number in range(2000)}
    sizes |= {f"middling-{number}": SIZE // 80 for number in range(20)}
    sizes |= {f"large-{number}": SIZE // 16 for number in range(4)}
    sizes["largest"] = SIZE - sum(sizes.values())
    for name, size in sizes.items():
        with (folder / name).open("wb") as file:
            for start in range(0, size, 1 << 22):
                file.write(noise.randbytes(min(1 << 22, size - start)))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def sums(source):
    """What every file of the dataset hashes to."""
    return sums_of(source)


@pytest.fixture
def server(request, tmp_path):
    """The server of the whole run, or, where much is stored, a SeaweedFS for each test, gone afterwards."""
    if not FULL or SERVER != "seaweedfs":
        yield request.getfixturevalue(f"{SERVER}_server")
        return
    with seaweedfs(tmp_path) as own:
        yield own
    shutil.rmtree(tmp_path)


@pytest.fixture
def workplace(tmp_path_factory):
    """A folder that is removed with all that is in it."""
    folder = tmp_path_factory.mktemp("work")
    yield folder
    for path, _, _ in os.walk(folder):
        os.chmod(path, 0o755)
    shutil.rmtree(folder)


def sums_of(folder):
    """Return the SHA-256 of every file below a folder, by its path."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                found[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def write_line(*cells):
    """Add a line to the table of transfers, if one is wanted."""
    _write(TABLE, _HEAD, cells)


def write_kills(*cells):
    """Add a line to the table of kills, if one is wanted."""
    _write(KILLS_TABLE, _KILLS_HEAD, cells)


def _write(table, head, cells):
    if table:
        path = Path(table)
        if not path.exists():
            path.write_text(head)
        with path.open("a") as file:
            file.write("| " + " | ".join(map(str, cells)) + " |\n")
