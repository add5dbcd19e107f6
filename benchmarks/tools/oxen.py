"""Oxen: git-like versions of whole files, by its Python package."""

from pathlib import Path

from benchmarks.measure import Command
from benchmarks.tools.python_peer import PythonPeer

__all__ = ["Oxen"]


class Oxen(PythonPeer):
    """A version is a commit, a restore `Repo.restore` into a folder that shares the repository's `.oxen`.

    Its package compares single files only, and has no listing and no check of what is stored.
    """

    name = "oxen"
    source = "PyPI: oxenai"
    package = "oxenai"
    module = "oxen"
    driver = "drive_oxen.py"
    in_place = True

    def prepare(self) -> None:
        self._work.mkdir(parents=True)
        self.drive_now("init", self._work)

    def add(self, folder: Path, label: str) -> list[Command]:
        return [self.drive("add", self._work, folder, label)]

    def restore(self, label: str, dest: Path) -> list[Command]:
        dest.mkdir()
        (dest / ".oxen").symlink_to(self._work / ".oxen")
        return [self.drive("restore", dest, "data", label)]

    def restored(self, dest: Path) -> Path:
        return dest / "data"

    def stored(self) -> list[Path]:
        return [self._work / ".oxen"]

    @property
    def _work(self) -> Path:
        return self.home / "work"
