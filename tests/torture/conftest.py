"""What the torture suite shares: its size, a project that is copied for each try, and commands under strace.

DATAVER_TORTURE=full tries every point; else a sample that takes some minutes. DATAVER_TORTURE_TABLE names a
file that gets a line for each row of tries.
"""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import dataver

FULL = os.environ.get("DATAVER_TORTURE") == "full"

TABLE = os.environ.get("DATAVER_TORTURE_TABLE")

MUTATING = (
    "write,pwrite64,writev,sendfile,copy_file_range,rename,renameat,renameat2,link,linkat,symlink,symlinkat,"
    "unlink,unlinkat,mkdir,mkdirat,rmdir,fsync,fdatasync,ftruncate,truncate,chmod,fchmod,fchmodat,utimensat,"
    "fallocate"
)
"""System calls that change a file system."""


def pytest_collection_modifyitems(items):
    """Mark everything here, so that `make test` leaves it out."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.torture)


def write_line(*cells: object) -> None:
    """Add a line to the table of what was tried, if one is wanted."""
    if TABLE:
        with Path(TABLE).open("a") as file:
            file.write("| " + " | ".join(map(str, cells)) + " |\n")


class Project:
    """A project in one folder: `repo`, a second repository `far`, sources, drafts, a cache and a home.

    It is always at the same path, since drafts and settings hold absolute ones.
    """

    def __init__(self, root: Path) -> None:
        self.root = root / "project"
        self._template = root / "template"
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DATAVER_", "AWS_", "XDG_"))
        } | {
            "HOME": str(self.root / "home"),
            "DATAVER_CACHE": str(self.root / "cache"),
            "DATAVER_LINEAGE": "off",
            "PYTHONPATH": os.pathsep.join(sys.path),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def command(self, *words: str) -> list[str]:
        """Return the command line of a dataver command."""
        return [sys.executable, "-m", "dataver_cli", *words]

    def run(self, *words: str, prefix: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        """Run a dataver command in the project; `prefix` runs it."""
        return subprocess.run(
            [*prefix, *self.command(*words)],
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def must(self, *words: str) -> str:
        """Run a command that succeeds; return what it printed."""
        done = self.run(*words)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def keep(self) -> None:
        """Make what is there now the state that `restore` brings back."""
        shutil.copytree(self.root, self._template, symlinks=True)

    def restore(self) -> None:
        """Bring the kept state back."""
        make_writable(self.root)
        for path in self.root.iterdir():  # the folder itself may be a mounted disk
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(self._template, self.root, symlinks=True, dirs_exist_ok=True)

    def versions(self, repository: str = "repo") -> dict[str, str]:
        """Return the digest of every published version, each of them read whole and found right."""
        repo = dataver.open(self.root / repository)
        found = {
            version.ref: version.digest for each in repo.datasets() for version in repo.versions(each.name)
        }
        for ref in found:
            assert repo.verify(ref).findings == [], ref
        return found


def make_writable(folder: Path) -> None:
    """Let everything below a folder be deleted."""
    for path, _, _ in os.walk(folder):
        Path(path).chmod(0o755)


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """A project with history: two versions of `d`, a deleted one of `e`, an open draft, changed sources."""
    root = tmp_path_factory.mktemp("torture")
    made = Project(root)
    source = made.root / "source"
    (source / "deep").mkdir(parents=True)
    (made.root / "home").mkdir()
    noise = random.Random(7)
    for number in range(12):
        (source / "deep" / f"{number}").write_bytes(noise.randbytes(3000))
    (source / "large").write_bytes(noise.randbytes(300_000))
    made.must("init", "repo")
    made.must("init", "far", "--no-config")
    (made.root / "other").mkdir()
    (made.root / "other" / "file").write_bytes(noise.randbytes(100_000))
    made.must("sync", "other", "--name", "e")
    made.must("sync", "source", "--name", "d")
    made.must("tag", "d@1.0.0", "first")
    (source / "large").write_bytes(noise.randbytes(300_000))
    made.must("sync", "source", "--name", "d")
    made.must("delete", "e@1.0.0", "--yes")
    made.must("fetch", "d@1.0.0")
    for number in range(3):
        (source / "deep" / f"{number}").write_bytes(noise.randbytes(4000))
    (source / "new").write_bytes(noise.randbytes(50_000))
    made.must("create", "d", "--parent", "d")
    made.must("add", "source")
    made.keep()
    yield made
    make_writable(root)
    shutil.rmtree(root)
