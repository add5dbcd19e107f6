"""casync: a chunk store with one file a chunk."""

from pathlib import Path

from benchmarks.measure import Command
from benchmarks.tools.base import Commands, Tool

__all__ = ["Casync"]


class Casync(Tool):
    """A local chunk store beside one index file a version. It has no diff.

    `casync digest` reads a version's every chunk and fails where one is not what its name says.
    """

    name = "casync"
    source = "Debian: casync"
    executable = "casync"

    def version(self) -> str:
        return self.do("--version").split()[1]

    def prepare(self) -> None:
        (self.home / "indexes").mkdir()

    def add(self, folder: Path, label: str) -> list[Command]:
        return [self.command("make", self._store, self._index(label), folder)]

    def restore(self, label: str, dest: Path) -> list[Command]:
        return [self.command("extract", self._store, self._index(label), dest)]

    def stored(self) -> list[Path]:
        return [self.home / "store", self.home / "indexes"]

    def start(self) -> Commands:
        return [self.command("--version")]

    def verify(self, label: str) -> Commands:
        return [self.command("digest", self._store, self._index(label))]

    def list(self, label: str) -> Commands:
        return [self.command("list", self._store, self._index(label))]

    @property
    def _store(self) -> str:
        return f"--store={self.home / 'store'}"

    def _index(self, label: str) -> Path:
        return self.home / "indexes" / f"{label}.caidx"
