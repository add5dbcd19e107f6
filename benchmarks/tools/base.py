"""What a tool under test must be able to do, in commands.

A method returns the commands that are measured; what it does itself before it returns is preparation and is
not. An operation that a tool does not have returns None, and the tables show a dash.
"""

import os
import shlex
import shutil
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from benchmarks.measure import Command, run

__all__ = ["Commands", "Tool", "find_program", "shell_quote"]

Commands = list[Command] | None


class Tool(ABC):
    """One tool at work in a folder of its own.

    Attributes:
        home: everything of the tool lies in here: its repository, its caches, its settings.
        program: the words that start it.
        in_place: it stores only what lies inside its own working folder, so the data is put at `data` for it.
        source: where it comes from, for those who miss it.
    """

    name: ClassVar[str]
    source: ClassVar[str]
    executable: ClassVar[str]
    in_place: ClassVar[bool] = False

    def __init__(self, home: Path, program: list[str]) -> None:
        self.home = home
        self.program = program
        (home / "user").mkdir(parents=True)

    @classmethod
    def find(cls) -> list[str] | None:
        """Return the words that start the tool, or None where it is not installed."""
        return find_program(cls.name, cls.executable)

    @property
    def data(self) -> Path:
        """The folder an in-place tool wants its data in."""
        return self.home / "work" / "data"

    @property
    def env(self) -> dict[str, str]:
        """Settings for every command; the home folder is the tool's own: nothing of the user's leaks in."""
        return {"HOME": str(self.home / "user"), "LC_ALL": "C.UTF-8"}

    def command(
        self, *words: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None
    ) -> Command:
        """Return the tool's own program with arguments."""
        return self.other(*self.program, *words, cwd=cwd, env=env)

    def other(
        self, *words: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None
    ) -> Command:
        """Return any program with the tool's settings."""
        return Command(tuple(map(str, words)), cwd, self.env | (env or {}))

    def shell(self, script: str, cwd: Path | None = None) -> Command:
        """Return a shell script that stops at the first failure, in a pipe too."""
        return self.other("bash", "-euo", "pipefail", "-c", script, cwd=cwd)

    def do(self, *words: str | Path, cwd: Path | None = None) -> str:
        """Run the tool as preparation and return what it said."""
        return run(self.command(*words, cwd=cwd))

    @abstractmethod
    def version(self) -> str:
        """Return the tool's version."""

    @abstractmethod
    def prepare(self) -> None:
        """Make an empty repository in `home`."""

    @abstractmethod
    def add(self, folder: Path, label: str) -> Commands:
        """Store a folder as the version `label`: v1, v2 and so on, each upon the last, and `again`."""

    @abstractmethod
    def restore(self, label: str, dest: Path) -> Commands:
        """Write a version into `dest`, which does not exist, with nothing at hand but the repository."""

    @abstractmethod
    def stored(self) -> list[Path]:
        """Return the folders that hold what is stored, and no cache; what `again` left counts too."""

    def restored(self, dest: Path) -> Path:
        """Return where the version's files are after `restore`."""
        return dest

    def start(self) -> Commands:
        """Start and do nothing: what each call costs at least."""
        return None

    def view(self, label: str) -> Commands:  # noqa: ARG002
        """Make a version readable in the tool's own cache, with the version before it there already."""
        return None

    def verify(self, label: str) -> Commands:  # noqa: ARG002
        """Check that every stored byte of a version is as it was."""
        return None

    def diff(self, one: str, other: str) -> Commands:  # noqa: ARG002
        """Name the files that differ between two versions."""
        return None

    def list(self, label: str) -> Commands:  # noqa: ARG002
        """Name the files of a version."""
        return None


def find_program(name: str, executable: str) -> list[str] | None:
    """Find a program: `BENCH_<NAME>`, `<BENCH_PEERS>/<name>/bin`, beside this Python, on the PATH."""
    given = os.environ.get(f"BENCH_{name.upper().replace('-', '_')}")
    if given:
        return shlex.split(given)
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    if peers := os.environ.get("BENCH_PEERS"):
        places.insert(0, str(Path(peers, name, "bin").absolute()))
    found = shutil.which(executable, path=os.pathsep.join(places))
    return [found] if found else None


def shell_quote(*words: str | Path) -> str:
    """Return words as a shell takes them."""
    return shlex.join(map(str, words))
