"""ClearML Data, as far as it runs without its server: its own hashing and zipping, a plain unzip."""

from pathlib import Path

from benchmarks.measure import Command
from benchmarks.tools.python_peer import PythonPeer

__all__ = ["ClearMl"]


class ClearMl(PythonPeer):
    """A version is its zips and entries; `drivers/drive_clearml.py` says what is its code and what is not."""

    name = "clearml"
    source = "PyPI: clearml"
    package = "clearml"
    module = "clearml"
    driver = "drive_clearml.py"

    def version(self) -> str:
        return f"{super().version()} (emulated)"

    def prepare(self) -> None:
        self._store.mkdir()

    def add(self, folder: Path, label: str) -> list[Command]:
        parents = sorted(self._store.glob("v*.json"), key=lambda path: int(path.stem[1:]))
        return [self.drive("add", folder, self._store, label, *(path.stem for path in parents[-1:]))]

    def restore(self, label: str, dest: Path) -> list[Command]:
        return [self.drive("restore", self._store, label, dest)]

    def stored(self) -> list[Path]:
        return [self._store]

    @property
    def _store(self) -> Path:
        return self.home / "repository"
